"""What a person sent in a form of settings: read, checked, and each fault put beside its field in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from flask_babel import gettext, lazy_gettext, ngettext
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fedflow.plan import GIVEN
from fedflow.web import setting_faults
from fedflow.web.amounts import setting
from fedflow.web.forms import Kind, kind_of, may_be_none, places, texts
from fedflow.web.phrases import sentence

Model = TypeVar("Model", bound=BaseModel)

WHOLE = re.compile(r"[+-]?[0-9]{1,30}", re.ASCII)
NUMBER = re.compile(r"[+-]?([0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?", re.ASCII)

WORDS = {
    "missing": lazy_gettext("Fill this in."),
    "int_type": lazy_gettext("Write a whole number."),
    "float_type": lazy_gettext("Write a number."),
    "float_parsing": lazy_gettext("Write a number."),
    "finite_number": lazy_gettext("Write a number that is not infinite."),
    "bool_type": lazy_gettext("Switch this on or off."),
    "literal_error": lazy_gettext("Choose one from the list."),
}
"""pydantic's faults without a limit, in the words of a form."""

LIMITS = {
    "greater_than_equal": ("ge", lazy_gettext("Must be at least %(limit)s.")),
    "greater_than": ("gt", lazy_gettext("Must be more than %(limit)s.")),
    "less_than_equal": ("le", lazy_gettext("Must be at most %(limit)s.")),
    "less_than": ("lt", lazy_gettext("Must be less than %(limit)s.")),
}
"""Those with a limit: its name in pydantic, and the sentence."""


@dataclass(frozen=True)
class Reading(Generic[Model]):
    """What came of a form: the settings, or the faults by field; `values` are the texts to draw again in any case.

    A fault of a whole group stands under the group's name, one of the whole form under ''.
    """

    settings: Model | None
    values: dict[str, str]
    faults: dict[str, list[str]] = field(default_factory=dict)


def read(model: type[Model], form: Mapping[str, str], base: Model | None = None) -> Reading[Model]:
    """The settings in a form's data; a field that the form did not have keeps the value of `base`, or its default.

    Args:
        model: the settings.
        form: texts by field; of a switch the last of several, so pass `last_values(request.form)`.
        base: where missing fields take their values from.
    """
    known = dict(places(model))
    nested: dict[str, Any] = {}
    values = texts(base) if base is not None else {}
    faults: dict[str, list[str]] = {}
    for name, info in known.items():
        if name in form:
            text = form[name].replace("\r\n", "\n")
            values[name] = text
        elif name in values:
            text = values[name]
        else:
            continue
        empty_means_none = may_be_none(info) and not text.strip()
        if not text.strip() and not empty_means_none and kind_of(info) in (Kind.INTEGER, Kind.NUMBER):
            faults[name] = [str(WORDS["missing"])]
        _put(nested, name, None if empty_means_none else _value(kind_of(info), text))
    try:
        settings = model.model_validate(nested, context=GIVEN)
    except ValidationError as error:
        for fault in error.errors():
            name, words = _beside(fault, known)
            if words not in faults.setdefault(name, []) and str(WORDS["missing"]) not in faults[name]:
                faults[name].append(words)
        return Reading(None, values, faults)
    return Reading(settings, values)


def refused(reading: Reading[Model], message: str, said: Callable[[str], str] = sentence) -> Reading[Model]:
    """The same where a service refused the settings with 'FIELD: why', or with a sentence about the whole form.

    `said` makes of a reason what the page says of it.
    """
    name, colon, words = message.partition(": ")
    fault = {name: [said(words)]} if colon and name in reading.values else {"": [said(message)]}
    return Reading(None, reading.values, fault)


def last_values(form: Any) -> dict[str, str]:
    """The last text of each name in werkzeug's `request.form`: a switch sends 'off' always and 'on' after it."""
    return {name: sent[-1] for name, sent in form.lists()}


def all_values(model: type[BaseModel], form: Any) -> dict[str, str]:
    """As `last_values`, for a form of `model` that has fields of several choices: all that were ticked, one a line."""
    several = {name for name, info in places(model) if kind_of(info) is Kind.CHOICES}
    ticked = {name: "\n".join(filter(None, form.getlist(name))) for name in several if name in form}
    return {**last_values(form), **ticked}


def _value(kind: Kind, text: str) -> Any:
    """A field's text as pydantic takes it; what cannot be read stays text, and pydantic says what is wrong."""
    if kind is Kind.INTEGER:
        return int(text) if WHOLE.fullmatch(text.strip()) else text
    if kind is Kind.NUMBER:
        return float(text) if NUMBER.fullmatch(text.strip()) else text
    if kind is Kind.SWITCH:
        return {"on": True, "off": False}.get(text, text)
    if kind in (Kind.LINES, Kind.CHOICES):
        return tuple(line for line in text.split("\n") if line.strip())
    if kind is Kind.INTEGERS:
        return tuple(int(one) if WHOLE.fullmatch(one) else one for one in re.split(r"[\s,;]+", text.strip()) if one)
    return text


def _put(nested: dict[str, Any], name: str, value: Any) -> None:
    *groups, last = name.split(".")
    for group in groups:
        nested = nested.setdefault(group, {})
    nested[last] = value


def _beside(fault: ErrorDetails, known: Mapping[str, Any]) -> tuple[str, str]:
    """The field, group or '' that a fault belongs to, and what to say there."""
    parts = [str(part) for part in fault["loc"]]
    place = ".".join(parts)
    name = next((".".join(parts[:end]) for end in range(len(parts), 0, -1) if ".".join(parts[:end]) in known), None)
    if name is not None:
        item = next((part for part in fault["loc"] if isinstance(part, int)), None)
        said = _say(fault)
        return name, gettext("Entry %(number)s: %(fault)s", number=item + 1, fault=said) if item is not None else said
    if fault["type"] == "value_error":  # the models' own: 'network.quorum: 5 of only 3 clients'
        key, colon, rest = str(fault["ctx"]["error"]).partition(": ")
        for named in (f"{place}.{key}".strip("."), key):
            if colon and named in known:
                return named, setting_faults.PHRASES.said(rest)
    return place, _say(fault)


def _say(fault: ErrorDetails) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in LIMITS:
        key, words = LIMITS[kind]
        return str(words) % {"limit": setting(context[key])}
    if kind in ("string_too_short", "too_short"):
        count = context["min_length"]
        if count == 1:
            return str(WORDS["missing"])
        return str(ngettext("Needs at least %(num)s entry.", "Needs at least %(num)s entries.", count))
    if kind in ("string_too_long", "too_long"):
        count = context["max_length"]
        return str(ngettext("Longer than %(num)s character.", "Longer than %(num)s characters.", count))
    if kind in WORDS:
        return str(WORDS[kind])
    return _said(fault) if kind == "value_error" else sentence(fault["msg"])


def _said(fault: ErrorDetails) -> str:
    """A sentence of the settings' own, without the name of the setting that it is told beside."""
    text = str(fault["ctx"]["error"])
    name, _, rest = text.partition(": ")
    return setting_faults.PHRASES.said(rest if fault["loc"][-1:] == (name,) else text)
