"""Commits on SQLite: on the disk before they are acknowledged, many with one sync."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from fedflow.errors import StorageError
from fedflow.server.database.tables import Federation
from fedflow.server.services import federations
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store, open_store

WRITERS = 8


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(ServerSettings(folder=tmp_path))
    federations.create(store, "first")
    yield store
    store.engine.dispose()


def test_a_commit_returns_after_its_log_is_on_the_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    log = store.folder / "server.db-wal"
    seen: list[tuple[bool, bytes]] = []

    def sync(descriptor: int) -> None:
        seen.append((os.path.samestat(os.fstat(descriptor), log.stat()), log.read_bytes()))

    monkeypatch.setattr(os, "fsync", sync)
    federations.create(store, "second")
    assert [(same, b"second" in content) for same, content in seen] == [(True, True)]


def test_commits_that_wait_for_a_sync_share_the_next_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = []
    others_have_committed = threading.Event()

    def sync(_descriptor: int) -> None:
        syncs.append(1)
        assert others_have_committed.wait(60)

    monkeypatch.setattr(os, "fsync", sync)
    with ThreadPoolExecutor(WRITERS) as pool:
        made = [pool.submit(federations.create, store, f"federation {number}") for number in range(WRITERS)]
        watching = threading.Event()
        while not watching.wait(0.01):
            with store.read() as session:
                if len(session.scalars(select(Federation)).all()) == WRITERS + 1:
                    break
        assert not any(each.done() for each in made)
        others_have_committed.set()
        assert len({each.result() for each in made}) == WRITERS
    assert 1 < len(syncs) < WRITERS


def test_a_sync_that_fails_is_no_commit_that_was_acknowledged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(StorageError, match="cannot be brought to the disk"):
            federations.create(store, "second")
    federations.create(store, "third")
