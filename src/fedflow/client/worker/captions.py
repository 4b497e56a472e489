"""Change many captions, or undo or redo such a change: all of them or none.

Asked are `action` with its two `words` and the pictures' numbers as `pictures`, or the number of a change to `undo` or
`redo`.
"""

from __future__ import annotations

from fedflow.client.database.tables import Job
from fedflow.client.services import datasets_edits, datasets_undo, jobs
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.indexing import dataset_of
from fedflow.client.worker.progress import noted


def do(store: Store, settings: ClientSettings, job: Job) -> None:  # noqa: ARG001 - as all tasks
    """Change what the job names.

    Raises MistakeError for what cannot be done, StorageError where a caption cannot be written, Interrupted where the
    owner wants no more: nothing is then changed.
    """
    dataset, asked, watch = dataset_of(store, job), job.asked, noted(store, job.id)
    if "undo" in asked:
        done = datasets_undo.undo(store, dataset, asked["undo"], watch)
    elif "redo" in asked:
        done = datasets_undo.redo(store, dataset, asked["redo"], watch)
    else:
        first, second = asked["words"]
        done = datasets_edits.change(store, dataset, asked["action"], (first, second), asked["pictures"], watch)
    jobs.note(store, job.id, len(done.captions), len(done.captions))
