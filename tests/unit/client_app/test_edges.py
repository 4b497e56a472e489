"""Edges of the app: a disk that is full, a hub that cannot be reached, a dataset of one picture."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from tests.unit.client_app.conftest import Visitor

from fedflow.client.app import create_app
from fedflow.client.serve import SETTINGS
from fedflow.client.services import datasets, jobs, library, shelving, trainings
from fedflow.client.services.shelving import ImportRequest
from fedflow.client.services.trainings import TrainRequest
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store, open_store
from fedflow.client.worker.main import LOCK, carry_out

DISK_MB = 24


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("this machine has no mount command")
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root and a kernel that allows it")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def taken_in(store: Store, folder: Path) -> str:
    dataset_id = datasets.add(store, str(folder))
    for job_id in jobs.waiting(store):
        carry_out(store, ClientSettings(folder=store.folder), job_id)
    return dataset_id


def training(dataset: str, model: Path, epochs: int = 2) -> TrainRequest:
    loop = {"batch_size": 2, "epochs": epochs, "checkpoint_every": 1}
    given = {"name": "Foxes", "dataset": dataset, "model": str(model), "training": loop, "lora": {"rank": 2}}
    return TrainRequest.model_validate(given)


def fill(disk: Path) -> Path:
    """Take all that is left of a disk."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


def status(store: Store, job_id: str) -> tuple[str, str]:
    job = jobs.one(store, job_id)
    assert job is not None
    return job.status, job.message


def test_a_training_on_a_full_disk_is_told_and_goes_on_when_there_is_room(
    small_disk: Path, pictures: Path, tiny_model_folder: Path
) -> None:
    store = open_store(small_disk / "app")
    try:
        visitor = Visitor(create_app(store, ClientSettings(folder=store.folder)).test_client())
        job_id = trainings.ask(store, training(taken_in(store, pictures), tiny_model_folder, epochs=60))
        at_work = threading.Thread(target=carry_out, args=(store, ClientSettings(folder=store.folder), job_id))
        at_work.start()
        while not trainings.losses(store, job_id) and at_work.is_alive():
            time.sleep(0.01)
        filler = fill(small_disk)
        time.sleep(1.0)
        answer = visitor.post("/datasets", folder=str(pictures.parent))
        assert answer.status_code == 507
        assert "Free space on its disk" in answer.text
        told_on = "The disk with the app's folder is full, so nothing of this can be kept"
        assert told_on in visitor.client.get(f"/train/{job_id}").get_data(as_text=True).replace("&#39;", "'")
        filler.unlink()
        at_work.join(20.0)
        told, why = status(store, job_id)
        assert (told, "free space" in why) == (jobs.FAILED, True), why
        assert "\n" not in why
        jobs.resume(store, job_id)
        carry_out(store, ClientSettings(folder=store.folder), job_id)
        assert status(store, job_id) == (jobs.DONE, "")
    finally:
        store.engine.dispose()


def test_a_caption_that_a_full_disk_does_not_take_stays_as_it_was(
    store: Store, small_disk: Path, pictures: Path
) -> None:
    place = small_disk / "pictures"
    subprocess.run(["cp", "-r", str(pictures), str(place)], check=True)
    dataset_id = taken_in(store, place)
    dataset, [first, *_] = datasets.one(store, dataset_id), datasets.lines(store, dataset_id)
    assert dataset is not None
    fill(small_disk)
    visitor = Visitor(create_app(store, ClientSettings(folder=store.folder)).test_client())
    long = "tag, " * 1900 + "end"
    answer = visitor.post(f"/datasets/{dataset_id}/pictures/{first.id}", caption=long, seen=first.caption)
    assert answer.status_code == 422
    assert "disk" in answer.text
    assert datasets.lines(store, dataset_id)[0].caption == first.caption
    assert (place / first.path).with_suffix(".txt").read_text().strip() == first.caption


def test_a_name_of_a_hub_that_is_not_reached_fails_in_one_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    request = ImportRequest.model_validate({"kind": "model", "place": "somebody/some-model", "name": "Some"})
    job_id = shelving.take_in(store, request)
    carry_out(store, ClientSettings(folder=store.folder), job_id)
    told, why = status(store, job_id)
    assert told == jobs.FAILED
    assert "somebody/some-model" in why
    assert "\n" not in why
    assert library.listed(store) == []


def test_of_two_workers_of_one_folder_one_works(store: Store, pictures: Path) -> None:
    settings = ClientSettings(folder=store.folder)
    datasets.add(store, str(pictures))
    [job_id] = jobs.waiting(store)
    words, told = [sys.executable, "-m", "fedflow.client.serve"], {SETTINGS: settings.model_dump_json()}
    with (store.folder / LOCK).open("w") as lock:  # as the worker that is there has it
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(words, env={**os.environ, **told}) as second:
            try:
                time.sleep(4.0)
                assert (second.poll(), status(store, job_id)) == (None, (jobs.QUEUED, ""))
                fcntl.flock(lock, fcntl.LOCK_UN)
                ends = time.monotonic() + 60.0
                while status(store, job_id)[0] != jobs.DONE:
                    assert time.monotonic() < ends, "the second takes over"
                    time.sleep(0.1)
            finally:
                second.terminate()


def test_a_dataset_of_one_picture_is_trained_on(store: Store, pictures: Path, tiny_model_folder: Path) -> None:
    for each in sorted(pictures.glob("*.png"))[1:]:
        each.unlink()
        each.with_suffix(".txt").unlink()
    job_id = trainings.ask(store, training(taken_in(store, pictures), tiny_model_folder))
    carry_out(store, ClientSettings(folder=store.folder), job_id)
    assert status(store, job_id) == (jobs.DONE, "")
    row = library.one(store, job_id)
    assert row is not None
    assert row.kind == library.ADAPTER
