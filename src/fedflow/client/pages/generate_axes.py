"""The sides of a grid in the form of a drawing: what differs along them, and with which values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask_babel import LazyString, gettext, lazy_gettext
from pydantic import ValidationError
from werkzeug.datastructures import MultiDict

from fedflow.client.services import drawings, library, library_shapes
from fedflow.client.services.drawings import Axis, AxisKind, DrawRequest
from fedflow.client.store import Store
from fedflow.errors import MistakeError
from fedflow.web import amounts

SIDES = ("across", "down")
KINDS: dict[AxisKind, LazyString] = {
    "prompt": lazy_gettext("Words of the prompt"),
    "seed": lazy_gettext("Seed"),
    "steps": lazy_gettext("Steps"),
    "guidance": lazy_gettext("Guidance"),
    "sampler": lazy_gettext("Sampler"),
    "model": lazy_gettext("Model"),
    "adapter": lazy_gettext("Adapter"),
    "weight": lazy_gettext("Adapters' weight"),
}
"""What can differ along one side of a grid."""

HELP: dict[AxisKind, LazyString] = {
    "prompt": lazy_gettext(
        "First words that stand in the prompt, then what takes their place, with commas between them, as in red apple, "
        "green pear. Where they hold commas themselves, each stands on a line of its own."
    ),
    "seed": lazy_gettext("Whole numbers with commas between them, as in 1, 2, 3."),
    "steps": lazy_gettext("Whole numbers with commas between them, as in 10, 20, 30."),
    "guidance": lazy_gettext("Numbers with commas between them, as in 2, 3.5, 7."),
    "sampler": lazy_gettext("Names as under “More”, with commas between them, as in UniPC, Euler a."),
    "model": lazy_gettext("Those chosen here draw in place of the one above, each with the adapters that are on."),
    "adapter": lazy_gettext("None, and then each of the adapters above that are on, alone."),
    "weight": lazy_gettext("Numbers from -2 to 2 with commas between them; each is that of all adapters that are on."),
}

LONGEST = 2000
LONGEST_VALUE = {"prompt": 500}
NUMBER = 24
"""Characters of any other value."""
SPELLED_OUT = 1e12
"""Numbers from here on, and what is none, stand in a fault as they were read."""


def texts(name: str, axis: Axis) -> dict[str, str]:
    """What stands in the fields of the side `name`."""
    filled: dict[str, str] = {f"{name}_kind": axis.kind}
    if axis.kind == "model":
        filled[f"{name}_models"] = "\n".join(axis.values)
    elif axis.kind != "adapter":
        filled[f"{name}_values"] = ("\n" if any("," in value for value in axis.values) else ", ").join(axis.values)
    return filled


def sent_models(form: MultiDict[str, str]) -> dict[str, list[str]]:
    """The models that are ticked for each side."""
    return {name: [value[:100] for value in form.getlist(f"{name}_models") if value] for name in SIDES}


def drawing_models(form: MultiDict[str, str], model: str) -> Sequence[str]:
    """Those that the grid is drawn with: of the side that differs in them, else the form's one."""
    ticked = sent_models(form)
    return next((ticked[name] for name in SIDES if form.get(f"{name}_kind") == "model" and ticked[name]), [model])


def read(store: Store, request: DrawRequest, form: MultiDict[str, str]) -> tuple[dict[str, Axis], dict[str, list[str]]]:
    """The sides that were sent, and what is wrong by field; then they are of no use."""
    sides: dict[str, Axis] = {}
    faults: dict[str, list[str]] = {}
    for name in SIDES:
        sent = form.get(f"{name}_kind", "")
        if not sent:
            if name == "across":
                faults["across_kind"] = [gettext("Choose what differs from column to column.")]
            continue
        place = {"model": f"{name}_models", "adapter": f"{name}_kind"}.get(sent, f"{name}_values")
        try:
            kind = _kind(sent)
            if kind == "model":
                values = _models(store, request, sent_models(form)[name])
            else:
                values = _values(kind, form.get(f"{name}_values", "")[:LONGEST], request)
            axis = Axis(kind=kind, values=values)
            for value in axis.values:
                drawings.varied(request, axis, value)
        except ValidationError as error:
            faults[place] = [_say(error, sent)]
        except ValueError:
            faults[place] = [gettext("Write numbers with commas between them, as in 10, 20, 30.")]
        except MistakeError as error:
            faults[place] = [str(error)]
        else:
            sides[name] = axis
    if not faults and len({axis.kind for axis in sides.values()}) < len(sides):
        faults["down_kind"] = [gettext("Rows and columns cannot differ in the same.")]
    return sides, faults


def _kind(text: str) -> AxisKind:
    for known in KINDS:
        if text == known:
            return known
    raise MistakeError(gettext("Choose one from the list."))


def _models(store: Store, request: DrawRequest, ticked: Sequence[str]) -> tuple[str, ...]:
    """The ticked models. Raises MistakeError where one is gone, or an adapter that is on does not fit."""
    known = dict(library.models(store))
    for model in ticked:
        if model not in known:
            raise MistakeError(gettext("The model is no longer in the library. Choose another."))
        for asset_id, _ in request.adapters:
            if not library_shapes.fits(store, asset_id, model):
                adapter = library.one(store, asset_id)
                raise MistakeError(
                    gettext(
                        "Adapter “%(adapter)s” does not fit model “%(model)s”; switch it off, or leave the model out.",
                        adapter=adapter.name if adapter else "", model=known[model],
                    )
                )  # fmt: skip
    return tuple(dict.fromkeys(ticked))


def _values(kind: AxisKind, text: str, request: DrawRequest) -> tuple[str, ...]:
    if kind == "adapter":
        if not request.adapters:
            raise MistakeError(gettext("Add the adapters to compare to the form first."))
        return ("", *(asset_id for asset_id, _ in request.adapters))
    if kind == "weight" and not request.adapters:
        raise MistakeError(gettext("Add an adapter to the form first."))
    lines = text.strip().splitlines()
    parts = [" ".join(part.split()) for part in (lines if len(lines) > 1 else text.split(","))]
    parts = [part[: LONGEST_VALUE.get(kind, NUMBER)] for part in parts if part]
    if kind == "prompt" and parts and parts[0] not in request.prompt:
        raise MistakeError(
            gettext("“%(words)s” does not stand in the prompt. Write first words that do.", words=parts[0])
        )
    if kind == "sampler":
        known = {spelled.lower(): value for value, word in drawings.SAMPLERS for spelled in (value, word)}
        if unknown := next((part for part in parts if part.lower() not in known), None):
            raise MistakeError(gettext("There is no sampler “%(name)s”.", name=unknown))
        parts = [known[part.lower()] for part in parts]
    return tuple(dict.fromkeys(parts))


def _say(error: ValidationError, kind: str) -> str:
    fault: Any = error.errors()[0]
    given, limits = fault["input"], fault.get("ctx", {})
    if fault["loc"][-1] == "prompt":
        return str(gettext("A prompt would have more than %(num)s characters.", num=limits["max_length"]))
    if "le" in limits:
        return str(
            gettext("%(value)s is too much; at most %(limit)s.", value=_written(given), limit=_written(limits["le"]))
        )
    if "ge" in limits:
        return str(
            gettext("%(value)s is too little; at least %(limit)s.", value=_written(given), limit=_written(limits["ge"]))
        )
    if kind == "model":
        return str(gettext("Choose one to ten models."))
    return str(gettext("Give one to ten values, with commas between them."))


def _written(value: float) -> str:
    return amounts.setting(value) if abs(value) < SPELLED_OUT else str(value)
