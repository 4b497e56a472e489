"""What killed processes have left in the app's folder, and nobody needs any more."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select

from fedflow.client.database.tables import Asset, Dataset, Job
from fedflow.client.services import arrivals, datasets_uploads, jobs, library, shelving
from fedflow.client.store import Store
from fedflow.datasets.intake import STAGING

IMPORTING, FETCHING, ARRIVING = ".import-", ".fetch-", ".arriving-"
"""What the names of temporary folders begin with; the worker makes the first two, the web process the third."""
PARTS = (STAGING, ".partial")
"""What the names of hidden ones end in, of pictures that gather and of files that are being written."""
DAY_S = 86_400


def sweep(store: Store) -> None:
    """Remove it. A worker does so before its first job: it is the only one then, but the web process is at work.

    What that one may be at goes once nobody has touched it for a day; what a job that can be resumed needs stays.
    """
    arrivals.clear(store)
    for path in [*_of_workers(store), *_of_anybody(store)]:
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            path.unlink()


def _of_workers(store: Store) -> Iterator[Path]:
    """Temporary folders, and what jobs have put into the library that never came to its end: they begin it anew."""
    for prefix in (IMPORTING, FETCHING):
        yield from store.folder.glob(f"{prefix}*")
    unfinished = select(Job.id).where(Job.status != jobs.DONE, Job.id.not_in(select(Asset.id)))
    with store.read() as session:
        yield from (library.folder(store, job_id) for job_id in session.scalars(unfinished))


def _of_anybody(store: Store) -> Iterator[Path]:
    """What was on its way into the app, parts of files that were being written, and what no job will take in."""
    asked, goes_on = Job.asked, Job.status.not_in(jobs.OVER)
    zips = select(asked[jobs.ARCHIVE].as_string()).where(
        goes_on, Job.kind == datasets_uploads.KIND, asked["dataset"].as_string().in_(select(Dataset.id))
    )
    models = select(asked[jobs.UPLOAD].as_string()).where(goes_on, Job.kind == shelving.IMPORT)
    with store.read() as session:
        wanted = {*session.scalars(zips), *session.scalars(models)}
    before = store.clock() - DAY_S
    for path in _under(store.folder):
        is_part = path.name.startswith(ARRIVING) or (path.name[0] == "." and path.name.endswith(PARTS))
        is_kept = path.parent == store.folder / jobs.INCOMING and path.name not in wanted
        is_kept = is_kept and not arrivals.is_of_one(path)
        if (is_part or is_kept) and _touched_at(path) < before:
            yield path


def _touched_at(path: Path) -> float:
    """When it or what lies in it was written last; never, where it is gone by now."""
    times = [0.0]
    for each in (path, *_under(path)):
        with contextlib.suppress(OSError):
            times.append(each.lstat().st_mtime)
    return max(times)


def _under(folder: Path) -> Iterator[Path]:
    """All files and folders; those that go meanwhile are left out, which `rglob` stumbles over."""
    for place, folders, files in os.walk(folder):
        yield from (Path(place) / name for name in (*folders, *files))
