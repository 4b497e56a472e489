"""A folder of demo pictures taken into the app, and its worker's jobs done at once."""

from __future__ import annotations

import shutil
from pathlib import Path

from fedflow.client.services import datasets, jobs
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.main import carry_out
from fedflow.shipped import demo_folder


def demo_pictures(folder: Path, count: int) -> list[Path]:
    """The first demo pictures with their captions, copied into `folder`, by name."""
    folder.mkdir()
    for picture in sorted((demo_folder() / "client-1").glob("*.png"))[:count]:
        for path in (picture, picture.with_suffix(".txt")):
            shutil.copy(path, folder / path.name)
    return sorted(folder.glob("*.png"))


def work(store: Store) -> list[tuple[str, str]]:
    """Do all jobs that wait; each one's status and message."""
    told = []
    for job_id in jobs.waiting(store):
        carry_out(store, ClientSettings(folder=store.folder, threads=1), job_id)
        job = jobs.one(store, job_id)
        assert job is not None
        told.append((job.status, job.message))
    return told


def taken_in(store: Store, folder: Path) -> str:
    """The folder as a dataset that was looked at; its identifier."""
    dataset_id = datasets.add(store, str(folder))
    assert work(store) == [(jobs.DONE, "")]
    return dataset_id


def captions(folder: Path) -> dict[str, str]:
    """What the caption files say, by the picture's name without its suffix."""
    return {path.stem: path.read_text(encoding="utf-8").strip() for path in sorted(folder.glob("*.txt"))}


def captioned(folder: Path) -> Path:
    """A folder of four pictures, each with a caption of its own."""
    for number, picture in enumerate(demo_pictures(folder, 4)):
        picture.with_suffix(".txt").write_text(f"icon, thing {number}\n", encoding="utf-8")
    return folder
