"""Unpack a zip that was brought into a dataset of the app's own, then look at its pictures."""

from __future__ import annotations

from fedflow.client.database.tables import Job
from fedflow.client.services import datasets_uploads
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker import indexing
from fedflow.client.worker.main import RefusedError
from fedflow.errors import DatasetError


def do(store: Store, settings: ClientSettings, job: Job) -> None:
    """Do so. Raises RefusedError for a zip that is, else as `datasets_uploads.unpack` and `indexing.do`."""
    try:
        datasets_uploads.unpack(store, job, indexing.dataset_of(store, job))
    except DatasetError as error:
        raise RefusedError(str(error)) from error
    indexing.do(store, settings, job)
