"""Unpack a zip that was brought into a dataset of the app's own, then look at its pictures."""

from __future__ import annotations

from fedflow.client.database.tables import Job
from fedflow.client.services import datasets_uploads
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker import indexing


def do(store: Store, settings: ClientSettings, job: Job) -> None:
    """Do so. Raises as `datasets_uploads.unpack` and `indexing.do`."""
    datasets_uploads.unpack(store, job, indexing.dataset_of(store, job))
    indexing.do(store, settings, job)
