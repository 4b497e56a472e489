"""The form of a drawing: what stands in it, from a job, a picture, a file or what was sent, and what it asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flask_babel import gettext, lazy_gettext
from werkzeug.datastructures import MultiDict

from fedflow.client.database.tables import Asset
from fedflow.client.pages import generate_axes
from fedflow.client.pages.faults import said
from fedflow.client.services import drawings, drawings_size, drawings_start, jobs, library, library_shapes
from fedflow.client.services.drawings import Axis, DrawRequest, DrawSettings
from fedflow.client.store import Store
from fedflow.errors import MistakeError
from fedflow.plan import STARTER
from fedflow.web.forms import FormField, Kind, describe, texts
from fedflow.web.reading import last_values, read

OTHER = "other"
"""In the choice of models: one that is typed as a path or a name on the hub."""
MODEL_GONE = lazy_gettext("The model is no longer in the library. Choose another.")


@dataclass(frozen=True)
class Row:
    """An adapter in the form. `is_misfit`: it was trained on another model than the chosen one."""

    id: str
    name: str
    weight: str
    is_on: bool
    base: str
    base_hash: str
    is_misfit: bool


@dataclass
class Wish:
    """What stands in the form; `request` is what it asks for, None where something is wrong or nothing was sent.

    `notes` are sentences about what was not taken over from a file or picture.
    """

    values: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    start: str = ""
    mask: str = ""
    faults: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    request: DrawRequest | None = None


def of_request(store: Store, request: DrawRequest) -> Wish:
    """The form of what was once asked for; what is gone since then is left out, with a note."""
    settings = DrawSettings.model_validate(request.model_dump(include=set(DrawSettings.model_fields)))
    wish = Wish(_with_model(store, texts(settings)))
    chosen = [(*each, True) for each in request.adapters] + [(*each, False) for each in request.resting]
    wish.rows = _rows(store, request.model, chosen)
    if not wish.values["model"]:
        wish.notes.append(str(MODEL_GONE))
    if len(wish.rows) < len(chosen):
        wish.notes.append(gettext("An adapter is no longer in the library and was left out."))
    if request.start and drawings_start.is_there(store, request.start):
        wish.start = request.start
        wish.mask = request.mask if drawings_start.is_there(store, request.mask) else ""
    elif request.start:
        wish.notes.append(gettext("The picture to start from is no longer kept."))
    for name in generate_axes.SIDES:
        axis: Axis | None = getattr(request, name)
        if axis is not None:
            wish.values |= generate_axes.texts(name, axis)
    return wish


def of_last(store: Store) -> Wish:
    """The form as the newest drawing left it; not what was for that one alone: seed, picture to start from, grid."""
    job = jobs.newest(store, drawings.KIND)
    if job is None:
        return Wish()
    alone = {"seed", "start", "mask", "strength", "across", "down"}
    return of_request(store, DrawRequest.model_validate(drawings.request_of(job).model_dump(exclude=alone)))


def of_library(store: Store, model: str, adapter: str) -> Wish:
    """The form with a model of the library, or with an adapter and the model that it was trained on."""
    row = library.one(store, adapter)
    if row is not None and not model:
        base = library.base_of(row, library.listed(store, library.MODEL))
        model = STARTER if base is None else library.PREFIX + base.id
    wish = Wish(_with_model(store, {"model": model or STARTER, "prompt": "" if row is None else row.trigger}))
    if row is not None and row.kind == library.ADAPTER:
        wish.rows = _rows(store, model, [(row.id, 1.0, True)])
    if not wish.values["model"]:
        wish.notes.append(str(MODEL_GONE))
    if adapter and not wish.rows:
        wish.notes.append(gettext("The adapter is no longer in the library."))
    return wish


def of_form(store: Store, form: MultiDict[str, str], *, as_grid: bool = False) -> Wish:
    """What was sent. With `as_grid` the sides of the grid are read, too."""
    sent = last_values(form)
    is_typed = sent.get("model") == OTHER
    values = {**sent, "model": sent.get("model_other" if is_typed else "model", "")}
    reading = read(DrawSettings, values)
    wish = Wish({**sent, **reading.values}, faults=dict(reading.faults))
    if is_typed and "model" in wish.faults:
        wish.faults["model_other"] = wish.faults.pop("model")
    elif not values["model"]:
        wish.faults["model"] = [gettext("Choose a model.")]
    elif values["model"].startswith(library.PREFIX) and values["model"] not in dict(library.models(store)):
        wish.faults["model_other" if is_typed else "model"] = [str(MODEL_GONE)]
    active, weights = set(form.getlist("active")), []
    for asset_id, text in zip(form.getlist("adapter"), form.getlist("weight"), strict=False):
        weight = _weight(text)
        if weight is None:
            wish.faults["adapters"] = [gettext("An adapter's weight is a number from -2 to 2.")]
        weights.append((asset_id, 1.0 if weight is None else weight, asset_id in active))
    weights = list({each[0]: each for each in weights}.values())
    wish.rows = _rows(store, values["model"], weights)
    wish.values = {**wish.values, "model": OTHER} if is_typed else _with_model(store, wish.values)
    wish.values |= {f"{name}_models": "\n".join(each) for name, each in generate_axes.sent_models(form).items()}
    drawing = generate_axes.drawing_models(form, values["model"]) if as_grid else [values["model"]]
    if reading.settings is not None:
        _check_sides(store, wish, reading.settings, drawing)
    _read_start(store, wish, sent)
    known = {row.id for row in wish.rows}
    if len(known) < len(weights):
        wish.faults["adapters"] = [
            gettext("An adapter is no longer in the library and was taken out of the form. Send it again without it.")
        ]
    on = tuple((asset_id, weight) for asset_id, weight, is_on in weights if is_on and asset_id in known)
    off = tuple((asset_id, weight) for asset_id, weight, is_on in weights if not is_on and asset_id in known)
    if max(len(on), len(off)) > drawings.MOST_ADAPTERS:
        wish.faults["adapters"] = [gettext("At most %(num)s adapters act together.", num=drawings.MOST_ADAPTERS)]
    elif drawing == [values["model"]] and "adapters" not in wish.faults:
        _check_adapters(store, wish, values["model"])
    if reading.settings is None or wish.faults:
        return wish
    request = DrawRequest(**reading.settings.model_dump(), adapters=on, resting=off, start=wish.start, mask=wish.mask)
    if as_grid:
        sides, wish.faults = generate_axes.read(store, request, form)
        request = request.model_copy(update=dict(sides))
    wish.request = None if wish.faults else request
    return wish


def fields() -> dict[str, FormField]:
    """The form's fields in the reader's language."""
    [group] = describe(DrawSettings)
    found = {each.name: each for each in group.fields}
    found["prompt"] = replace(found["prompt"], kind=Kind.AREA)
    found["sampler"] = replace(found["sampler"], kind=Kind.CHOICE, choices=drawings.SAMPLERS)
    return found


def models(store: Store) -> list[tuple[str, str, str]]:
    """Models to choose from: value, name and content hash, that of the starter empty."""
    rows = library.listed(store, library.MODEL)
    return [(STARTER, STARTER, ""), *((f"{library.PREFIX}{row.id}", row.name, row.base_hash) for row in rows)]


def row_of(asset: Asset, model: str, model_hash: str, weight: float = 1.0, is_on: bool = True) -> Row:
    """An adapter of the library as the form shows it beside the chosen model."""
    if model == STARTER:
        is_misfit = asset.base not in ("", STARTER)
    else:
        is_misfit = bool(asset.base_hash and model_hash and asset.base_hash != model_hash)
    return Row(asset.id, asset.name, f"{weight:g}", is_on, asset.base, asset.base_hash, is_misfit)


def _rows(store: Store, model: str, chosen: Sequence[tuple[str, float, bool]]) -> list[Row]:
    """Those of the chosen adapters that are in the library."""
    known = {row.id: row for row in library.listed(store, library.ADAPTER)}
    asset = library.one(store, model.removeprefix(library.PREFIX)) if model.startswith(library.PREFIX) else None
    model_hash = asset.base_hash if asset else ""
    return [
        row_of(known[asset_id], model, model_hash, weight, is_on)
        for asset_id, weight, is_on in chosen
        if asset_id in known
    ]


def _weight(text: str) -> float | None:
    """The number, brought within -2 and 2; None for what is none."""
    try:
        weight = float(text)
    except ValueError:
        return None
    return None if math.isnan(weight) else min(max(weight, -2.0), 2.0)


def _with_model(store: Store, values: dict[str, str]) -> dict[str, str]:
    """The values with a model that is not in the choice as the one that was typed; without one that is gone."""
    model = values["model"]
    if any(model == value for value, _, _ in models(store)):
        return values
    if not model or model.startswith(library.PREFIX):
        return {**values, "model": ""}
    return {**values, "model": OTHER, "model_other": model}


def _check_sides(store: Store, wish: Wish, settings: DrawSettings, models: Sequence[str]) -> None:
    """A width or height that a model cannot draw is told beside it, with the nearest that all can."""
    multiple = math.lcm(*(drawings_size.multiple(store, model) for model in models))
    for name, side in (("width_pixels", settings.width_pixels), ("height_pixels", settings.height_pixels)):
        if side is not None and side % multiple:
            near = drawings_size.nearest(side, multiple)
            wish.faults[name] = [
                gettext("The model draws multiples of %(step)s; the nearest is %(near)s.", step=multiple, near=near)
            ]


def _check_adapters(store: Store, wish: Wish, model: str) -> None:
    """Those that are on and do not fit the model are told beside them."""
    unfit = [row.name for row in wish.rows if row.is_on and not library_shapes.fits(store, row.id, model)]
    if unfit:
        wish.faults["adapters"] = [
            gettext(
                "Adapter “%(adapter)s” does not fit model “%(model)s”. Switch it off, or choose another model.",
                adapter=name, model=library.called(store, model),
            )
            for name in unfit
        ]  # fmt: skip


def _read_start(store: Store, wish: Wish, sent: dict[str, str]) -> None:
    start, mask = sent.get("start", ""), sent.get("mask", "")
    if not start:
        return
    if not drawings_start.is_there(store, start):
        wish.faults["start"] = [gettext("The picture to start from is no longer kept. Choose it again.")]
        return
    wish.start = start
    try:
        painted = mask.startswith(drawings_start.DATA_URL)
        wish.mask = drawings_start.take_in_mask(store, mask) if painted else mask
        if wish.mask and not drawings_start.is_there(store, wish.mask):
            raise MistakeError("the mask is no longer kept; paint it again")
    except MistakeError as error:
        wish.mask, wish.faults["start"] = "", [said(str(error))]
