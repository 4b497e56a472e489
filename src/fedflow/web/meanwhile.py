"""A form of several values, some of which somebody else changes meanwhile: a Save undoes nothing unknowingly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from flask_babel import LazyString, gettext

FIELD = "made_from"
"""The hidden field that says which values the form was made from; the macro of that name in forms.html draws it."""

DIGITS = 16
LONGEST_TOLD = 200


@dataclass(frozen=True)
class Merged:
    """Texts to keep by field, and of those that both have changed what is there by now."""

    values: dict[str, str]
    overtaken: dict[str, str]


def mark(kept: Mapping[str, str]) -> str:
    """What a form says of the values that it was made from."""
    return " ".join(f"{name}={_digest(text)}" for name, text in kept.items())


def merge(kept: Mapping[str, str], sent: Mapping[str, str]) -> Merged:
    """What was changed in the form, with what is there by now in the fields that were left as they were.

    A form without a mark counts as one of now.

    Args:
        kept: what is there by now, by field.
        sent: the form's data, with its mark.
    """
    made_from = {name: digest for name, _, digest in (part.partition("=") for part in sent.get(FIELD, "").split())}
    values, overtaken = dict(kept), {}
    for name, now in kept.items():
        text = _lines(sent.get(name, now))
        if text == _lines(now):
            continue
        is_other_now = made_from.get(name, _digest(now)) != _digest(now)
        if is_other_now and made_from[name] == _digest(text):
            continue
        values[name] = text
        if is_other_now:
            overtaken[name] = now
    return Merged(values, overtaken)


def faults(merged: Merged, words: Mapping[str, Mapping[str, str | LazyString]]) -> dict[str, list[str]]:
    """What to say beside each field that both have changed; `words` are those of its choices, by field."""
    return {name: [overtaken(now, words.get(name))] for name, now in merged.overtaken.items()}


def overtaken(now: str, words: Mapping[str, str | LazyString] | None = None) -> str:
    """That a field's value is `now` another than the form was made from; `words` are those of its choices."""
    said = " ".join(now.split()) if words is None else ", ".join(str(words.get(each, each)) for each in now.split("\n"))
    if not said:
        return str(gettext("This was changed while you had the page open, and is now empty. Save again to set yours."))
    if len(said) > LONGEST_TOLD:
        said = f"{said[:LONGEST_TOLD]}…"
    words_now = gettext(
        "This was changed while you had the page open, and is now “%(value)s”. Save again to set yours.", value=said
    )
    return str(words_now)


def _digest(text: str) -> str:
    return sha256(_lines(text).encode()).hexdigest()[:DIGITS]


def _lines(text: str) -> str:
    """The text with its line breaks as a browser has them: it keeps no other, whatever the form came with."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
