"""The five states of anything that takes time: a word and a shape each, the colour only helps."""

from __future__ import annotations

from enum import StrEnum

from flask_babel import LazyString, lazy_gettext


class State(StrEnum):
    """How something is going; the value names the shape and the colour."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"

    @property
    def word(self) -> LazyString:
        """The word beside the shape, in the reader's language."""
        return WORDS[self]


WORDS = {
    State.WAITING: lazy_gettext("Waiting"),
    State.RUNNING: lazy_gettext("Running"),
    State.DONE: lazy_gettext("Done"),
    State.REFUSED: lazy_gettext("Refused"),
    State.FAILED: lazy_gettext("Failed"),
}
