"""How the server itself is: what waits in the queue, what lies on the disk, which versions run."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from sqlalchemy import Connection, func, select, text

from fedflow.errors import StorageError
from fedflow.server.database import schema
from fedflow.server.database.people import Person
from fedflow.server.database.tables import Artifact, Device, Event, File, Job, Member, Run, Upload
from fedflow.server.services import letters
from fedflow.server.services.jobs import QUEUED
from fedflow.server.store import Store

SEEN_S = 120.0
"""A device that has called within this time is there."""

TRIES = 5

VERSIONS = ("fedflow", "Flask", "SQLAlchemy", "gunicorn", "huey")


@dataclass(frozen=True)
class Pile:
    """Jobs of one kind and status, or letters: how many, and for how long the oldest has been there."""

    kind: str
    status: str
    count: int
    oldest_s: float


@dataclass(frozen=True)
class System:
    """The server at this moment; sizes in bytes, the store's by kind of file.

    `runs_failed` is how often any has failed since there is this server, also those that went on again.
    `database_s` is how long the database takes to answer the least question.
    """

    versions: Mapping[str, str]
    database: str
    database_version: str
    database_s: float
    schema: str
    database_bytes: int | None
    disk_free_bytes: int
    disk_bytes: int
    store_bytes: Mapping[str, int]
    store_files: Mapping[str, int]
    uploads_bytes: int
    runs: Mapping[str, int]
    runs_failed: int
    jobs: tuple[Pile, ...]
    people: int
    members: int
    devices_seen: int
    artifacts: int


def system(store: Store) -> System:
    """Look at everything once. Raises StorageError where the store's disk cannot be asked."""
    now = store.clock()
    try:
        disk = shutil.disk_usage(store.folder)
    except OSError as error:
        raise StorageError(f"{store.folder}: cannot be looked at ({error.strerror}); check the disk") from error
    unfinished = select(func.sum(Upload.offset_bytes)).where(Upload.offset_bytes < Upload.length_bytes)
    with store.read() as session:
        files = session.execute(select(File.kind, func.count(), func.sum(File.size_bytes)).group_by(File.kind)).all()
        jobs = select(Job.kind, Job.status, func.count(), func.min(Job.created_at)).group_by(Job.kind, Job.status)
        runs = session.execute(select(Run.status, func.count()).group_by(Run.status)).all()
        connection = session.connection()
        size = (
            "SELECT pg_database_size(current_database())"
            if connection.dialect.name == "postgresql"
            else "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        )
        letters_waiting, oldest_letter = letters.waiting(session, now)
        letter = Pile("letter", QUEUED, letters_waiting, max(0.0, now - oldest_letter))
        return System(
            versions={"Python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
            database=connection.dialect.name,
            database_version=".".join(map(str, connection.dialect.server_version_info or ())),
            database_s=_answers_in_s(connection),
            schema=schema.version(connection) or "none",
            database_bytes=session.scalar(text(size)),
            disk_free_bytes=disk.free,
            disk_bytes=disk.total,
            store_bytes={kind: int(total or 0) for kind, _, total in files},
            store_files={kind: count for kind, count, _ in files},
            uploads_bytes=session.scalar(unfinished) or 0,
            runs={status: count for status, count in runs},  # noqa: C416
            runs_failed=session.scalar(select(func.count()).where(Event.kind == "run failed")) or 0,
            jobs=tuple(
                Pile(kind, status, count, max(0.0, now - oldest))
                for kind, status, count, oldest in session.execute(jobs)
            )
            + ((letter,) if letters_waiting else ()),
            people=session.scalar(select(func.count()).where(Person.deleted_at.is_(None))) or 0,
            members=session.scalar(select(func.count()).where(Member.removed_at.is_(None))) or 0,
            devices_seen=session.scalar(
                select(func.count()).where(Device.revoked_at.is_(None), Device.seen_at > now - SEEN_S)
            )
            or 0,
            artifacts=session.scalar(select(func.count()).select_from(Artifact)) or 0,
        )


def _answers_in_s(connection: Connection) -> float:
    """The best of some tries: what the way to the database and back takes."""
    took = []
    for _ in range(TRIES):
        began = time.perf_counter()
        connection.execute(text("SELECT 1"))
        took.append(time.perf_counter() - began)
    return min(took)
