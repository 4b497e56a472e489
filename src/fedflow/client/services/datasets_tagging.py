"""Asking for automatic tags."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from sqlalchemy import select

from fedflow.client.database.tables import Dataset, Job
from fedflow.client.services import jobs
from fedflow.client.store import Store
from fedflow.errors import MistakeError
from fedflow.plan import HUB, Settings

KIND = "tag"
SHIPPED = "icons-v1"
"""As `fedflow.tagging.icons_v1.NAME`, which would bring torch along."""
MODEL_FILE = "model.onnx"
"""As `fedflow.tagging.wd.MODEL_FILE`."""


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
    """Have the pictures tagged.

    Raises MistakeError where there is no such tagger on this machine, and where the pictures are being tagged.
    """
    _check(request.tagger)
    under_way = select(Job.id).where(
        Job.kind == KIND,
        Job.status.in_((jobs.QUEUED, jobs.RUNNING)),
        Job.asked["dataset"].as_string() == dataset.id,
    )
    with store.begin() as session:
        if session.scalar(under_way.limit(1)) is not None:
            raise MistakeError("the dataset is being tagged, or waits for it; ask again when that is done")
        asked = {"dataset": dataset.id, **request.model_dump(mode="json")}
        jobs.add(session, KIND, f"{dataset.name} · {request.tagger}", asked, 0, store.clock())


def _check(tagger: str) -> None:
    """What can be known of a tagger before it is opened, which takes seconds."""
    if tagger == SHIPPED or tagger.startswith(HUB):
        return
    path = Path(tagger).expanduser()
    if path.is_file() or (path / MODEL_FILE).is_file():
        return
    if path.is_dir():
        raise MistakeError(f"tagger: {path}: holds no {MODEL_FILE}; give a tagger's .onnx file or the folder with it")
    if path.exists() or path.suffix.lower() == ".onnx" or path.name != tagger:
        raise MistakeError(f"tagger: {path}: no such file; give a tagger's .onnx file or the folder with {MODEL_FILE}")
    raise MistakeError(f"tagger: tagger '{tagger}': unknown; give {SHIPPED}, an .onnx file or hub:OWNER/NAME")


def request_of(job: Job) -> TagRequest:
    """What a job of this kind was asked for."""
    return TagRequest.model_validate({name: job.asked[name] for name in TagRequest.model_fields})
