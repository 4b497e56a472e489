"""A server's whole state in one file, and a server made of such a file again.

A tar archive without compression (weights do not shrink): `backup.json` with the schema's version, files of JSON
lines for each table, blobs and refused updates by their names, the server's secrets, and last `sums.json` with the
SHA-256 of each of them, since a tar of which a part is missing looks whole. Rows are read in one transaction, so that
the server may run meanwhile; blobs never change. Half uploads, the queue, letters and sign-ins that are under way, and
which processes there were are not in it: participants begin those anew, and the worker's sweep finds what is to be
done. The rows say nothing of the database that they come from: a server may move from SQLite to PostgreSQL with it,
and back.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import IO, Any

from sqlalchemy import Connection, MetaData, select, text
from sqlalchemy import Table as CoreTable

import fedflow
from fedflow.errors import MistakeError, StorageError
from fedflow.server import keys
from fedflow.server.database import away, schema
from fedflow.server.database.base import Table
from fedflow.server.database.engines import make_engine
from fedflow.server.database.tables import File
from fedflow.server.opening import refuse_nothing
from fedflow.server.services import files, identity, quarantine
from fedflow.server.settings import ServerSettings
from fedflow.server.store import UNFINISHED, Store, blobs_of, open_store, refuse_unfinished, reopen_store
from fedflow.storage import sha256_file
from fedflow.storage.atomic import sync_folder, write_atomic
from fedflow.storage.blobs import SHA256

FORMAT = 1
ABOUT = "backup.json"
SUMS = "sums.json"
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

    Raises MistakeError where `target` is there already, StorageError where it cannot be written or a file of the store
    is damaged or missing, and what opening the server's store raises.
    """
    if target.exists():
        raise MistakeError(f"{target}: is there already; give another name, or remove it first")
    refuse_nothing(settings)
    store = open_store(settings)
    partial = target.with_name(f".{target.name}.partial")
    try:
        # Read and write for nobody else from the first byte on: the server's secrets are in it.
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                sums: dict[str, str] = {}
                rows, named = _write_tables(archive, store, sums)
                written = _write_files(archive, store, sums)
                _refuse_missing(store, named - {PurePath(name).name for name in sums})
                _add(archive, SUMS, json.dumps(sums, indent=0).encode(), {})
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
    return BackedUp(rows, written, target.stat().st_size)


def restore(settings: ServerSettings, source: Path) -> BackedUp:
    """Make a server of a back-up, in a folder and a database that hold none yet.

    The back-up is looked through first, and nothing is written where anything in it is not as it was. What stops a
    restore later (a full disk, a kill) leaves the folder marked, so that no server starts on what is there until then.
    An older back-up's schema is raised to this FedFlow's.

    Raises MistakeError where there is a server already, or the file is no back-up, is damaged, or comes from a newer
    FedFlow; StorageError where a file cannot be written; DatabaseAway, StoreAway.
    """
    folder = settings.folder.absolute()
    refuse_unfinished(folder)
    if any((folder / name).exists() for name in (schema.IN_FOLDER, *SECRETS)) or any(folder.glob("blobs/*/*")):
        raise MistakeError(f"{folder}: holds a server already; give another --folder")
    if settings.store_url is not None and any(blobs_of(settings).listed()):
        raise MistakeError(f"{settings.store_url}: holds a server's files already; give another --store-url")
    if settings.database_url is not None:
        _refuse_unless_empty(settings.database_url)
    try:
        with tarfile.open(source, "r:") as archive:
            about = _about(archive, source)
            _check(archive, source)
            _refuse_without_key(archive, settings.folder, source)
            return _restore(settings, archive, about["schema"], source)
    except FileNotFoundError:
        raise MistakeError(f"{source}: no such file; give the back-up") from None
    except (tarfile.TarError, EOFError):
        raise MistakeError(f"{source}: is no back-up of a FedFlowServer, or is damaged") from None


def _refuse_unless_empty(url: str) -> None:
    engine = make_engine(url)
    try:
        with away.in_our_words(engine), engine.connect() as connection:
            schema.refuse_unless_empty(connection)
    finally:
        engine.dispose()


def _refuse_without_key(archive: tarfile.TarFile, folder: Path, source: Path) -> None:
    if keys.FILE not in archive.getnames() and not keys.is_there(folder):
        raise MistakeError(
            f"{source}: does not hold the server's key, which it was given as {keys.VARIABLE}; set that to what it was "
            "and restore again"
        )


def _restore(settings: ServerSettings, archive: tarfile.TarFile, revision: str, source: Path) -> BackedUp:
    """Files first, then the rows that name them in one transaction, then the secrets; the mark goes last."""
    mark = settings.folder.absolute() / UNFINISHED
    mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(mark, b"A restore into this folder has not ended: what is here is no server.\n")
    store = reopen_store(settings)
    try:
        with away.in_our_words(store.engine):
            store.blobs.check()
            read = _read_files(archive, store, source)
            with store.engine.begin() as connection:
                schema.make(connection, revision)
                rows = _read_tables(archive, connection)
            read += _read_secrets(archive, store.folder)
            schema.upgrade(store.engine)
        store.settle()
        mark.unlink()
        sync_folder(mark.parent)
    except OSError as error:
        why = error.strerror or str(error)
        raise StorageError(f"{store.folder}: cannot be written ({why}); empty it and restore again") from error
    finally:
        store.engine.dispose()
    return BackedUp(rows, read, source.stat().st_size)


def _write_tables(archive: tarfile.TarFile, store: Store, sums: dict[str, str]) -> tuple[int, set[str]]:
    """How many rows there are, and which files they name."""
    level = {} if store.engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    engine = store.engine.execution_options(fedflow_reads=True, **level)
    count = 0
    with engine.connect() as connection:
        about = {
            "format": FORMAT,
            "fedflow": fedflow.__version__,
            "schema": schema.version(connection),
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        _add(archive, ABOUT, json.dumps(about, indent=1).encode(), sums)
        for table in Table.metadata.sorted_tables:
            if table.name in LEFT_OUT:
                continue
            for number, lines in enumerate(_lines(connection, table)):
                _add(archive, f"tables/{table.name}/{number:06d}.jsonl", lines, sums)
                count += lines.count(b"\n")
        return count, set(connection.scalars(select(File.sha256)))


def _refuse_missing(store: Store, missing: set[str]) -> None:
    """Raise StorageError where files that something refers to are not here; what nothing does may go at any time."""
    lost = files.referred_to(store, missing)
    if lost:
        raise StorageError(
            f"{len(lost)} files that the database names are not in the server's store; give the --store-url that it "
            "runs with, or the --folder"
        )


def _lines(connection: Connection, table: CoreTable) -> Iterator[bytes]:
    """The table's rows as JSON, some hundred at a time, in the order of their keys: what refers comes after."""
    query = select(table).order_by(*table.primary_key.columns)
    for batch in connection.execution_options(yield_per=ROWS_AT_ONCE).execute(query).mappings().partitions():
        yield "".join(json.dumps(dict(row), separators=(",", ":")) + "\n" for row in batch).encode()


def _write_files(archive: tarfile.TarFile, store: Store, sums: dict[str, str]) -> int:
    secrets = [store.folder / name for name in SECRETS if (store.folder / name).is_file()]
    for path in secrets:
        _add(archive, path.name, path.read_bytes(), sums)
    count = len(secrets)
    for digest in sorted(each.digest for each in store.blobs.listed()):
        name = f"blobs/{digest[:2]}/{digest}"
        try:
            archive.add(store.blobs.get(digest), name, recursive=False)
        except (StorageError, FileNotFoundError):
            if digest in store.blobs:
                raise
            continue  # collected meanwhile: nothing refers to it
        sums[name] = digest
        count += 1
    for refused in quarantine.names(store):
        name = f"quarantine/{refused}"
        try:
            with quarantine.opened(store, refused) as path:
                digest = sha256_file(path)
                archive.add(path, name, recursive=False)
        except (StorageError, FileNotFoundError):
            if refused in quarantine.names(store):
                raise
            continue
        sums[name] = digest
        count += 1
    return count


def _about(archive: tarfile.TarFile, source: Path) -> dict[str, Any]:
    member = archive.next()
    content = None if member is None or member.name != ABOUT else archive.extractfile(member)
    if content is None:
        raise MistakeError(f"{source}: is no back-up of a FedFlowServer")
    try:
        about: dict[str, Any] = json.load(content)
        made_with, revision = about["format"], about["schema"]
    except (ValueError, KeyError, TypeError):
        raise MistakeError(f"{source}: '{ABOUT}' is damaged; take another back-up") from None
    if made_with != FORMAT or revision not in schema.revisions():
        raise MistakeError(f"{source}: comes from FedFlow {about.get('fedflow')}, which this one does not know; update")
    return about


def _check(archive: tarfile.TarFile, source: Path) -> None:
    """Raise MistakeError unless everything that was written is there and as it was, and nothing else."""
    found: dict[str, str] = {}
    told: dict[str, str] | None = None
    for member in archive:
        if not _belongs(member):
            raise MistakeError(f"{source}: holds '{member.name[:80]}', which is no part of a server")
        content = _content(archive, member)
        if member.name == SUMS:
            try:
                told = dict(json.load(content))
            except ValueError:
                break
        else:
            found[member.name] = _sum(content)
    if told is None:
        raise MistakeError(f"{source}: its end is missing or damaged; take another back-up")
    for name in sorted({*found, *told}):
        if name not in found:
            raise MistakeError(f"{source}: '{name[:80]}' is missing; the back-up is damaged, take another one")
        if found[name] != told.get(name):
            raise MistakeError(f"{source}: '{name[:80]}' is damaged; take another back-up")


def _belongs(member: tarfile.TarInfo) -> bool:
    """Whether this is a part of a server; a name that leads elsewhere is of none."""
    top, *parts = member.name.split("/")
    if top == "tables":
        return len(parts) == 2
    if top == "blobs":
        return len(parts) == 2 and SHA256.fullmatch(parts[1]) is not None
    if top == "quarantine":
        return len(parts) == 1 and parts[0] not in ("", ".", "..")
    return not parts and top in (ABOUT, SUMS, *SECRETS)


def _read_tables(archive: tarfile.TarFile, connection: Connection) -> int:
    """Put every row in its table, in the back-up's order: what refers comes after."""
    tables = MetaData()
    tables.reflect(connection, only=lambda name, _: name != schema.VERSION_TABLE)
    for table in reversed(tables.sorted_tables):  # what the schema's making has put there
        connection.execute(table.delete())
    count = 0
    for member in _members(archive, "tables/"):
        rows = [json.loads(line) for line in _content(archive, member)]
        connection.execute(tables.tables[member.name.split("/")[1]].insert(), rows)
        count += len(rows)
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT setval('event_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM event), false)"))
    return count


def _read_files(archive: tarfile.TarFile, store: Store, source: Path) -> int:
    """Put blobs and refused updates in their places."""
    count = 0
    for member in _members(archive, "blobs/", "quarantine/"):
        name = member.name.rpartition("/")[2]
        arriving = store.folder / "uploads" / name
        _write(arriving, _content(archive, member))
        if member.name.startswith("quarantine/"):
            quarantine.keep(store, name, arriving)
            arriving.unlink()
        elif sha256_file(arriving) == name:
            store.blobs.adopt(arriving, name)
        else:
            raise StorageError(f"{arriving}: is not what was written there from {source}; check the disk")
        count += 1
    return count


def _read_secrets(archive: tarfile.TarFile, folder: Path) -> int:
    found = [*_members(archive, *SECRETS)]
    for member in found:
        _write(folder / member.name, _content(archive, member))
    sync_folder(folder)
    return len(found)


def _members(archive: tarfile.TarFile, *beginnings: str) -> Iterator[tarfile.TarInfo]:
    """The members whose names begin so, in the archive's order."""
    return (member for member in archive.getmembers() if member.name.startswith(beginnings))


def _add(archive: tarfile.TarFile, name: str, content: bytes, sums: dict[str, str]) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    archive.addfile(member, io.BytesIO(content))
    sums[name] = hashlib.sha256(content).hexdigest()


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(member)
    if content is None:  # a link or a device, which no back-up holds
        raise MistakeError(f"'{member.name[:80]}' of the back-up is no file; take another one")
    return content


def _sum(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _write(path: Path, content: IO[bytes]) -> None:
    """Write a file for this account alone, brought to the disk."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        shutil.copyfileobj(content, file, CHUNK_BYTES)
        file.flush()
        os.fsync(file.fileno())
