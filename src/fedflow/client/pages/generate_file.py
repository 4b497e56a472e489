"""The form filled from a picture that FedFlow, AUTOMATIC1111's web UI or ComfyUI has drawn."""

from __future__ import annotations

from pathlib import PurePosixPath

from flask_babel import gettext

from fedflow.client.database.tables import Asset, Drawing
from fedflow.client.pages import generate_form
from fedflow.client.pages.generate_form import Wish
from fedflow.client.services import drawings, library
from fedflow.client.services.drawings import DrawRequest
from fedflow.client.store import Store
from fedflow.generation import Found, read_settings
from fedflow.plan import STARTER

LONGEST_PROMPT = 2000
WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
HASH_CHARACTERS = 10


def of_drawing(store: Store, drawing: Drawing) -> Wish:
    """The form with the settings of a picture on the way of a training; of the last one with what came of it."""
    is_last = drawing.made_from["step"] == drawing.made_from.get("of")
    made = library.one(store, drawing.made_from["training"]) if is_last else None
    return of_file(store, store.blobs.get(drawing.sha256).read_bytes(), made)


def of_file(store: Store, content: bytes, made: Asset | None = None) -> Wish:
    """The form with a file's settings, and a note for each that could not be taken over.

    made: the model or adapter that it was drawn with, where that is known better than by its name.

    Raises MistakeError, one line, for a file without settings.
    """
    found = read_settings(content)
    notes: list[str] = []
    known: dict[str, object] = {"prompt": found.prompt[:LONGEST_PROMPT] or " ", "pictures": 1}
    known["negative_prompt"] = found.negative[:LONGEST_PROMPT]
    if max(len(found.prompt), len(found.negative)) > LONGEST_PROMPT:
        notes.append(gettext("The prompt was cut to %(num)s characters.", num=LONGEST_PROMPT))
    _numbers(found, known, notes)
    if found.sampler:
        known["sampler"] = found.sampler
    elif found.other_sampler:
        notes.append(gettext("Sampler “%(name)s” is not known here; UniPC is chosen.", name=found.other_sampler))
    is_model = made is not None and made.kind == library.MODEL
    known["model"] = f"{library.PREFIX}{made.id}" if made and is_model else _model(store, found, notes)
    known["adapters"] = ((made.id, 1.0),) if made and not is_model else _adapters(store, found, notes)
    if found.lost:
        notes.append(gettext("Not taken over: %(names)s.", names=", ".join(found.lost)))
    wish = generate_form.of_request(store, DrawRequest.model_construct(**{**_defaults(), **known}))  # type: ignore[arg-type]
    wish.values["prompt"] = found.prompt[:LONGEST_PROMPT]
    wish.notes = [*notes, *wish.notes]
    return wish


def _defaults() -> dict[str, object]:
    return DrawRequest(prompt=" ").model_dump()


def _numbers(found: Found, known: dict[str, object], notes: list[str]) -> None:
    """Steps, guidance, seed and size, where they lie within what can be drawn here."""
    limits = (
        ("steps", gettext("Steps"), found.steps, 1, 200),
        ("guidance", gettext("Guidance"), found.guidance, 1.0, 30.0),
        ("seed", gettext("Seed"), found.seed, 0, drawings.HIGHEST_SEED),
    )
    for name, label, value, least, most in limits:
        if value is None:
            continue
        if least <= value <= most:
            known[name] = value
        else:
            notes.append(_beyond(label, value, least, most))
    if found.width is None or found.height is None:
        return
    sides, least, most = (found.width, found.height), drawings.LEAST_SIDE, drawings.MOST_SIDE
    if all(least <= side <= most for side in sides):
        known["width_pixels"], known["height_pixels"] = sides
    else:
        notes.append(_beyond(gettext("Size"), f"{sides[0]}x{sides[1]}", least, most))


def _beyond(label: str, value: object, least: float, most: float) -> str:
    return str(
        gettext(
            "%(label)s %(value)s was left out; it must lie between %(least)s and %(most)s.",
            label=label, value=value, least=least, most=most,
        )
    )  # fmt: skip


def _model(store: Store, found: Found, notes: list[str]) -> str:
    """The model of the same hash or name; the starter where none is."""
    if not found.model or found.model == STARTER:
        return STARTER
    name, short = _bare(found.model), found.model_hash[:HASH_CHARACTERS]
    for row in library.listed(store, library.MODEL):
        if (short and row.base_hash.startswith(short)) or row.name in (found.model, name):
            return f"{library.PREFIX}{row.id}"
    notes.append(gettext("Model “%(name)s” is not in the library; the starter is chosen.", name=found.model[:100]))
    return STARTER


def _bare(called: str) -> str:
    """A file's name without folders, nor the suffix of a file of weights; a name may have a dot of its own."""
    path = PurePosixPath(called.replace("\\", "/"))
    return path.stem if path.suffix.lower() in WEIGHTS else path.name


def _adapters(store: Store, found: Found, notes: list[str]) -> tuple[tuple[str, float], ...]:
    known = {row.name: row.id for row in library.listed(store, library.ADAPTER)}
    taken: dict[str, float] = {}
    for called, weight in found.adapters[: drawings.MOST_ADAPTERS]:
        asset_id = known.get(called) or known.get(_bare(called))
        if asset_id is None:
            notes.append(gettext("Adapter “%(name)s” is not in the library and was left out.", name=called))
            continue
        taken[asset_id] = min(max(weight, -2.0), 2.0)
        if taken[asset_id] != weight:
            notes.append(gettext("The weight of adapter “%(name)s” was brought within -2 and 2.", name=called))
    return tuple(taken.items())
