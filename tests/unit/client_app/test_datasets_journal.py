"""Changes of a dataset's files whose process is killed in the middle: whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.unit.client_app.datasets_support import captioned, captions, demo_pictures, taken_in, work

from fedflow.client.database.tables import Dataset
from fedflow.client.serve import SETTINGS
from fedflow.client.services import datasets, datasets_asides, datasets_edits, datasets_journal, datasets_undo, jobs
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store

PATIENCE_S = 60.0
KILLED = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.orm import Session
from fedflow.client.services import datasets, datasets_asides, datasets_edits, datasets_undo
from fedflow.client.store import open_store

folder, dataset_id, what, when = sys.argv[1:]
store = open_store(Path(folder))
dataset = datasets.one(store, dataset_id)
ids = [each.id for each in datasets.lines(store, dataset_id)]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def die_half_way(done, _of):
    if when == "half" and done == 2:
        die()

if when != "half":
    event.listen(Session, when, die)
if what == "change":
    datasets_edits.change(store, dataset, "add", ("cat", ""), ids, die_half_way)
elif what == "leave_out":
    datasets_asides.leave_out(store, dataset, ids[:2])
elif what == "write_anew":
    datasets.caption(store, dataset, ids[0], "cat", "")
else:
    datasets_undo.undo(store, dataset, datasets_edits.undoable(store, dataset_id).id)
"""
"""Does a change, and kills its own process half way through the files, before its rows are written or after it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return captioned(tmp_path / "icons")


@pytest.fixture
def dataset(store: Store, folder: Path) -> Dataset:
    return named(store, taken_in(store, folder))


def named(store: Store, dataset_id: str) -> Dataset:
    found = datasets.one(store, dataset_id)
    assert found is not None
    return found


def killed(store: Store, dataset: Dataset, what: str, when: str) -> None:
    words = [sys.executable, "-c", KILLED, str(store.folder), dataset.id, what, when]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL


def rows(store: Store, dataset: Dataset) -> list[tuple[str, str]]:
    return [(each.path, each.caption) for each in datasets.lines(store, dataset.id)]


def files(folder: Path) -> dict[str, bytes]:
    """What lies where, left out or not."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left_over(store: Store) -> list[Path]:
    return list((store.folder / datasets_journal.JOURNALS).iterdir())


def test_a_change_that_is_killed_half_way_has_changed_nothing(store: Store, folder: Path, dataset: Dataset) -> None:
    before, known = files(folder), rows(store, dataset)
    killed(store, dataset, "change", "half")
    assert [each.endswith("cat") for each in captions(folder).values()] == [True, True, False, False]
    assert rows(store, dataset) == known
    datasets_journal.settle(store)
    assert files(folder) == before
    assert left_over(store) == []


@pytest.mark.parametrize("what", ["change", "leave_out", "undo"])
@pytest.mark.parametrize("when", ["before_commit", "after_commit"])
def test_files_go_with_their_rows_however_late_it_is_killed(
    store: Store, folder: Path, dataset: Dataset, what: str, when: str
) -> None:
    if what == "undo":
        [first, second, *_] = datasets.lines(store, dataset.id)
        datasets_asides.leave_out(store, dataset, [first.id, second.id])
    before, known = files(folder), rows(store, dataset)
    killed(store, dataset, what, when)
    after = files(folder)
    assert after != before
    datasets_journal.settle(store)
    is_made = when == "after_commit"
    assert files(folder) == (after if is_made else before)
    assert (rows(store, dataset) != known) is is_made
    assert sorted(path for path, _ in rows(store, dataset)) == sorted(each.name for each in folder.glob("*.png"))
    assert dict(rows(store, dataset)) == {f"{name}.png": text for name, text in captions(folder).items()}
    assert left_over(store) == []


@pytest.mark.parametrize("what", ["write_anew", "undo"])
def test_a_caption_that_is_not_utf_8_is_put_back_too(store: Store, folder: Path, what: str) -> None:
    first = sorted(folder.glob("*.txt"))[0]
    first.write_bytes("кіт".encode("cp1251"))
    dataset = named(store, taken_in(store, folder))
    if what == "undo":
        datasets.caption(store, dataset, datasets.lines(store, dataset.id)[0].id, "cat", "")
    before, known = files(folder), rows(store, dataset)
    killed(store, dataset, what, "before_commit")
    assert files(folder) != before
    datasets_journal.settle(store)
    assert files(folder) == before
    assert rows(store, dataset) == known


def test_the_next_change_finds_what_was_there(store: Store, folder: Path, dataset: Dataset) -> None:
    killed(store, dataset, "change", "half")
    ids = [each.id for each in datasets.lines(store, dataset.id)]
    datasets_edits.change(store, dataset, "rename", ("icon", "sign"), ids)
    assert list(captions(folder).values()) == [f"sign, thing {number}" for number in range(4)]
    step = datasets_edits.undoable(store, dataset.id)
    assert step is not None
    datasets_undo.undo(store, dataset, step.id)
    assert list(captions(folder).values()) == [f"icon, thing {number}" for number in range(4)]


def test_a_look_reads_no_caption_that_is_put_back(store: Store, folder: Path, dataset: Dataset) -> None:
    before, known = captions(folder), rows(store, dataset)
    killed(store, dataset, "change", "half")
    datasets.look_again(store, dataset.id)
    assert work(store) == [(jobs.DONE, "")]
    assert (captions(folder), rows(store, dataset)) == (before, known)


def test_nor_one_of_a_change_that_fails_while_it_looks(store: Store, folder: Path, dataset: Dataset) -> None:
    before, known = captions(folder), rows(store, dataset)
    is_half, may_fail = threading.Event(), threading.Event()
    ids = [each.id for each in datasets.lines(store, dataset.id)]

    def wait(done: int, _of: int) -> None:
        if done == 2:
            is_half.set()
            may_fail.wait(PATIENCE_S)
            raise KeyboardInterrupt

    def change() -> None:
        with pytest.raises(KeyboardInterrupt):
            datasets_edits.change(store, dataset, "add", ("cat", ""), ids, wait)

    at_it = threading.Thread(target=change)
    at_it.start()
    assert is_half.wait(PATIENCE_S)
    datasets.look_again(store, dataset.id)
    [job_id] = jobs.waiting(store)
    looking = threading.Thread(target=work, args=(store,))
    looking.start()
    until(lambda: status(store, job_id) == (jobs.RUNNING, 4), "it has read the captions")
    may_fail.set()
    looking.join()
    at_it.join()
    assert status(store, job_id) == (jobs.DONE, 4)
    assert (captions(folder), rows(store, dataset)) == (before, known)


def test_what_another_program_wrote_after_the_kill_stays_its_own(store: Store, folder: Path, dataset: Dataset) -> None:
    before = captions(folder)
    killed(store, dataset, "change", "half")
    first, second, *_ = before
    (folder / f"{first}.txt").write_text("of somebody else", encoding="utf-8")
    datasets_journal.settle(store)
    assert captions(folder) == {**before, first: "of somebody else"}
    assert "cat" not in captions(folder)[second]


def test_a_folder_that_is_away_is_put_back_when_it_is_there_again(store: Store, folder: Path, dataset: Dataset) -> None:
    before = captions(folder)
    killed(store, dataset, "change", "half")
    folder.rename(folder.with_name("elsewhere"))
    datasets_journal.settle(store)
    assert [each.stem for each in left_over(store)] == [dataset.id]
    assert not folder.exists()
    folder.with_name("elsewhere").rename(folder)
    datasets_journal.settle(store)
    assert captions(folder) == before
    killed(store, dataset, "change", "half")
    datasets.remove(store, dataset.id)
    datasets_journal.settle(store)
    assert left_over(store) == []


def until(is_so, what: str) -> None:  # type: ignore[no-untyped-def]
    ends = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < ends, what
        time.sleep(0.005)


def status(store: Store, job_id: str) -> tuple[str, int]:
    job = jobs.one(store, job_id)
    assert job is not None
    return job.status, job.done


def test_a_worker_that_is_killed_at_many_captions_leaves_none_of_them_changed(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    [picture] = demo_pictures(folder, 1)
    for number in range(400):
        shutil.copy(picture, folder / f"copy-{number}.png")
        (folder / f"copy-{number}.txt").write_text(f"icon, thing {number}\n", encoding="utf-8")
    dataset = named(store, taken_in(store, folder))
    before = captions(folder)
    asked = {"action": "add", "words": ["cat", ""], "pictures": [each.id for each in datasets.lines(store, dataset.id)]}
    job_id = datasets_edits.ask(store, dataset, asked, 401)
    words = [sys.executable, "-m", "fedflow.client.serve"]
    told = {**os.environ, SETTINGS: ClientSettings(folder=store.folder).model_dump_json()}

    def changed() -> int:
        return sum(each.endswith("cat") for each in captions(folder).values())

    with subprocess.Popen(words, env=told) as worker:
        try:
            until(lambda: changed() > 0, "it has begun")
        finally:
            worker.kill()
    assert 0 < changed() < 401
    with subprocess.Popen(words, env=told) as worker:
        try:
            until(lambda: left_over(store) == [], "what is half done is put back")
            assert captions(folder) == before
            until(lambda: status(store, job_id)[0] == jobs.DIED, "it is told")
            jobs.resume(store, job_id)
            until(lambda: status(store, job_id) == (jobs.DONE, 401), "it is made")
        finally:
            worker.terminate()
    assert changed() == 401
