"""Content-addressed files: kept under their SHA-256, given to those who may have them, collected when unused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import bindparam, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from fedflow.errors import StorageError
from fedflow.server.database.tables import File, Receipt, Refusal, Round, Run, Upload
from fedflow.server.errors import NotFound
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store
from fedflow.storage import Blobs, sha256_file, write_atomic

UNUSED_S = 86_400
"""What nothing refers to is kept this long: a row that refers to it may be on its way."""

KEPT_KINDS = ("report", "export")
"""Made for people; nothing in the database refers to them."""

CHUNK_BYTES = 1_000_000

OURS = Run.federation_id == bindparam("federation")
OF_A_RUN = select(Run.id).where(OURS, or_(Run.base == bindparam("sha256"), Run.initial == bindparam("sha256"))).limit(1)
OF_A_ROUND = (
    select(Round.run_id)
    .join(Run, Run.id == Round.run_id)
    .where(OURS, Round.committed_at.is_not(None))
    .where(or_(Round.adapter == bindparam("sha256"), Round.residual == bindparam("sha256")))
    .limit(1)
)
BASES = select(Run.base).where(OURS, Run.base.is_not(None)).distinct()
"""Written once: a round's opening is when two hundred devices ask for files at the same time."""


def put(store: Store, content: bytes | Path, kind: str) -> str:
    """Keep `content`, bytes or a file to be copied, and return its SHA-256. Blob first, then the row.

    Raises StorageError where the disk is full, the store cannot be written, or the file changes meanwhile.
    """
    digest = store.blobs.put(content) if isinstance(content, bytes) else _copy(store, content)
    with store.begin() as session:
        record(session, store, digest, kind)
    return digest


def record(session: Session, store: Store, sha256: str, kind: str) -> None:
    """Note a blob that is in the store, within the caller's transaction; noted anew, it is young again.

    Raises StorageError where the blob is not there. The row comes first, so that a collection under way either
    has removed the blob already or leaves it.
    """
    _upsert(session, sha256, kind, store.clock())
    path = store.blobs.place(sha256)
    try:
        size_bytes = path.stat().st_size
    except FileNotFoundError as error:
        raise StorageError(f"{path}: blob is missing; send it again") from error
    session.get_one(File, sha256, populate_existing=True).size_bytes = size_bytes
    session.flush()


def path_for(store: Store, caller: Caller, sha256: str) -> Path:
    """The file that `caller` may read: a person any, a device what a run of its federation refers to.

    That is the base model with its list, the global state before round 1, and committed adapters and residuals;
    never another member's update. Raises NotFound for all else, whether it is there or not.
    """
    with store.read() as session:
        known = session.get(File, sha256) is not None
        if known and (caller.kind == "person" or _is_for(session, store, caller, sha256)):
            return store.blobs.place(sha256)
    raise NotFound(f"there is no file {sha256} for this caller")


def collect(store: Store, *, upload_ttl_s: float) -> int:
    """Remove blobs older than a day that nothing refers to, and uploads that nobody went on with.

    Returns the number of blobs removed. Raises StorageError where a base model's list cannot be read, since then
    nobody knows what is in use.
    """
    before = store.clock() - UNUSED_S
    _adopt_orphans(store, before)
    removed = 0
    with store.begin() as session:
        used = set(_used(session, store))
        old = select(File.sha256).where(File.created_at < before, File.kind.not_in(KEPT_KINDS))
        for sha256 in session.scalars(old).all():
            if sha256 in used:
                continue
            gone = delete(File).where(File.sha256 == sha256, File.created_at < before).returning(File.sha256)
            if session.scalar(gone) is not None:
                store.blobs.place(sha256).unlink(missing_ok=True)
                removed += 1
    _collect_uploads(store, store.clock() - upload_ttl_s)
    return removed


def _copy(store: Store, source: Path) -> str:
    digest = sha256_file(source)
    target = store.blobs.place(digest)
    if target.is_file() and sha256_file(target) == digest:
        return digest

    def copy(file: BinaryIO) -> None:
        copied = hashlib.sha256()
        with open(source, "rb") as reading:
            while chunk := reading.read(CHUNK_BYTES):
                copied.update(chunk)
                file.write(chunk)
        if copied.hexdigest() != digest:
            raise StorageError(f"{source}: changed while it was copied; try again when nothing writes it")

    write_atomic(target, copy)
    return digest


def _upsert(session: Session, sha256: str, kind: str, now: float) -> None:
    fresh = _insert(session).values(sha256=sha256, size_bytes=0, kind=kind, created_at=now)
    session.execute(fresh.on_conflict_do_update(index_elements=[File.sha256], set_={"kind": kind, "created_at": now}))


def _insert(session: Session) -> postgresql.Insert | sqlite.Insert:
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(File)
    return sqlite.insert(File)


def _is_for(session: Session, store: Store, caller: Caller, sha256: str) -> bool:
    asked = {"federation": caller.federation_id, "sha256": sha256}
    if any(session.scalar(query, asked) is not None for query in (OF_A_ROUND, OF_A_RUN)):
        return True
    bases = session.scalars(BASES, {"federation": caller.federation_id})
    return any(sha256 in _listed(store.blobs, base) for base in bases if base is not None)


@lru_cache(maxsize=64)
def _listed(blobs: Blobs, base: str) -> frozenset[str]:
    """The hashes in a base model's list of files; a blob never changes."""
    entries: list[dict[str, Any]] = json.loads(blobs.get(base).read_bytes())
    return frozenset(entry["sha256"] for entry in entries)


def _used(session: Session, store: Store) -> Iterator[str]:
    """Every hash that a row refers to."""
    for base, initial, prepared in session.execute(select(Run.base, Run.initial, Run.prepared)):
        yield from _present((base, initial, (prepared or {}).get("start")))
        if base is not None:
            yield from _listed(store.blobs, base)
    for adapter, residual in session.execute(select(Round.adapter, Round.residual)):
        yield from _present((adapter, residual))
    yield from session.scalars(select(Receipt.sha256))
    yield from _present(session.scalars(select(Refusal.sha256)))


def _present(hashes: Iterable[str | None]) -> Iterator[str]:
    return (sha256 for sha256 in hashes if sha256 is not None)


def _adopt_orphans(store: Store, before: float) -> None:
    """Give old blobs without a row, left by a crash between blob and row, one; drop old parts of writes."""
    with store.read() as session:
        known = set(session.scalars(select(File.sha256)))
    for path in store.blobs.folder.glob("*/*"):
        written_at = path.stat().st_mtime
        if path.name in known or written_at >= before:
            continue
        if path.name.endswith(".partial"):
            path.unlink(missing_ok=True)
            continue
        with store.begin() as session:
            if session.get(File, path.name) is None:
                _upsert(session, path.name, "orphan", written_at)


def _collect_uploads(store: Store, before: float) -> None:
    with store.begin() as session:
        session.execute(delete(Upload).where(Upload.touched_at < before))
        kept = set(session.scalars(select(Upload.id)))
    for path in (store.folder / "uploads").iterdir():
        if path.stem not in kept and path.stat().st_mtime < before:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
