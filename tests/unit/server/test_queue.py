"""Queues of jobs: a file, PostgreSQL, Redis; several workers share one and do every job once."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedflow.errors import MistakeError
from fedflow.server.store import Store
from fedflow.server.worker.main import Idle
from fedflow.server.worker.queue import DO_JOB, open_queue


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: the queue on Redis is not tried; 'apt install redis-server' has it")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if "Ready to accept connections" in line:
                    break
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.communicate()


@pytest.fixture(params=["file", "postgresql", "redis"])
def url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "file":
        return None
    if request.param == "redis":
        return str(request.getfixturevalue("redis_url"))
    new_database: Callable[[], str] = request.getfixturevalue("new_database")
    return new_database()


@contextmanager
def opened(folder: Path, url: str | None, name: str = "fedflow-rounds") -> Iterator[Any]:
    queue = open_queue(folder, url, name)
    try:
        yield queue
    finally:
        if hasattr(queue.storage, "database"):
            queue.storage.database.close()


def test_two_workers_do_every_job_once(url: str | None, tmp_path: Path) -> None:
    done: list[str] = []

    def work() -> None:
        with opened(tmp_path, url) as queue:
            queue.task(name=DO_JOB)(done.append)
            while (task := queue.dequeue()) is not None:
                queue.execute(task)

    with opened(tmp_path, url) as queue:
        send = queue.task(name=DO_JOB)(done.append)
        for number in range(50):
            send(str(number))
    with ThreadPoolExecutor(2) as workers:
        for worked in [workers.submit(work) for _ in range(2)]:
            worked.result()
    assert sorted(done, key=int) == [str(number) for number in range(50)]


def test_workers_of_one_sort_take_no_others_jobs(url: str | None, tmp_path: Path) -> None:
    with opened(tmp_path, url) as rounds, opened(tmp_path, url, "fedflow-evaluation") as evaluation:
        rounds.task(name=DO_JOB)(print)("a job")
        assert (rounds.pending_count(), evaluation.pending_count()) == (1, 0)


@pytest.mark.parametrize("url", ["mysql://nobody:hush@nowhere/x", "nonsense"])
def test_another_kind_of_address_is_refused_without_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match="give redis://HOST:PORT/N or postgresql") as caught:
        open_queue(tmp_path, url, "fedflow-rounds")
    assert "hush" not in str(caught.value)


def test_an_idle_evaluator_with_torch_in_it_begins_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda _path, words, _environment: begun.append(words[1:]))
    idle = Idle()
    idle.begin_anew(store, "evaluator")
    assert begun == [], "it has done something a moment ago"
    monkeypatch.setattr("fedflow.server.worker.main.RENEWED_AFTER_S", 0.0)
    with idle.busy():
        idle.begin_anew(store, "evaluator")
    assert begun == [], "a job is done in it"
    monkeypatch.delitem(sys.modules, "torch")
    idle.begin_anew(store, "evaluator")
    assert begun == [], "it is small"
    monkeypatch.undo()
    monkeypatch.setattr(os, "execve", lambda _path, words, _environment: begun.append(words[1:]))
    monkeypatch.setattr("fedflow.server.worker.main.RENEWED_AFTER_S", 0.0)
    idle.begin_anew(store, "evaluator")
    assert begun == [["-m", "fedflow.server.processes", "evaluator"]]
