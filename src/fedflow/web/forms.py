"""Forms made from settings: a pydantic model in, fields to draw out, and what a person sent back as nested values.

A field's name is its place in the model, 'training.batch_size', in the form, its data and its faults alike. Labels come
from the names, help from the descriptions, units from the names' ends; nothing is described here again.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from flask_babel import gettext
from pydantic import BaseModel
from pydantic.fields import FieldInfo

SPELLED = {"least": "fewest", "lora": "LoRA", "snr": "SNR", "heldout": "held-out pictures", "warmup": "warm-up"}
"""Words of names that are written otherwise in a label."""

UNITS = {"s": "s", "hours": "h", "bytes": "B", "mb": "MB", "pixels": "px", "percent": "%"}
"""The end of a field's name, and the unit that it means."""


class Kind(StrEnum):
    """How a field is drawn, and how its text is read."""

    TEXT = "text"
    AREA = "area"
    INTEGER = "integer"
    NUMBER = "number"
    CHOICE = "choice"
    CHOICES = "choices"
    SWITCH = "switch"
    LINES = "lines"
    INTEGERS = "integers"


@dataclass(frozen=True)
class FormField:
    """One setting as a field. `label`, `help` and `unit` are in the reader's language, `default` is as in a form.

    `least` and `most` are limits that may be reached; a limit that may not is left to the check after sending.
    """

    name: str
    label: str
    help: str
    kind: Kind
    default: str
    unit: str
    least: float | None
    most: float | None
    longest: int | None
    choices: tuple[tuple[str, str], ...]
    required: bool
    optional: bool


@dataclass(frozen=True)
class FormGroup:
    """The settings of one nested model, the outermost's with an empty name; `folded` stand behind 'More'."""

    name: str
    label: str
    help: str
    short: tuple[FormField, ...]
    folded: tuple[FormField, ...]

    @property
    def fields(self) -> tuple[FormField, ...]:
        """All of them."""
        return self.short + self.folded


def describe(model: type[BaseModel], short: Collection[str] = (), start: BaseModel | None = None) -> list[FormGroup]:
    """The form of a model of settings, for the macro `groups`. Within a request: texts are in the reader's language.

    Args:
        model: nested models become groups; fields are texts, numbers, switches, choices and lists of texts or numbers.
        short: names of the fields in sight; the others are folded.
        start: values to begin with instead of the model's defaults.

    Raises:
        TypeError: a field of a kind that no form can show.
        ValueError: a name in `short` that the model lacks.
    """
    groups = [_group(name, part, short, start) for name, part in _parts(model)]
    known = {field.name for group in groups for field in group.fields}
    if unknown := sorted(set(short) - known):
        raise ValueError(f"no field '{unknown[0]}' in {model.__name__}; mend its spelling")
    return groups


def places(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Every field that is not itself a group, with its name in a form."""
    for name, part in _parts(model):
        for key, info in part.model_fields.items():
            if _nested(info) is None:
                yield _join(name, key), info


def kind_of(info: FieldInfo) -> Kind:
    """How a field of this type is drawn. Raises TypeError for a type that no form can show."""
    kind = _plain(info.annotation)
    if typing.get_origin(kind) is Literal:
        return Kind.CHOICE
    if typing.get_origin(kind) is tuple:
        kinds = {str: Kind.LINES, int: Kind.INTEGERS}
        kind = _plain(typing.get_args(kind)[0])
        if typing.get_origin(kind) is Literal:
            return Kind.CHOICES
    else:
        kinds = {str: Kind.TEXT, bool: Kind.SWITCH, int: Kind.INTEGER, float: Kind.NUMBER}
    if kind not in kinds:
        raise TypeError(f"no form shows a field of type {info.annotation}; give it a text, number, choice or list")
    return kinds[kind]


def may_be_none(info: FieldInfo) -> bool:
    """Whether None is a value of the field, which an empty field then means."""
    return isinstance(info.annotation, types.UnionType) or type(None) in typing.get_args(info.annotation)


def as_text(value: Any) -> str:
    """A setting's value as a form carries it; `reading.read` takes it back to the same value."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, tuple):
        return (" " if value and isinstance(value[0], int) else "\n").join(str(one) for one in value)
    return str(value)


def texts(settings: BaseModel) -> dict[str, str]:
    """All settings by the names of their fields, as a form carries them."""
    values = settings.model_dump()
    return {name: as_text(_inside(values, name)) for name, _ in places(type(settings))}


def messages(model: type[BaseModel]) -> Iterator[str]:
    """Every text of the form that wants a translation: labels, help, choices."""
    for name, part in _parts(model):
        if name:
            yield label_of(name)
            yield _first_lines(part)
        for key, info in part.model_fields.items():
            if _nested(info) is None:
                yield label_of(key)
                yield info.description or ""


def label_of(name: str) -> str:
    """'training.batch_size' as 'Batch size', its unit left out."""
    words = name.rpartition(".")[2].split("_")
    if len(words) > 1 and words[-1] in UNITS:
        words = words[:-1]
    said = " ".join(SPELLED.get(word, word) for word in words)
    return said[0].upper() + said[1:]


def _parts(model: type[BaseModel], name: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The model and those nested in it, each with its name in a form."""
    yield name, model
    for key, info in model.model_fields.items():
        if (nested := _nested(info)) is not None:
            yield from _parts(nested, _join(name, key))


def _group(name: str, part: type[BaseModel], short: Collection[str], start: BaseModel | None) -> FormGroup:
    began = texts(start) if start is not None else {}
    fields = [_field(_join(name, key), info, began) for key, info in part.model_fields.items() if _nested(info) is None]
    return FormGroup(
        name=name,
        label=gettext(label_of(name)) if name else "",
        help=gettext(_first_lines(part)) if name else "",
        short=tuple(field for field in fields if field.name in short),
        folded=tuple(field for field in fields if field.name not in short),
    )


def _field(name: str, info: FieldInfo, began: Mapping[str, str]) -> FormField:
    kind = kind_of(info)
    limits = _limits(info)
    unit = UNITS.get(name.rpartition("_")[2], "") if "_" in name else ""
    plain = _plain(info.annotation)
    if kind is Kind.CHOICES:
        plain = _plain(typing.get_args(plain)[0])
    choices = typing.get_args(plain) if kind in (Kind.CHOICE, Kind.CHOICES) else ()
    default = "" if info.is_required() else as_text(info.get_default(call_default_factory=True))
    optional = may_be_none(info)
    whole = kind is Kind.INTEGER
    return FormField(
        name=name,
        label=gettext(label_of(name)),
        help=gettext(info.description) if info.description else "",
        kind=kind,
        default=began.get(name, default),
        unit=gettext(unit) if unit else "",
        least=limits.get("ge", limits["gt"] + 1 if whole and "gt" in limits else None),
        most=limits.get("le", limits["lt"] - 1 if whole and "lt" in limits else None),
        longest=limits.get("max_length") if kind is Kind.TEXT else None,
        choices=tuple((str(choice), str(choice)) for choice in choices),
        required=not optional and (kind in (Kind.INTEGER, Kind.NUMBER) or limits.get("min_length", 0) > 0),
        optional=optional,
    )


def _limits(info: FieldInfo) -> dict[str, Any]:
    """Limits by their names in pydantic, also those inside a union with None."""
    found: dict[str, Any] = {}
    inner = [one for part in typing.get_args(info.annotation) for one in getattr(part, "__metadata__", ())]
    for one in (*info.metadata, *(part for item in inner for part in getattr(item, "metadata", [item]))):
        for key in ("ge", "gt", "le", "lt", "min_length", "max_length"):
            if getattr(one, key, None) is not None:
                found[key] = getattr(one, key)
    return found


def _plain(annotation: Any) -> Any:
    """The type itself, without None and without what Annotated says of it."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        (annotation,) = (part for part in typing.get_args(annotation) if part is not type(None))
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation


def _nested(info: FieldInfo) -> type[BaseModel] | None:
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _first_lines(part: type[BaseModel]) -> str:
    """The docstring's first paragraph, as text."""
    return " ".join((part.__doc__ or "").split("\n\n")[0].split()).replace("`", "")


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _inside(values: Mapping[str, Any], name: str) -> Any:
    found: Any = values
    for key in name.split("."):
        found = found[key]
    return found
