"""Tag the pictures of a dataset; all captions are written at the end, as one change that can be undone."""

from __future__ import annotations

from pathlib import Path

from fedflow.client.database.tables import Job
from fedflow.client.services import datasets, datasets_edits, datasets_tagging, jobs
from fedflow.client.services.datasets_edits import TAG
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.indexing import dataset_of
from fedflow.client.worker.progress import noted
from fedflow.datasets.captions import caption_tags
from fedflow.datasets.records import Problem
from fedflow.datasets.tags import Change
from fedflow.errors import MistakeError
from fedflow.federation.workbench import settle_torch
from fedflow.tagging.folder import Write, tag_folder
from fedflow.tagging.registry import open_tagger


def do(store: Store, settings: ClientSettings, job: Job) -> None:
    """Tag as the job asks.

    Raises FedFlowError, one line, where the tagger cannot be opened, a caption has changed meanwhile or nothing is to
    be written; Interrupted where the owner wants no more. Nothing is then changed.
    """
    settle_torch(settings.threads)
    dataset, request = dataset_of(store, job), datasets_tagging.request_of(job)
    progress = noted(store, job.id)
    progress(0, 0)
    tagger = open_tagger(request.tagger)
    folder = Path(dataset.folder)
    now = {each.path: each.caption for each in datasets.lines(store, dataset.id)}
    skipped: list[Problem] = []
    changes: dict[str, Change] = {}
    for each in tag_folder(
        folder, tagger, Write(request.write), threshold=request.threshold, problem=skipped.append, progress=progress
    ):
        path = str(each.path.relative_to(folder))
        if path in now and each.after is not None and caption_tags(each.after) != caption_tags(now[path]):
            changes[path] = Change(now[path], each.after)
    if not changes:
        raise MistakeError(
            "the tagger has found nothing to write; try a lower threshold, another tagger, or to add to captions"
        )
    facts = {"first": request.tagger, "pictures": len(changes), "skipped": len(skipped)}
    datasets_edits.record(store, dataset, TAG, facts, changes)
    jobs.note(store, job.id, len(now), len(now))
