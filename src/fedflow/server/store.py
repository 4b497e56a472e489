"""What every service works on: the database and the folder of blobs, with one clock."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from fedflow.errors import MistakeError, StorageError
from fedflow.server import keys
from fedflow.server.database import away, schema
from fedflow.server.database.engines import make_engine, reading
from fedflow.server.database.tables import File
from fedflow.server.group_commit import Log
from fedflow.server.reading import ReadingSession, one_session, session_of_page
from fedflow.server.settings import ServerSettings
from fedflow.storage import Blobs, BlobStore, CachedBlobs, Objects

UNFINISHED = "restore.unfinished"  # in a folder while a back-up is restored into it, and after that failed
NEWEST = 10  # files by which a folder is known to be the database's
WRITERS = 3  # on PostgreSQL; more that wait for each other's rows would hold up the readers
MOST_SKEW_S = 5.0
"""So far apart the clocks of two machines may be; what is further in the future is of a clock that went back."""

SEEN_EVERY_S = 5.0  # how often it is written down who has called


@dataclass(frozen=True)
class Sighting:
    """When a device has called, by the server's clock, and what it does for which run."""

    at: float
    doing: dict[str, str]


class Sightings:
    """When devices have called, kept until it is written for all of them together, and told before it is.

    Two hundred devices that ask for work would otherwise cost a hundred commits a second; a crash loses some seconds.
    What another server has heard is known here once it is written there, at the next call of any device.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, Sighting] = {}
        self._due: set[str] = set()
        self._taken_at = -math.inf

    def note(self, device_id: str, sighting: Sighting) -> dict[str, Sighting]:
        """Keep that a device has called; gives what is to be written now, by device."""
        with self._lock:
            self._last[device_id] = sighting
            self._due.add(device_id)
            if abs(sighting.at - self._taken_at) < SEEN_EVERY_S:
                return {}
            due, self._due, self._taken_at = self._due, set(), sighting.at
            return {each: self._last[each] for each in due}

    def newest(self, device_id: str, written: Sighting) -> Sighting:
        """What is known of a device of which the database says `written`."""
        with self._lock:
            heard = self._last.get(device_id, written)
        return max(heard, written, key=lambda each: each.at)


@dataclass(frozen=True)
class Store:
    """Database, blobs and clock. `folder` holds `uploads/` and, for SQLite, `server.db`.

    `blobs/` and `quarantine/` are in it too where `objects` is None; otherwise these are objects of an S3-compatible
    store, pieces of uploads are there as well, and what lies in the folder are copies.
    """

    engine: Engine
    folder: Path
    blobs: BlobStore
    clock: Callable[[], float] = time.time
    sightings: Sightings = field(default_factory=Sightings)
    _reading: Engine = field(init=False, repr=False, compare=False)
    _turn: threading.Semaphore = field(init=False, repr=False, compare=False)
    _log: Log | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        sqlite = self.engine.url.database if self.engine.dialect.name == "sqlite" else None
        object.__setattr__(self, "_reading", reading(self.engine))
        object.__setattr__(self, "_turn", threading.Semaphore(WRITERS if sqlite is None else 1))
        object.__setattr__(self, "_log", None if sqlite is None else Log(Path(sqlite)))

    @property
    def objects(self) -> Objects | None:
        """The S3-compatible store, where there is one."""
        return self.blobs.objects if isinstance(self.blobs, CachedBlobs) else None

    def key(self, purpose: str) -> bytes:
        """32 secret bytes for one purpose, the same in all processes of this server."""
        return keys.derived(self.folder, purpose)

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """One transaction that may write: committed at the end, rolled back where the block raises.

        SQLite takes its write lock at the first statement, so that what was read holds at the commit; threads of one
        process queue up for it here, as SQLite's own waiting is a sleep that knows no order, and go to the disk
        together. On PostgreSQL a service that decides by what it read says so, with a condition in its UPDATE or
        `with_for_update`.
        """
        if (reads := session_of_page(self._reading)) is not None:
            reads.let_go()
        with self._turn, Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session
        self.settle()

    def settle(self) -> None:
        """Return when everything that can be read now is on the disk: who tells what another committed waits for it."""
        if self._log is not None:
            self._log.sync()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """For what only reads; it takes no write lock. To change a row in it is a mistake, and raises RuntimeError."""
        if (reads := session_of_page(self._reading)) is not None:
            try:
                yield reads
            except SQLAlchemyError:
                reads.let_go()
                raise
            return
        with ReadingSession(self._reading, expire_on_commit=False) as session:
            yield session

    def file(self, sha256: str, *, checked: bool = False) -> Path:
        """A blob's file, its content looked at where nobody else does. Raises StorageError where it is missing.

        It may be fetched from far away, and be large: whoever waits for it holds no connection to the database.
        """
        self.rest()
        return self.blobs.get(sha256) if checked else self.blobs.local(sha256)

    def rest(self) -> None:
        """Hold no connection to the database until the next reading, where a page is read in one session."""
        if (reads := session_of_page(self._reading)) is not None:
            reads.rest()

    def one_reading(self) -> AbstractContextManager[None]:
        """All that this thread reads meanwhile is read in one session, until it writes."""
        return one_session(self._reading)


def open_store(settings: ServerSettings) -> Store:
    """The store of a server: folders made, engine made, schema made where the database is empty.

    Raises:
        StorageError: the folder cannot be made, or the database in it not used.
        DatabaseAway, StoreAway: the database or the S3-compatible store does not answer.
        MistakeError: the database's schema is older or newer than this FedFlow, or holds something else, or it
            belongs to another folder; or a restore into the folder did not end.
    """
    refuse_unfinished(settings.folder)
    store = reopen_store(settings)
    try:
        with away.in_our_words(store.engine):
            schema.prepare(store.engine)
            store.blobs.check()
            _refuse_anothers_database(store)
    except BaseException:
        store.engine.dispose()
        raise
    return store


def refuse_unfinished(folder: Path) -> None:
    """Raise MistakeError where a back-up is being restored into the folder, or the restore of one did not end."""
    mark = folder.absolute() / UNFINISHED
    if mark.exists():
        raise MistakeError(
            f"{mark}: the restore of a back-up into this folder did not end, and what is here is no server; empty the "
            "folder (and the --database-url and --store-url that went with it), and restore again"
        )


def reopen_store(settings: ServerSettings) -> Store:
    """As `open_store`, for a server that has opened it before: the database is not asked, and may be away.

    Raises StorageError where the folder cannot be made.
    """
    folder = settings.folder.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("blobs", "uploads", "quarantine"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        for name in ("queue.db",) if settings.database_url else ("queue.db", "server.db"):
            _keep_private(folder / name)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error
    return Store(make_engine(settings.url), folder, blobs_of(settings))


def blobs_of(settings: ServerSettings) -> BlobStore:
    """Where a server's blobs are; nothing is made or asked yet."""
    folder = settings.folder.absolute() / "blobs"
    if settings.store_url is None:
        return Blobs(folder)
    return CachedBlobs(Objects(settings.store_url), folder, settings.cache_bytes)


def _keep_private(database: Path) -> None:
    """Let no other account read a database of SQLite, whatever its folder lets; new logs take its mode over."""
    database.touch(mode=0o600)
    for path in (database, database.with_name(f"{database.name}-wal"), database.with_name(f"{database.name}-shm")):
        with suppress(PermissionError, FileNotFoundError):  # another account's to say; a log that is not there
            path.chmod(0o600)


def _refuse_anothers_database(store: Store) -> None:
    """Raise MistakeError where the database speaks of files and none of the newest is in this store.

    Two servers may share a database and a folder, or an S3-compatible store; with a folder each, either would lack the
    other's files.
    """
    with store.engine.connect() as connection:
        newest = select(File.sha256).order_by(File.created_at.desc()).limit(NEWEST)
        hashes = connection.scalars(newest).all()
    if hashes and not any(sha256 in store.blobs for sha256 in hashes):
        if store.objects is not None:
            raise MistakeError(
                f"{store.objects.url}: holds none of the files that the database speaks of; give the --store-url that "
                "belongs to this database, or a database of its own"
            )
        raise MistakeError(
            f"{store.folder}: holds none of the files that the database speaks of; give the --folder that belongs to "
            "this database, or a database of its own"
        )
