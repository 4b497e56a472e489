"""The gallery: pictures that were drawn here, and what they were drawn with."""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from sqlalchemy import Text, cast, exists, func, or_, select
from sqlalchemy.orm import Session

from fedflow.client.database.tables import Drawing, Job
from fedflow.client.services import jobs
from fedflow.client.store import Store
from fedflow.plan import STARTER, Settings

KIND = "draw"
HIGHEST_SEED = 2**32 - 1
MOST_ADAPTERS = 16
MOST_VALUES = 10
LEAST_SIDE, MOST_SIDE = 16, 2048
"""Pixels of a picture's width or height."""

SAMPLERS = (("unipc", "UniPC"), ("dpm++", "DPM++ 2M"), ("ddim", "DDIM"), ("euler", "Euler"), ("euler-a", "Euler a"))
"""As `fedflow.models.SAMPLERS`, which would bring torch along."""

AxisKind = Literal["prompt", "seed", "steps", "guidance", "sampler", "model", "adapter", "weight"]
Weight = Annotated[float, Field(ge=-2.0, le=2.0, strict=False)]
Weighted = tuple[str, Weight]
"""An adapter's identifier in the library, and its weight."""


class DrawSettings(Settings):
    """What the form of a drawing asks for field by field."""

    model: str = Field(STARTER, min_length=1, max_length=500, description="The base model that draws.")
    prompt: str = Field(min_length=1, max_length=2000, description="What the pictures should show.")
    negative_prompt: str = Field("", max_length=2000, description="What they should not show.")
    pictures: int = Field(4, ge=1, le=64, description="Each is drawn from its own seed.")
    steps: int = Field(20, ge=1, le=200, description="Denoising steps of each picture; more take longer.")
    guidance: float = Field(
        3.0, ge=1.0, le=30.0, strict=False, description="How closely the prompt is followed; 1 is loosely."
    )
    sampler: str = Field("unipc", description="How noise is taken away step by step.")
    seed: int | None = Field(
        None, ge=0, le=HIGHEST_SEED,
        description="Seed of the first picture, plus one for each next; a random one if empty.",
    )  # fmt: skip
    width_pixels: int | None = Field(None, ge=LEAST_SIDE, le=MOST_SIDE, description="The model's own if empty.")
    height_pixels: int | None = Field(None, ge=LEAST_SIDE, le=MOST_SIDE, description="The model's own if empty.")
    strength: float = Field(
        0.6, ge=0.05, le=1.0, strict=False, description="How much of the picture changes; 1 is all of it."
    )

    @field_validator("prompt", "negative_prompt")
    @classmethod
    def _in_one_line(cls, text: str) -> str:
        return " ".join(text.split())


class Axis(Settings):
    """One side of a grid: what differs along it, and its values as text.

    Of adapters they are identifiers, '' for none, of models names as a request has them. Of a prompt they are words:
    the first stand in it, and each takes their place.
    """

    kind: AxisKind
    values: tuple[str, ...] = Field(min_length=1, max_length=MOST_VALUES, strict=False)


class DrawRequest(DrawSettings):
    """Pictures to be drawn on this machine.

    `adapters` act, `resting` stand in the form and do not. `start` and `mask` are blobs: the picture that is drawn
    over, and where. With `across`, and `down` where wanted, it is a grid and `pictures` counts for nothing.
    """

    adapters: tuple[Weighted, ...] = Field((), max_length=MOST_ADAPTERS, strict=False)
    resting: tuple[Weighted, ...] = Field((), max_length=MOST_ADAPTERS, strict=False)
    start: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    mask: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    across: Axis | None = None
    down: Axis | None = None


def shots(request: DrawRequest) -> list[DrawRequest]:
    """The pictures that a request asks for, one request each; those of a grid row by row."""
    if request.across is None:
        first = request.seed or 0
        return [
            request.model_copy(update={"seed": (first + number) % (HIGHEST_SEED + 1), "pictures": 1})
            for number in range(request.pictures)
        ]
    plain = request.model_copy(update={"across": None, "down": None, "pictures": 1})
    rows = [plain] if request.down is None else [varied(plain, request.down, value) for value in request.down.values]
    return [varied(row, request.across, value) for row in rows for value in request.across.values]


def varied(request: DrawRequest, axis: Axis, value: str) -> DrawRequest:
    """The request with one value of an axis; a weight is that of all its adapters.

    Raises ValueError, also as pydantic's, for a value that is none.
    """
    change: dict[str, object]
    if axis.kind == "weight":
        change = {"adapters": tuple((asset_id, float(value)) for asset_id, _ in request.adapters)}
    elif axis.kind == "adapter":
        change = {"adapters": tuple(each for each in request.adapters if each[0] == value)}
    elif axis.kind == "guidance":
        change = {"guidance": float(value)}
    elif axis.kind == "prompt":
        change = {"prompt": _exchanged(request.prompt, axis.values[0], value)}
    else:
        change = {axis.kind: value if axis.kind in ("sampler", "model") else int(value)}
    return DrawRequest.model_validate({**request.model_dump(), **change})


def _exchanged(prompt: str, words: str, others: str) -> str:
    """The prompt with others in place of these words: where they stand whole, else, in scripts that do not part words
    too, wherever they stand."""
    whole = rf"(?<!\w){re.escape(words)}(?!\w)"
    return re.sub(whole if re.search(whole, prompt) else re.escape(words), lambda _: others, prompt)


def steps_of(shot: DrawRequest) -> int:
    """Denoising steps that a picture takes: a start shortens them."""
    return max(1, int(shot.steps * shot.strength)) if shot.start else shot.steps


def ask(store: Store, request: DrawRequest) -> str:
    """Have pictures drawn; gives the job's identifier."""
    seeded = request.model_copy(
        update={"seed": secrets.randbelow(HIGHEST_SEED) if request.seed is None else request.seed}
    )
    steps = sum(map(steps_of, shots(seeded)))
    with store.begin() as session:
        asked = seeded.model_dump(mode="json")
        return jobs.add(session, KIND, request.prompt, asked, steps, store.clock()).id


def request_of(job: Job) -> DrawRequest:
    """What was asked for."""
    return DrawRequest.model_validate_json(json.dumps(job.asked))


def again(store: Store, drawing: Drawing) -> DrawRequest | None:
    """What draws this one picture once more; None where its job is no longer known."""
    job = jobs.one(store, drawing.job_id)
    if job is None or job.kind != KIND:
        return None
    request = request_of(job)
    if request.across is not None:
        return shots(request)[int(drawing.made_from["cell"])]
    return request.model_copy(update={"seed": drawing.seed, "pictures": 1})


def keep(store: Store, drawing: Drawing) -> None:
    """Put a picture whose file is in the store into the gallery."""
    with store.begin() as session:
        session.add(drawing)


def of_job(store: Store, job_id: str) -> list[Drawing]:
    """The pictures of one job, in the order in which they were drawn."""
    with store.read() as session:
        return list(session.scalars(select(Drawing).where(Drawing.job_id == job_id).order_by(Drawing.id)))


def counted(store: Store, job_id: str) -> int:
    """How many pictures of one job are drawn."""
    with store.read() as session:
        return session.scalar(select(func.count()).where(Drawing.job_id == job_id)) or 0


def listed(
    store: Store, text: str, limit: int, before: str = "", *, model: str = "", adapter: str = ""
) -> list[Drawing]:
    """The newest pictures whose prompt, model or adapters hold `text`, newest first; those before `before`.

    `model` and `adapter` are whole names: only pictures drawn with these.
    """
    query = select(Drawing).order_by(Drawing.id.desc()).limit(limit)
    if before:
        query = query.where(Drawing.id < before)
    if model:
        query = query.where(Drawing.model == model)
    if adapter:
        each = func.json_each(Drawing.adapters).table_valued("value", joins_implicitly=True)
        query = query.where(exists().select_from(each).where(func.json_extract(each.c.value, "$[0]") == adapter))
    for word in text.split():
        columns = (Drawing.prompt, Drawing.model, cast(Drawing.adapters, Text))
        query = query.where(or_(*(column.icontains(word, autoescape=True) for column in columns)))
    with store.read() as session:
        return list(session.scalars(query))


def grids(store: Store, limit: int, before: str = "") -> list[Job]:
    """The newest jobs that draw a grid, newest first; those before `before`."""
    is_grid = func.json_type(Job.asked, "$.across") == "object"
    query = select(Job).where(Job.kind == KIND, is_grid).order_by(Job.id.desc()).limit(limit)
    with store.read() as session:
        return list(session.scalars(query.where(Job.id < before) if before else query))


def used(store: Store) -> tuple[list[str], list[str]]:
    """Names of the models and of the adapters that pictures of the gallery were drawn with."""
    each = func.json_each(Drawing.adapters).table_valued("value", joins_implicitly=True)
    name = func.json_extract(each.c.value, "$[0]")
    with store.read() as session:
        models = list(session.scalars(select(Drawing.model).distinct().order_by(Drawing.model)))
        adapters = list(session.scalars(select(name).select_from(Drawing, each).distinct().order_by(name)))
    return models, adapters


def one(store: Store, drawing_id: str) -> Drawing | None:
    """A picture of the gallery; None where there is none."""
    with store.read() as session:
        return session.get(Drawing, drawing_id)


def remove(store: Store, drawing_id: str) -> None:
    """Take a picture out of the gallery; its file, and what it was drawn over, go when nothing needs them any more."""
    with store.begin() as session:
        drawing = session.get(Drawing, drawing_id)
        if drawing is None:
            return
        session.delete(drawing)
        session.flush()
        files = {drawing.sha256, drawing.made_from.get("start"), drawing.made_from.get("mask")}
        gone = [sha256 for sha256 in files if sha256 and not _is_needed(session, sha256)]
    for sha256 in gone:
        store.blobs.remove(sha256)
    sheet_file(store, drawing.job_id).unlink(missing_ok=True)  # a grid that shows it


def _is_needed(session: Session, sha256: str) -> bool:
    """Whether a picture shows the file or was drawn over it, or a job that is not over yet will be."""
    shows = [Drawing.sha256, *(func.json_extract(Drawing.made_from, f"$.{name}") for name in ("start", "mask"))]
    wants = [func.json_extract(Job.asked, f"$.{name}") for name in ("start", "mask")]
    is_shown = select(Drawing.id).where(or_(*(column == sha256 for column in shows)))
    is_wanted = select(Job.id).where(
        Job.kind == KIND, Job.status.not_in(jobs.OVER), or_(*(each == sha256 for each in wants))
    )
    return any(session.scalar(query.limit(1)) is not None for query in (is_shown, is_wanted))


def preview_file(store: Store, job_id: str) -> Path:
    """Where the picture that a running job draws is shown small, as a PNG."""
    return store.folder / "previews" / f"{job_id}.png"


def sheet_file(store: Store, job_id: str) -> Path:
    """Where the whole grid of a job lies as one PNG, once it is drawn."""
    return store.folder / "grids" / f"{job_id}.png"
