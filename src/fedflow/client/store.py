"""What the app's services work on: its database and its files, in one folder that only the owner reads."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from fedflow.client.database import schema
from fedflow.errors import StorageError
from fedflow.storage import Blobs, write_atomic

OWNER_ALONE = 0o700
BUSY_TIMEOUT_S = 30
LEAST_FREE_BYTES = 128 * 1024
DATABASE, KEY = "client.db", "client.key"


@dataclass(frozen=True)
class Store:
    """Database, blobs and clock; `key` are the folder's 32 secret bytes."""

    folder: Path
    engine: Engine
    blobs: Blobs
    key: bytes
    clock: Callable[[], float] = time.time

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """One transaction that may write: committed at the end, rolled back where the block raises."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One look at the database; what is read stays usable after the block."""
        with Session(self.engine.execution_options(fedflow_reads=True), expire_on_commit=False) as session:
            yield session
            session.expunge_all()

    def is_full(self) -> bool:
        """Whether the folder's disk has no room for a change of the database."""
        return shutil.disk_usage(self.folder).free < LEAST_FREE_BYTES


def open_store(folder: Path) -> Store:
    """The app's store in `folder`, made where it is not there.

    Raises StorageError where the folder cannot be used, MistakeError where a newer FedFlow has made it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=OWNER_ALONE)
        blobs = Blobs(folder / "blobs")
        key = _key(folder / KEY)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be used ({error.strerror}); give another folder with --folder") from error
    engine = create_engine(f"sqlite:///{folder / DATABASE}", pool_size=32, max_overflow=0)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    try:
        schema.prepare(engine)
    except DatabaseError as error:
        raise StorageError(f"{folder / DATABASE}: cannot be used ({error.orig}); move it away to begin anew") from error
    return Store(folder, engine, blobs, key)


def _key(path: Path) -> bytes:
    if not path.is_file():
        write_atomic(path, secrets.token_bytes(32))
        os.chmod(path, 0o600)
    return path.read_bytes()


def _set_up(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin where _begin says, not at the first INSERT
    for setting in (f"busy_timeout = {BUSY_TIMEOUT_S * 1000}", "journal_mode = WAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {setting}")


def _begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get("fedflow_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
