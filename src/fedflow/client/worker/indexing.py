"""Look at the pictures of a dataset; files that did not change since the last look are not opened."""

from __future__ import annotations

from pathlib import Path

from fedflow.client.database.tables import Dataset, Job
from fedflow.client.services import datasets, jobs
from fedflow.client.services.datasets_journal import alone
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.main import RefusedError
from fedflow.client.worker.progress import noted
from fedflow.datasets.index import make_index


def do(store: Store, settings: ClientSettings, job: Job) -> None:  # noqa: ARG001 - as all tasks
    """Index the dataset that the job names.

    Raises RefusedError where it was taken out, DatasetError where its folder is away, as `alone`; Interrupted where
    the owner wants no more for now.
    """
    dataset = dataset_of(store, job)
    before = datasets.known(store, dataset.id)
    progress = noted(store, job.id)
    index = make_index(Path(dataset.folder), before, progress)
    found = len(index.entries)
    jobs.note(store, job.id, found, found)  # `alone` may wait for a change
    with alone(store, dataset):  # what was seen of a change half made is looked at once more
        index = make_index(index.folder, index.entries, lambda _done, _of: progress(found, found))
        datasets.keep(store, dataset.id, index, before)
    jobs.note(store, job.id, len(index.entries), len(index.entries))


def dataset_of(store: Store, job: Job) -> Dataset:
    """The dataset that a job names. Raises RefusedError where it was taken out."""
    dataset = datasets.one(store, job.asked["dataset"])
    if dataset is None:
        raise RefusedError("the dataset was taken out meanwhile")
    return dataset
