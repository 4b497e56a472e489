"""What is done to the library by jobs: taking a file or folder in, joining adapters, writing a model as one file."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from fedflow.client.database.tables import Job
from fedflow.client.services import jobs, library
from fedflow.client.services.library import Kind
from fedflow.client.store import Store
from fedflow.errors import FedFlowError, MistakeError, ModelError
from fedflow.models.pickles import refuse_pickle
from fedflow.plan import STARTER, Settings
from fedflow.tensors.header import read_header

IMPORT, MERGE, EXPORT = KINDS = ("import", "merge", "export")
OF_ADAPTERS = re.compile(r"[._]lora[._]|\.lora_[AB]\.|\.alpha$|\.dora_scale$")
"""In the names of an adapter's weights: kohya's, diffusers' and peft's."""

OF_MODELS = re.compile(r"(model\.diffusion_model|first_stage_model|cond_stage_model|conditioner)\.")
"""In front of the names of a whole model's weights, where it is one checkpoint."""

FEWEST, MOST_PARTS, MOST_WEIGHT = 2, 16, 4.0


class ImportRequest(Settings):
    """A model or adapter that comes into the library; what it comes from stays as it is."""

    kind: Kind = Field("adapter", description="An adapter goes with a base model; a model stands alone.")
    place: str = Field(
        min_length=1,
        max_length=4000,
        description="In place of a file: its whole path on this machine, which may be a folder in the diffusers "
        "layout. Or a hub name, OWNER/NAME.",
    )
    name: str = Field("", max_length=80, description="What it is called in the library; the file's name if empty.")
    base: str = Field(STARTER, description="The model that an adapter was trained on; it is checked whether it fits.")


class MergeRequest(Settings):
    """Adapters that become one: exact, its rank is the sum of theirs."""

    name: str = Field(min_length=1, max_length=80)
    parts: tuple[Annotated[tuple[str, float], Field(strict=False)], ...] = Field(strict=False)


class ExportRequest(Settings):
    """A model that is written as one checkpoint file."""

    model: str


def take_in(store: Store, request: ImportRequest) -> str:
    """Have what lies at its place taken in; gives the job's identifier. Raises MistakeError, which names the field."""
    place = Path(request.place.strip()).expanduser()
    is_hub = not place.is_absolute() and request.place.count("/") == 1
    if not is_hub and not place.exists():
        raise MistakeError(
            f"place: {request.place.strip()} is not there; give the whole path, or a hub name OWNER/NAME"
        )
    if place.is_file():
        try:
            refuse_pickle(place)
        except ModelError as error:
            raise MistakeError(f"place: {error}") from None
    if not is_hub:
        check_kind(request, place)
    return ask(store, request, {})


def check_kind(request: ImportRequest, place: Path) -> None:
    """Raises MistakeError for an adapter that shall be a model, and for a model that shall be an adapter."""
    if request.kind == library.MODEL and _holds_adapter(place):
        raise MistakeError("kind: the file is an adapter (LoRA); choose that, and the model it was trained on")
    if request.kind == library.ADAPTER and _holds_model(place):
        raise MistakeError("kind: it is a whole model; choose that")


def ask(store: Store, request: ImportRequest, further: dict[str, Any]) -> str:
    """Put an import into the queue, with what its job is told `further`. Raises MistakeError where its base is gone."""
    library.place(store, request.base)
    place = request.place.strip()
    name = " ".join(request.name.split()) or Path(place).stem or Path(place).name
    asked = request.model_copy(update={"place": place, "name": name}).model_dump(mode="json")
    with store.begin() as session:
        return jobs.add(session, IMPORT, name, asked | further, 1, store.clock()).id


def _holds_adapter(file: Path) -> bool:
    """Whether all weights of a file are an adapter's, by their names."""
    names = _names(file)
    return bool(names) and all(OF_ADAPTERS.search(name) for name in names)


def _holds_model(place: Path) -> bool:
    """Whether it is a folder in the diffusers layout, or a whole model's checkpoint by the names of its weights."""
    return (place / "model_index.json").is_file() or any(OF_MODELS.match(name) for name in _names(place))


def _names(file: Path) -> Collection[str]:
    """Of a file's weights; none where it cannot be read."""
    try:
        return read_header(file).entries
    except FedFlowError:
        return ()


def merge(store: Store, request: MergeRequest) -> str:
    """Have adapters joined; gives the job's identifier. Raises MistakeError for parts that cannot be."""
    for field, why in wrong_parts(store, request.parts).items():
        raise MistakeError(f"{field}: {why}")
    with store.begin() as session:
        return jobs.add(session, MERGE, request.name, request.model_dump(mode="json"), 1, store.clock()).id


def wrong_parts(store: Store, parts: Sequence[tuple[str, float]]) -> dict[str, str]:
    """Why adapters with these weights cannot be joined: 'part' of which they are, 'weight-ID' of one's weight."""
    wrong: dict[str, str] = {}
    if not FEWEST <= len(parts) <= MOST_PARTS:
        wrong["part"] = f"choose {FEWEST} to {MOST_PARTS} adapters"
    for asset_id, weight in parts:
        row = library.one(store, asset_id)
        if row is None or row.kind != library.ADAPTER:
            wrong["part"] = "an adapter is no longer in the library; choose again"
        if not math.isfinite(weight) or abs(weight) > MOST_WEIGHT:
            wrong[f"weight-{asset_id}"] = f"it must lie between -{MOST_WEIGHT:g} and {MOST_WEIGHT:g}"
    return wrong


def export(store: Store, asset_id: str) -> str:
    """Have a model written as one checkpoint file; gives the job's identifier. Raises MistakeError."""
    row = library.one(store, asset_id)
    if row is None or row.kind != library.MODEL:
        raise MistakeError("the model is no longer in the library")
    with store.begin() as session:
        return jobs.add(session, EXPORT, row.name, {"model": asset_id}, 1, store.clock()).id


def of(store: Store, asset_id: str) -> Job | None:
    """The job that writes a model as one file, if it is under way."""
    return next((job for job in jobs.under_way(store, (EXPORT,)) if job.asked["model"] == asset_id), None)
