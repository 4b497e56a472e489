"""A server's whole state in one file, and a server made of such a file again.

A tar archive without compression (weights do not shrink): `backup.json` with the schema's version, one file of JSON
lines for each table, blobs and refused updates by their names, and the server's secrets. Rows are read in one
transaction, so that the server may run meanwhile; blobs never change. Half uploads, the queue, letters and sign-ins
that are under way, and which processes there were are not in it: participants begin those anew, and the worker's
sweep finds what is to be done. The rows say nothing of the database that they come from: a server may move from
SQLite to PostgreSQL with it, and back.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, MetaData, func, select, text
from sqlalchemy import Table as CoreTable

import fedflow
from fedflow.errors import MistakeError, StorageError
from fedflow.server import keys
from fedflow.server.database import schema
from fedflow.server.database.base import Table
from fedflow.server.database.engines import make_engine
from fedflow.server.services import identity, quarantine
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store, blobs_of, open_store, reopen_store
from fedflow.storage import sha256_file
from fedflow.storage.blobs import SHA256

FORMAT = 1
ABOUT = "backup.json"
LEFT_OUT = frozenset({"departure", "letter", "process", "upload", "upload_piece"})
SECRETS = (keys.FILE, identity.TOKEN_FILE)
ROWS_AT_ONCE = 500
CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class BackedUp:
    """What went into a back-up, or came out of one."""

    rows: int
    files: int
    size_bytes: int


def back_up(settings: ServerSettings, target: Path) -> BackedUp:
    """Write the server's state to `target`, which is there only when it is whole. The server may run meanwhile.

    Raises MistakeError where `target` is there already, StorageError where it cannot be written, and what opening the
    server's store raises.
    """
    if target.exists():
        raise MistakeError(f"{target}: is there already; give another name, or remove it first")
    store = open_store(settings)
    partial = target.with_name(f".{target.name}.partial")
    try:
        # Read and write for nobody else from the first byte on: the server's secrets are in it.
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                rows = _write_tables(archive, store)
                files = _write_files(archive, store)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except StorageError:
        partial.unlink(missing_ok=True)
        raise
    except OSError as error:
        partial.unlink(missing_ok=True)
        why = error.strerror or str(error)
        raise StorageError(f"{target}: cannot be written ({why}); choose a place with room") from error
    finally:
        store.engine.dispose()
    return BackedUp(rows, files, target.stat().st_size)


def restore(settings: ServerSettings, source: Path) -> BackedUp:
    """Make a server of a back-up, in a folder and a database that hold none yet.

    Every blob's content is checked. An older back-up's schema is raised to this FedFlow's.

    Raises MistakeError where there is a server already, or the file is no back-up, is damaged, or comes from a newer
    FedFlow; what came in until then is left for a look, and is no server.
    """
    folder = settings.folder.absolute()
    if any((folder / name).exists() for name in (schema.IN_FOLDER, *SECRETS)) or any(folder.glob("blobs/*/*")):
        raise MistakeError(f"{folder}: holds a server already; give another --folder")
    if settings.store_url is not None and any(blobs_of(settings).listed()):
        raise MistakeError(f"{settings.store_url}: holds a server's files already; give another --store-url")
    try:
        with tarfile.open(source, "r:") as archive:
            return _restore(settings, archive, source)
    except FileNotFoundError:
        raise MistakeError(f"{source}: no such file; give the back-up") from None
    except (tarfile.TarError, EOFError):
        raise MistakeError(f"{source}: is no back-up of a FedFlowServer, or is damaged") from None


def _restore(settings: ServerSettings, archive: tarfile.TarFile, source: Path) -> BackedUp:
    about = _about(archive, source)
    engine = make_engine(settings.url)
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = reopen_store(settings)  # makes the folder, for this account alone
    store.engine.dispose()
    store.blobs.check()
    with engine.begin() as connection:
        schema.make(connection, about["schema"])
        tables = MetaData()
        tables.reflect(connection, only=lambda name, _: name != "alembic_version")
        rows = _read_tables(archive, connection, tables, about["rows"], source)
    files = _read_files(archive, store, source)
    schema.upgrade(engine)
    engine.dispose()
    open_store(settings).engine.dispose()
    return BackedUp(rows, files, source.stat().st_size)


def _write_tables(archive: tarfile.TarFile, store: Store) -> int:
    level = {} if store.engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    engine = store.engine.execution_options(fedflow_reads=True, **level)
    counts: dict[str, int] = {}
    with engine.connect() as connection:
        tables = [table for table in Table.metadata.sorted_tables if table.name not in LEFT_OUT]
        for table in tables:
            counts[table.name] = connection.scalar(select(func.count()).select_from(table)) or 0
        about = {
            "format": FORMAT,
            "fedflow": fedflow.__version__,
            "schema": schema.version(connection),
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "rows": counts,
        }
        _add(archive, ABOUT, json.dumps(about, indent=1).encode())
        for table in tables:
            for number, lines in enumerate(_lines(connection, table)):
                _add(archive, f"tables/{table.name}/{number:06d}.jsonl", lines)
    return sum(counts.values())


def _lines(connection: Connection, table: CoreTable) -> Iterator[bytes]:
    """The table's rows as JSON, some hundred at a time, in the order of their keys: what refers comes after."""
    query = select(table).order_by(*table.primary_key.columns)
    for batch in connection.execution_options(yield_per=ROWS_AT_ONCE).execute(query).mappings().partitions():
        yield "".join(json.dumps(dict(row), separators=(",", ":")) + "\n" for row in batch).encode()


def _write_files(archive: tarfile.TarFile, store: Store) -> int:
    secrets = [store.folder / name for name in SECRETS if (store.folder / name).is_file()]
    for path in secrets:
        archive.add(path, path.name, recursive=False)
    count = len(secrets)
    for digest in sorted(each.digest for each in store.blobs.listed()):
        try:
            archive.add(store.blobs.local(digest), f"blobs/{digest[:2]}/{digest}", recursive=False)
            count += 1
        except (StorageError, FileNotFoundError):
            if digest in store.blobs:
                raise
            # collected meanwhile: nothing refers to it
    for name in quarantine.names(store):
        try:
            with quarantine.opened(store, name) as path:
                archive.add(path, f"quarantine/{name}", recursive=False)
                count += 1
        except (StorageError, FileNotFoundError):
            if name in quarantine.names(store):
                raise
    return count


def _about(archive: tarfile.TarFile, source: Path) -> dict[str, Any]:
    member = archive.next()
    content = None if member is None or member.name != ABOUT else archive.extractfile(member)
    if content is None:
        raise MistakeError(f"{source}: is no back-up of a FedFlowServer")
    about: dict[str, Any] = json.loads(content.read())
    if about.get("format") != FORMAT:
        raise MistakeError(f"{source}: comes from FedFlow {about.get('fedflow')}, which this one does not know; update")
    return about


def _read_tables(
    archive: tarfile.TarFile, connection: Connection, tables: MetaData, counts: dict[str, int], source: Path
) -> int:
    for table in reversed(tables.sorted_tables):  # what the schema's making has put there
        connection.execute(table.delete())
    read = dict.fromkeys(counts, 0)
    while (member := archive.next()) is not None and member.name.startswith("tables/"):
        table = tables.tables[member.name.split("/")[1]]
        rows = [json.loads(line) for line in _content(archive, member)]
        if rows:
            connection.execute(table.insert(), rows)
        read[table.name] += len(rows)
    if read != counts:
        raise MistakeError(f"{source}: rows are missing; the back-up is damaged, take another one")
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT setval('event_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM event), false)"))
    return sum(read.values())


def _read_files(archive: tarfile.TarFile, store: Store, source: Path) -> int:
    """Put every file in its place: blobs under their hashes, nothing elsewhere than where it belongs."""
    folder, count = store.folder, 0
    for member in archive.getmembers():
        top, _, name = member.name.partition("/")
        if member.name == ABOUT or top == "tables":
            continue
        content = _content(archive, member)
        if member.name in SECRETS:
            _write(folder / member.name, content)
        elif top == "blobs" and SHA256.fullmatch(Path(name).name):
            arriving = folder / "uploads" / Path(name).name
            _write(arriving, content)
            if sha256_file(arriving) != arriving.name:
                raise MistakeError(f"{source}: '{member.name}' is damaged; take another back-up")
            store.blobs.adopt(arriving, arriving.name)
        elif top == "quarantine" and Path(name).name == name:
            arriving = folder / "uploads" / name
            _write(arriving, content)
            quarantine.keep(store, name, arriving)
            arriving.unlink()
        else:
            raise MistakeError(f"{source}: holds '{member.name[:80]}', which is no part of a server")
        count += 1
    return count


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    archive.addfile(member, io.BytesIO(content))


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(member)
    if content is None:  # a link or a device, which no back-up holds
        raise MistakeError(f"'{member.name[:80]}' of the back-up is no file; take another one")
    return content


def _write(path: Path, content: IO[bytes]) -> None:
    """Write a file for this account alone, brought to the disk."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        shutil.copyfileobj(content, file, CHUNK_BYTES)
        file.flush()
        os.fsync(file.fileno())
