"""What a check of a dataset has found: made by the worker, kept as a file in the app's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fedflow.client.database.tables import Dataset
from fedflow.client.services import datasets, jobs
from fedflow.client.store import Store
from fedflow.datasets.buckets import UNIT, Share, buckets_for, shares
from fedflow.datasets.findings import Findings
from fedflow.datasets.statistics import Span, Statistics
from fedflow.storage import write_atomic

KIND = "check"
FOLDER = "checks"
SIZE = 512
"""Pixels of the side of pictures for which Stable Diffusion 1.5 was made."""
SMALL_UNIT = 8
"""An image model's latents have an eighth of a picture's sides."""
TITLE = "{title}"
"""Stands in a kept drawing for its title, which is in the reader's language."""


def ask(store: Store, dataset: Dataset) -> None:
    """Have the dataset checked, unless that is asked for already."""
    if any(job.asked["dataset"] == dataset.id for job in jobs.under_way(store, (KIND,)) if job.status == jobs.QUEUED):
        return
    with store.begin() as session:
        jobs.add(session, KIND, dataset.name, {"dataset": dataset.id}, 0, store.clock())


def keep(store: Store, dataset_id: str, found: Findings, figures: Statistics, charts: dict[str, str]) -> None:
    """Keep what was found; `charts` are drawings by the name of what they show, with TITLE as their title.

    Raises StorageError.
    """
    kept = {
        "at": store.clock(),
        "same": [[str(path) for path in group] for group in found.same],
        "near": [
            [[str(group.first), 0], *([str(path), bits] for path, bits in group.others)] for group in found.near
        ],
        "personal": [[str(path), [[str(each.kind), each.text] for each in those]] for path, those in found.personal],
        "remarks": [[str(remark.path), remark.reason] for remark in found.remarks],
        "figures": {
            "pictures": figures.num_pictures, "usable": figures.num_usable, "bytes": figures.total_bytes,
            "width": _span(figures.width), "height": _span(figures.height), "aspect": _span(figures.aspect),
            "letters": _span(figures.caption_letters),
        },
        "charts": charts,
    }  # fmt: skip
    write_atomic(_place(store, dataset_id), json.dumps(kept).encode("utf-8", "surrogatepass"))


def found(store: Store, dataset_id: str) -> dict[str, Any] | None:
    """What the newest check has found, as `keep` writes it; None where there was none."""
    try:
        kept: dict[str, Any] = json.loads(_place(store, dataset_id).read_bytes().decode("utf-8", "surrogatepass"))
    except (FileNotFoundError, ValueError):
        return None
    return kept


def forget(store: Store, dataset_id: str) -> None:
    """Remove what was found."""
    _place(store, dataset_id).unlink(missing_ok=True)


def unit_of(size: int) -> int:
    """Of how many pixels the sides of buckets are multiples: fewer where pictures of `size` pixels leave no others."""
    return UNIT if size >= SIZE // 2 else SMALL_UNIT


def buckets(store: Store, dataset: Dataset, size: int) -> list[Share]:
    """The buckets of about `size` * `size` pixels that the dataset's pictures fall into, those that can be used."""
    usable = (entry.seen for entry in datasets.known(store, dataset.id) if entry.seen and not entry.problems)
    sizes = [(seen.width, seen.height) for seen in usable]
    return shares(sizes, buckets_for(size, unit_of(size)))


def _span(span: Span) -> list[float]:
    return [span.low, span.middle, span.high]


def _place(store: Store, dataset_id: str) -> Path:
    return store.folder / FOLDER / f"{Path(dataset_id).name}.json"
