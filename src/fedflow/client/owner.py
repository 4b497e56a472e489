"""Whose machine a participant runs on: told what happens and asked for consent, at a terminal or in the app."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from fedflow.client.consent import Answer, decide
from fedflow.client.place import Place
from fedflow.client.policy import Policy
from fedflow.federation.protocol import Layout, RunFacts
from fedflow.training import Progress


class Owner(Protocol):
    """What a participant asks of, and tells, the one on whose machine it runs."""

    def say(self, line: str, run: str | None, *, is_held_up: bool) -> None:
        """Tell a line of what happens, of which run, and whether the participant is held up by it."""

    def answer(self, facts: RunFacts, place: Place) -> Answer | None:
        """The owner's answer to a run; None where there is none yet, and it is asked for again later."""

    def declined(self, facts: RunFacts) -> None:
        """The server has taken a no in."""

    def holds_back(self, facts: RunFacts, number: int) -> str | None:
        """Why this round of a run that was agreed to shall not be trained for, in a sentence; None where it shall.

        Asked again whenever the server is asked for work, as long as the round waits for it; from any thread.
        """

    def make_room(self) -> None:
        """Give up what the machine's memory holds and nobody is at, as a round needs it; from any thread."""

    def training(self, facts: RunFacts, number: int, steps: int) -> AbstractContextManager[Progress]:
        """A training lasts as long as the context, which may wait before it begins; what it gives is told each step.

        That may raise `watch.Unwanted`, which ends the training.
        """

    def handed_in(self, run: str, number: int, losses: tuple[float, float], *, is_taken: bool) -> None:
        """The server has the update of a round with its first and last `losses`, or refuses it for good."""

    def took_home(self, facts: RunFacts, files: Mapping[Layout, Path]) -> None:
        """The joint model of a run that is over is here, by layout."""

    def follows(self) -> Collection[str]:
        """Runs that the owner has been asked for and takes no part in, whose end they are to be told of."""

    def saw(self, facts: RunFacts) -> None:
        """How far the server says that such a run is."""


class TerminalOwner:
    """The owner at a terminal, or one who has said yes to everything within the policy."""

    def __init__(self, policy: Policy, *, accept_unasked: bool) -> None:
        self._policy = policy
        self._accept_unasked = accept_unasked

    def say(self, line: str, run: str | None, *, is_held_up: bool) -> None:  # noqa: ARG002
        """Print it."""
        print(line, flush=True)

    def answer(self, facts: RunFacts, place: Place) -> Answer:
        """As `decide`, with its errors."""
        return decide(facts, place.num_examples, place.data, self._policy, accept_unasked=self._accept_unasked)

    def declined(self, facts: RunFacts) -> None:
        """They have said it themselves."""

    def holds_back(self, facts: RunFacts, number: int) -> None:
        """Who has agreed has agreed to all rounds."""

    def make_room(self) -> None:
        """Nothing is held."""

    def training(self, facts: RunFacts, number: int, steps: int) -> AbstractContextManager[Progress]:  # noqa: ARG002
        """At once, and nobody looks."""
        return nullcontext(_told_to_nobody)

    def handed_in(self, run: str, number: int, losses: tuple[float, float], *, is_taken: bool) -> None:
        """The participant has said so."""

    def took_home(self, facts: RunFacts, files: Mapping[Layout, Path]) -> None:
        """The participant has said where they are."""

    def follows(self) -> Collection[str]:
        """None: who is asked at a terminal answers at once."""
        return ()

    def saw(self, facts: RunFacts) -> None:
        """There is none."""


def _told_to_nobody(_step: int, _steps: int, _loss: float) -> None:
    pass
