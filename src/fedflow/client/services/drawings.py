"""The gallery: pictures that were drawn here, and what they were drawn with."""

from __future__ import annotations

import math
import secrets

from pydantic import Field, field_validator
from sqlalchemy import Text, cast, or_, select

from fedflow.client.database.tables import Drawing, Job
from fedflow.client.services import jobs
from fedflow.client.store import Store
from fedflow.plan import STARTER, Settings

KIND = "draw"
HIGHEST_SEED = 2**32 - 1
MOST_WEIGHT = 4.0


class DrawRequest(Settings):
    """Pictures to be drawn on this machine."""

    model: str = Field(STARTER, min_length=1, description="The base model that draws.")
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
    adapters: tuple[str, ...] = Field(
        (), strict=False, max_length=16, description="Adapters of the library, each as IDENTIFIER:WEIGHT."
    )
    size_pixels: int | None = Field(None, ge=16, le=2048, description="Width and height; the model's own if empty.")

    @field_validator("adapters")
    @classmethod
    def _have_weights(cls, adapters: tuple[str, ...]) -> tuple[str, ...]:
        for each in adapters:
            weight = weighted(each)[1]
            if not math.isfinite(weight) or abs(weight) > MOST_WEIGHT:
                raise ValueError(f"adapters: a weight lies between -{MOST_WEIGHT:g} and {MOST_WEIGHT:g}")
        return adapters

    @field_validator("prompt", "negative_prompt")
    @classmethod
    def _in_one_line(cls, text: str) -> str:
        return " ".join(text.split())


def weighted(adapter: str) -> tuple[str, float]:
    """IDENTIFIER:WEIGHT as both; a weight that is no number is infinite, which no request takes."""
    asset_id, _, weight = adapter.rpartition(":")
    try:
        return asset_id, float(weight.replace(",", "."))
    except ValueError:
        return asset_id, math.inf


def ask(store: Store, request: DrawRequest) -> str:
    """Have pictures drawn; gives the job's identifier."""
    seeded = request.model_copy(
        update={"seed": secrets.randbelow(HIGHEST_SEED) if request.seed is None else request.seed}
    )
    with store.begin() as session:
        asked = seeded.model_dump(mode="json")
        return jobs.add(session, KIND, request.prompt, asked, request.pictures * request.steps, store.clock()).id


def request_of(job: Job) -> DrawRequest:
    """What was asked for."""
    return DrawRequest.model_validate(job.asked)


def keep(store: Store, drawing: Drawing) -> None:
    """Put a picture whose file is in the store into the gallery."""
    with store.begin() as session:
        session.add(drawing)


def of_job(store: Store, job_id: str) -> list[Drawing]:
    """The pictures of one job, in their order."""
    with store.read() as session:
        return list(session.scalars(select(Drawing).where(Drawing.job_id == job_id).order_by(Drawing.id)))


def listed(store: Store, text: str, limit: int, before: str = "") -> list[Drawing]:
    """The newest pictures whose prompt, model or adapters hold `text`, newest first; those before `before`."""
    query = select(Drawing).order_by(Drawing.id.desc()).limit(limit)
    if before:
        query = query.where(Drawing.id < before)
    for word in text.split():
        columns = (Drawing.prompt, Drawing.model, cast(Drawing.adapters, Text))
        query = query.where(or_(*(column.icontains(word, autoescape=True) for column in columns)))
    with store.read() as session:
        return list(session.scalars(query))


def one(store: Store, drawing_id: str) -> Drawing | None:
    """A picture of the gallery; None where there is none."""
    with store.read() as session:
        return session.get(Drawing, drawing_id)


def remove(store: Store, drawing_id: str) -> None:
    """Take a picture out of the gallery; its file goes when nothing shows it any more."""
    with store.begin() as session:
        drawing = session.get(Drawing, drawing_id)
        if drawing is None:
            return
        session.delete(drawing)
        session.flush()
        is_shown = session.scalar(select(Drawing.id).where(Drawing.sha256 == drawing.sha256).limit(1))
    if is_shown is None:
        store.blobs.remove(drawing.sha256)
