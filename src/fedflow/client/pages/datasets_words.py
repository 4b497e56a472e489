"""Why pictures cannot be used, and what was done with captions, in the reader's words."""

from __future__ import annotations

from collections.abc import Callable

from flask_babel import gettext, ngettext

from fedflow.client.pages.faults import reason
from fedflow.client.services.datasets_edits import (
    ADD,
    CAPTION,
    EMPTY,
    LEAVE_OUT,
    REMOVE,
    RENAME,
    REPLACE,
    TAG,
    Step,
)
from fedflow.datasets.captions import in_sight

LONGEST = 40
"""Letters of a tag, a text or a file's name that stand on a button."""


def reasons(problem: str) -> str:
    """Why a picture cannot be used, as its row has it: several reasons stand behind each other."""
    return reason(problem) if "; has no caption" not in problem else "; ".join(map(reason, _parts(problem)))


def kept(name: str) -> str:
    """Where a caption's file lies that could not be read and was written anew."""
    return str(gettext("The file as it was is kept as %(name)s, where nothing reads it.", name=name))


def _parts(problem: str) -> list[str]:
    before, _, behind = problem.partition("; has no caption")
    return [before, f"has no caption{behind}"]


MADE: dict[str, Callable[[str, str, int], str]] = {
    ADD: lambda one, _, num: ngettext(
        "add tag '%(tag)s' to %(num)s picture", "add tag '%(tag)s' to %(num)s pictures", num, tag=one
    ),
    REMOVE: lambda one, _, num: ngettext(
        "remove tag '%(tag)s' from %(num)s picture", "remove tag '%(tag)s' from %(num)s pictures", num, tag=one
    ),
    RENAME: lambda one, two, num: ngettext(
        "rename tag '%(old)s' to '%(new)s' in %(num)s picture",
        "rename tag '%(old)s' to '%(new)s' in %(num)s pictures",
        num,
        old=one,
        new=two,
    ),
    REPLACE: lambda one, two, num: ngettext(
        "replace '%(old)s' by '%(new)s' in %(num)s caption",
        "replace '%(old)s' by '%(new)s' in %(num)s captions",
        num,
        old=one,
        new=two,
    ),
    EMPTY: lambda _, __, num: ngettext(
        "remove the caption of %(num)s picture", "remove the captions of %(num)s pictures", num
    ),
    CAPTION: lambda one, _, __: gettext("change the caption of %(path)s", path=one),
    TAG: lambda one, _, num: ngettext(
        "tag %(num)s picture with %(tagger)s", "tag %(num)s pictures with %(tagger)s", num, tagger=one
    ),
    LEAVE_OUT: lambda one, _, num: ngettext("leave out %(path)s", "leave out %(num)s pictures", num, path=one),
}
"""What was done, from its first and its second word and the number of pictures."""


def made(step: Step) -> str:
    """What a change did, to stand behind 'Undo:'."""
    facts = step.facts
    first, second = (_in_short(facts.get(word, "")) for word in ("first", "second"))
    what = str(MADE[step.action](first, second, facts["pictures"]))
    passed_over = []
    if facts.get("left"):
        passed_over.append(ngettext("not %(num)s with no other tag", "not %(num)s with no other tag", facts["left"]))
    if facts.get("unread"):
        passed_over.append(ngettext("not %(num)s that is not UTF-8", "not %(num)s that are not UTF-8", facts["unread"]))
    return f"{what} ({', '.join(passed_over)})" if passed_over else what


def _in_short(word: str) -> str:
    word = in_sight(word)
    return word if len(word) <= LONGEST else f"{word[: LONGEST - 1].rstrip()}…"
