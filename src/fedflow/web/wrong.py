"""What is wrong with a form that was sent, gathered while its fields are drawn and told once more above them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from flask import g


@dataclass(frozen=True)
class Wrong:
    """A sentence with the field that it is about: its label and its element's identifier; '' for the whole form."""

    said: str
    label: str = ""
    place: str = ""


def note(place: str, label: str, sentences: Collection[str]) -> str:
    """A field that is drawn with faults says so here. Nothing is drawn by it: the answer is ''.

    Args:
        place: the identifier of the element that takes the focus to mend it.
        label: what the field is called on the page.
        sentences: what is wrong with it; none where all is well.
    """
    if sentences:
        _noted().setdefault(place, Wrong(" ".join(sentences), label, place))
    return ""


def told(faults: Mapping[str, Collection[str]]) -> list[Wrong]:
    """All that is wrong, in the order of the page, once its fields are drawn.

    What no field has told comes first, as of the whole form, so that no fault is left unsaid.
    """
    noted = list(_noted().values())
    known = {each.said for each in noted}
    whole = [" ".join(sentences) for sentences in faults.values() if sentences]
    return [Wrong(said) for said in dict.fromkeys(whole) if said not in known] + noted


def _noted() -> dict[str, Wrong]:
    """Of this request, by place."""
    if "wrong_fields" not in g:
        g.wrong_fields = {}
    noted: dict[str, Wrong] = g.wrong_fields
    return noted
