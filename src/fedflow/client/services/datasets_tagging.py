"""Asking for automatic tags."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedflow.client.database.tables import Dataset, Job
from fedflow.client.services import jobs
from fedflow.client.store import Store
from fedflow.plan import Settings

KIND = "tag"
SHIPPED = "icons-v1"
"""As `fedflow.tagging.icons_v1.NAME`, which would bring torch along."""


class TagRequest(Settings):
    """By what, how surely, and what becomes of captions that are there."""

    tagger: str = Field(
        SHIPPED,
        min_length=1,
        max_length=1000,
        description="icons-v1 knows icon art alone. Or a WD tagger: its .onnx file or folder, or hub:OWNER/NAME.",
    )
    threshold: float | None = Field(
        None, ge=0.0, le=1.0, strict=False, description="Least score of a tag, 0 to 1; the tagger's own if empty."
    )
    write: Literal["missing", "add", "replace"] = Field(
        "missing", description="What becomes of captions that are there."
    )


def ask(store: Store, dataset: Dataset, request: TagRequest) -> None:
    """Have the pictures tagged."""
    with store.begin() as session:
        asked = {"dataset": dataset.id, **request.model_dump(mode="json")}
        jobs.add(session, KIND, f"{dataset.name} · {request.tagger}", asked, 0, store.clock())


def request_of(job: Job) -> TagRequest:
    """What a job of this kind was asked for."""
    return TagRequest.model_validate({name: job.asked[name] for name in TagRequest.model_fields})
