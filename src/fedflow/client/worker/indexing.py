"""Look at the pictures of a dataset; files that did not change since the last look are not opened."""

from __future__ import annotations

import time
from pathlib import Path

from fedflow.client.database.tables import Job
from fedflow.client.services import datasets, jobs
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.main import Interrupted
from fedflow.datasets.index import make_index
from fedflow.errors import MistakeError

NOTE_S = 0.25


def do(store: Store, settings: ClientSettings, job: Job) -> None:  # noqa: ARG001 - as all tasks
    """Index the dataset that the job names.

    Raises MistakeError where it was taken out, DatasetError where its folder is away; Interrupted where the owner
    wants no more for now.
    """
    dataset = datasets.one(store, job.asked["dataset"])
    if dataset is None:
        raise MistakeError("the dataset was taken out meanwhile")
    noted_at = 0.0

    def progress(done: int, of: int) -> None:
        nonlocal noted_at
        if time.monotonic() - noted_at >= NOTE_S:
            noted_at = time.monotonic()
            wanted = jobs.note(store, job.id, done, of)
            if wanted is not None:
                raise Interrupted(wanted)

    index = make_index(Path(dataset.folder), datasets.known(store, dataset.id), progress)
    datasets.keep(store, dataset.id, index)
    jobs.note(store, job.id, len(index.entries), len(index.entries))
