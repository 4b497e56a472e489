"""Telling how far a job is, not more often than a page can show it."""

from __future__ import annotations

import time
from collections.abc import Callable

from fedflow.client.services import jobs
from fedflow.client.store import Store
from fedflow.client.worker.main import Interrupted

NOTE_S = 0.25


def noted(store: Store, job_id: str) -> Callable[[int, int], None]:
    """A function that is told pieces of work done and in all; it raises Interrupted where the owner wants no more."""
    noted_at = 0.0

    def progress(done: int, of: int) -> None:
        nonlocal noted_at
        if time.monotonic() - noted_at >= NOTE_S:
            noted_at = time.monotonic()
            wanted = jobs.note(store, job_id, done, of)
            if wanted is not None:
                raise Interrupted(wanted)

    return progress
