"""What killed processes leave in the app's folder goes when a worker starts; what is under way or needed stays."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fedflow.client.serve import SETTINGS
from fedflow.client.services import datasets, datasets_uploads, jobs, leftovers, library, shelving, trainings
from fedflow.client.services.shelving import ImportRequest
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.main import LOCK, carry_out
from fedflow.models import adapter_bytes, new_adapter, open_model

PATIENCE_S = 60.0
KILLED = """
import io, os, signal, sys
from pathlib import Path
from fedflow.client.services import datasets, datasets_uploads, jobs
from fedflow.client.settings import ClientSettings
from fedflow.client.store import open_store
from fedflow.client.worker.main import carry_out

store, what, event, place = open_store(Path(sys.argv[1])), *sys.argv[2:]

def watch(name, arguments):
    if name == event and place in str(arguments[0]):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
pictures = [(f"{name}.png", io.BytesIO(b"picture")) for name in "ab"]
if what == "job":
    carry_out(store, ClientSettings(folder=store.folder), jobs.waiting(store)[0])
elif what == "upload":
    datasets_uploads.take(store, "New", pictures)
else:
    datasets_uploads.take_more(store, datasets.listed(store)[0].dataset, pictures)
"""
"""Does a job or takes pictures in, and kills its own process at the first event of this name and place."""


def killed(store: Store, what: str, event: str, place: str) -> None:
    words = [sys.executable, "-c", KILLED, str(store.folder), what, event, place]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    jobs.bury(store)


def age(path: Path) -> None:
    """Have it, and all in it, been written two days ago."""
    then = time.time() - 2 * leftovers.DAY_S
    for each in (path, *path.rglob("*")):
        os.utime(each, (then, then))


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name != LOCK]


def done(store: Store, job_id: str) -> str:
    jobs.resume(store, job_id)
    carry_out(store, ClientSettings(folder=store.folder), job_id)
    job = jobs.one(store, job_id)
    assert job is not None
    return job.status


@pytest.fixture
def adapter(tmp_path: Path, tiny_model_folder: Path) -> Path:
    made = new_adapter(open_model(str(tiny_model_folder)), 2, 2.0, False, torch.Generator().manual_seed(1))
    file = tmp_path / "foxes.safetensors"
    file.write_bytes(adapter_bytes(made, "kohya", {}))
    return file


def brought(store: Store, place: Path, kind: str, base: Path) -> str:
    request = {"kind": kind, "place": str(place), "name": "", "base": str(base)}
    return shelving.take_in(store, ImportRequest.model_validate(request))


def test_an_import_that_was_killed_leaves_nothing_once_a_worker_starts(
    store: Store, adapter: Path, tiny_model_folder: Path
) -> None:
    job_id = brought(store, adapter, "adapter", tiny_model_folder)
    killed(store, "job", "shutil.rmtree", leftovers.IMPORTING)
    assert [path.name.startswith(leftovers.IMPORTING) for path in hidden(store.folder)] == [True]
    words, told = [sys.executable, "-m", "fedflow.client.serve"], ClientSettings(folder=store.folder).model_dump_json()
    with subprocess.Popen(words, env={**os.environ, SETTINGS: told}) as worker:
        try:
            ends = time.monotonic() + PATIENCE_S
            while hidden(store.folder):
                assert time.monotonic() < ends, "the worker sweeps"
                time.sleep(0.05)
        finally:
            worker.terminate()
    assert done(store, job_id) == jobs.DONE
    assert library.one(store, job_id) is not None


def test_a_model_that_was_half_copied_goes_and_one_in_the_library_stays(store: Store, tiny_model_folder: Path) -> None:
    first = brought(store, tiny_model_folder, "model", tiny_model_folder)
    carry_out(store, ClientSettings(folder=store.folder), first)
    second = brought(store, tiny_model_folder, "model", tiny_model_folder)
    killed(store, "job", "open", f"{second}/unet")
    assert library.folder(store, second).is_dir()
    unknown = library.folder(store, "of-another-database")
    unknown.mkdir()
    leftovers.sweep(store)
    assert sorted((store.folder / "library").iterdir()) == sorted([library.folder(store, first), unknown])
    assert open_model(str(library.folder(store, first))).content_hash
    assert done(store, second) == jobs.DONE


@pytest.mark.parametrize("what", ["upload", "more"])
def test_pictures_on_their_way_stay_for_a_day(store: Store, what: str) -> None:
    dataset_id, _ = datasets_uploads.take(store, "Mine", [("fox.png", io.BytesIO(b"picture"))])
    killed(store, what, "open", "/b.png")
    [left] = hidden(store.folder)
    assert [path.name for path in left.iterdir()] == ["a.png"]
    age(left)
    os.utime(left / "a.png")
    leftovers.sweep(store)
    assert left.is_dir(), "something of it was written just now"
    age(left)
    leftovers.sweep(store)
    assert hidden(store.folder) == []
    dataset = datasets.one(store, dataset_id)
    assert dataset is not None
    assert [path.name for path in Path(dataset.folder).iterdir()] == ["fox.png"]


def test_a_zip_stays_as_long_as_a_job_may_unpack_it(store: Store) -> None:
    incoming = store.folder / jobs.INCOMING
    needed, forgotten = (datasets_uploads.take_archive(store, name, io.BytesIO(b"zip")) for name in ("Mine", "Other"))
    names = {each.asked["dataset"]: each.asked["archive"] for each in jobs.under_way(store)}
    for job_id in jobs.waiting(store):
        jobs.want(store, job_id, jobs.STOP)
    datasets.remove(store, forgotten)
    assert [path.name for path in incoming.iterdir()] == [names[needed]]
    (incoming / "arriving.zip").write_bytes(b"so far")
    leftovers.sweep(store)
    assert {path.name for path in incoming.iterdir()} == {names[needed], "arriving.zip"}
    age(incoming)
    leftovers.sweep(store)
    assert [path.name for path in incoming.iterdir()] == [names[needed]]
    jobs.put_aside(store, jobs.listed(store, 2)[-1].id)
    assert list(incoming.iterdir()) == []


def test_parts_of_files_go_after_a_day_and_checkpoints_and_downloads_stay(store: Store) -> None:
    checkpoint = trainings.folder(store, "one") / "checkpoint.safetensors"
    download = store.folder / "federations" / "one" / "base" / "model.part" / "unet.safetensors.part"
    aside = store.folder / "datasets" / "Mine" / ".left-out" / "fox.png"
    parts = [checkpoint.with_name(".0123456789abcdef.partial"), store.folder / f"{leftovers.ARRIVING}1" / "picture"]
    for path in (checkpoint, download, aside, *parts):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"some")
    leftovers.sweep(store)
    assert all(path.is_file() for path in parts)
    age(store.folder)
    leftovers.sweep(store)
    assert not any(path.exists() for path in (parts[0], parts[1].parent))
    assert all(path.is_file() for path in (checkpoint, download, aside, store.folder / "client.db"))
