"""Check a dataset: what is there twice, personal data, figures and their drawings."""

from __future__ import annotations

from pathlib import Path

from fedflow.client.database.tables import Job
from fedflow.client.services import datasets, datasets_check, jobs
from fedflow.client.services.datasets_check import SIZE, TITLE
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.indexing import dataset_of
from fedflow.client.worker.main import Interrupted
from fedflow.datasets.buckets import buckets_for
from fedflow.datasets.findings import findings_of
from fedflow.datasets.index import Index
from fedflow.datasets.personal import Names
from fedflow.datasets.records import Problem
from fedflow.datasets.statistics import statistics_of
from fedflow.evaluation.dataset_charts import bars_svg
from fedflow.evaluation.drawing import without_styles

PARTS = 5


def do(store: Store, settings: ClientSettings, job: Job) -> None:  # noqa: ARG001 - as all tasks
    """Check what was last seen of the dataset's folder; no picture is opened.

    Raises RefusedError where the dataset was taken out, StorageError where nothing can be written, Interrupted where
    the owner wants no more.
    """
    dataset = dataset_of(store, job)
    others = tuple(Problem(Path(path), why) for path, why in dataset.other_problems)

    def part(done: int) -> None:
        wanted = jobs.note(store, job.id, done, PARTS)
        if wanted is not None:
            raise Interrupted(wanted)

    part(0)
    index = Index(Path(dataset.folder), tuple(datasets.known(store, dataset.id)), others)
    found = findings_of(index, Names(dataset.people))
    part(1)
    figures = statistics_of(index, buckets_for(SIZE))
    rows = {"tags": figures.tags, "lengths": figures.tags_per_caption, "sides": figures.shorter_sides}
    charts: dict[str, str] = {}
    for number, (name, counts) in enumerate(rows.items(), start=2):
        if counts:
            charts[name] = without_styles(bars_svg(name, TITLE, counts))
        part(number)
    datasets_check.keep(store, dataset.id, found, figures, charts)
    jobs.note(store, job.id, PARTS)
