"""Content-addressed files: kept under their SHA-256, given to those who may have them, collected when unused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from fedflow.errors import StorageError
from fedflow.server.database.inserts import insert
from fedflow.server.database.tables import (
    Artifact,
    File,
    Import,
    Receipt,
    Refusal,
    Release,
    Round,
    Run,
    Score,
    SharedFile,
    Upload,
    Version,
)
from fedflow.server.database.tryouts import Tryout
from fedflow.server.errors import NotFound
from fedflow.server.services import roles, upload_pieces
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store
from fedflow.storage import BlobStore

UNUSED_S = 86_400
"""What nothing refers to is kept this long: a row that refers to it may be on its way."""


def put(store: Store, content: bytes | Path, kind: str) -> str:
    """Keep `content`, bytes or a file to be copied, and return its SHA-256. Blob first, then the row.

    Raises StorageError where the disk is full, the store cannot be written, or the file changes meanwhile.
    """
    digest = store.blobs.put(content) if isinstance(content, bytes) else store.blobs.copy(content)
    with store.begin() as session:
        record(session, store, digest, kind)
    return digest


def record(session: Session, store: Store, sha256: str, kind: str) -> None:
    """Note a blob that is in the store, within the caller's transaction; noted anew, it is young again.

    Raises StorageError where the blob is not there. The row comes first, so that a collection under way either
    has removed the blob already or leaves it.
    """
    _upsert(session, sha256, kind, store.clock())
    size_bytes = store.blobs.size(sha256)
    session.get_one(File, sha256, populate_existing=True).size_bytes = size_bytes
    session.flush()


def share(session: Session, federation_id: str, *digests: str | None) -> None:
    """Let every member of the federation read these blobs, noted before; in the caller's transaction."""
    rows = [{"federation_id": federation_id, "sha256": digest} for digest in dict.fromkeys(_present(digests))]
    if rows:
        session.execute(insert(session, SharedFile).on_conflict_do_nothing(), rows)


def sizes(session: Session, digests: Sequence[str]) -> list[int]:
    """What blobs weigh that are noted, in bytes and in their order."""
    rows = session.execute(select(File.sha256, File.size_bytes).where(File.sha256.in_(digests))).all()
    known = {row.sha256: row.size_bytes for row in rows}
    return [known[digest] for digest in digests]


def path_for(store: Store, caller: Caller, sha256: str) -> Path:
    """The file that `caller` may read: what is shared in a federation of theirs; an administrator of the server any.

    Shared are the base model with its list, the global state before round 1, committed adapters and residuals, exports
    and galleries; never a member's update. A viewer may read the galleries' pictures alone, a coordinator the features
    behind scores too. Raises NotFound for all else, whether it is there or not.
    """
    with store.read() as session:
        theirs = roles.federations_of(session, caller)
        if theirs is None:
            known = session.get(File, sha256) is not None
        elif caller.kind == "device":
            known = session.get(SharedFile, (caller.federation_id, sha256)) is not None
        else:
            known = _is_shared(session, caller, theirs, sha256) or _are_features(session, caller, theirs, sha256)
    if not known:
        raise NotFound(f"there is no file {sha256} for this caller")
    return store.file(sha256)


def _is_shared(session: Session, caller: Caller, federations: list[str], sha256: str) -> bool:
    query = (
        select(SharedFile.federation_id, File.kind)
        .join(File, File.sha256 == SharedFile.sha256)
        .where(SharedFile.sha256 == sha256, SharedFile.federation_id.in_(federations))
    )
    return any(
        kind == "picture" or roles.is_at_least(roles.role(session, caller, found), "participant")
        for found, kind in session.execute(query)
    )


def _are_features(session: Session, caller: Caller, federations: list[str], sha256: str) -> bool:
    query = (
        select(Run.federation_id)
        .join(Score, Score.run_id == Run.id)
        .where(Score.features == sha256, Run.federation_id.in_(federations))
        .distinct()
    )
    return any(roles.is_at_least(roles.role(session, caller, found), "coordinator") for found in session.scalars(query))


def of_version(store: Store, version: Version) -> set[str]:
    """The blobs that a version of a model or adapter names: its content, what was written of it, a base model's files.

    Raises StorageError where a base model's list cannot be read.
    """
    base = listed(store.blobs, version.content) if version.content_hash is not None else frozenset()
    return {version.content, *version.files.values(), *base}


def stay_a_day(session: Session, store: Store, digests: Collection[str]) -> None:
    """Let blobs that nothing refers to from now on be collected a day from now: a back-up that has begun needs them."""
    session.execute(update(File).where(File.sha256.in_(digests)).values(created_at=store.clock()))


def collect(store: Store, *, upload_ttl_s: float) -> int:
    """Remove blobs older than a day that nothing refers to, and uploads that nobody went on with.

    Returns the number of blobs removed. Raises StorageError where a base model's list cannot be read, since then
    nobody knows what is in use.
    """
    before = store.clock() - UNUSED_S
    _adopt_orphans(store, before)
    removed = []
    with store.begin() as session:
        used = set(_used(session, store))
        old = select(File.sha256).where(File.created_at < before)
        for sha256 in session.scalars(old).all():
            if sha256 in used:
                continue
            gone = delete(File).where(File.sha256 == sha256, File.created_at < before).returning(File.sha256)
            if session.scalar(gone) is not None:
                removed.append(sha256)
        store.blobs.remove(*removed)  # before the commit: whoever notes one of them anew waits for it
    _collect_uploads(store, store.clock() - upload_ttl_s)
    return len(removed)


def referred_to(store: Store, hashes: set[str]) -> set[str]:
    """Those that a row refers to; all of them where a base model's list is not here, since then nobody knows."""
    if not hashes:
        return set()
    with store.read() as session:
        try:
            return hashes & set(_used(session, store))
        except StorageError:
            return hashes


def _upsert(session: Session, sha256: str, kind: str, now: float) -> None:
    fresh = insert(session, File).values(sha256=sha256, size_bytes=0, kind=kind, created_at=now)
    session.execute(fresh.on_conflict_do_update(index_elements=[File.sha256], set_={"kind": kind, "created_at": now}))


@lru_cache(maxsize=64)
def listed(blobs: BlobStore, base: str) -> frozenset[str]:
    """The hashes in a base model's list of files; a blob never changes."""
    entries: list[dict[str, Any]] = json.loads(blobs.get(base).read_bytes())
    return frozenset(entry["sha256"] for entry in entries)


def _used(session: Session, store: Store) -> Iterator[str]:
    """Every hash that a row refers to."""
    for base, initial, charts in session.execute(select(Run.base, Run.initial, Run.charts)):
        yield from _present((base, initial, *charts.values()))
        if base is not None:
            yield from listed(store.blobs, base)
    for row in session.execute(select(Round.adapter, Round.residual, Round.merged)):
        yield from _present(row)
    for content, content_hash, exports in session.execute(select(Version.content, Version.content_hash, Version.files)):
        yield from (content, *exports.values())
        if content_hash is not None:
            yield from listed(store.blobs, content)
    kept = or_(Import.phase != "failed", Import.finished_at > store.clock() - UNUSED_S)
    yield from _present(session.scalars(select(Import.content).where(kept)))
    for examples in session.scalars(select(Artifact.examples)):
        yield from examples
    for provenance, given_out in session.execute(select(Release.provenance, Release.files)):
        yield from (provenance, *(each["sha256"] for each in given_out.values()))
    for features, gallery in session.execute(select(Score.features, Score.gallery)):
        yield from (features, *gallery)
    for pictures in session.scalars(select(Tryout.pictures)):
        yield from pictures
    yield from session.scalars(select(Receipt.sha256))
    yield from _present(session.scalars(select(Refusal.sha256)))


def _present(hashes: Iterable[str | None]) -> Iterator[str]:
    return (sha256 for sha256 in hashes if sha256 is not None)


def _adopt_orphans(store: Store, before: float) -> None:
    """Give old blobs without a row, left by a crash between blob and row, one; drop old parts of writes."""
    with store.read() as session:
        known = set(session.scalars(select(File.sha256)))
    store.blobs.tidy(before)
    for each in store.blobs.listed():
        if each.digest in known or each.written_at >= before:
            continue
        with store.begin() as session:
            if session.get(File, each.digest) is None:
                _upsert(session, each.digest, "orphan", each.written_at)


def _collect_uploads(store: Store, before: float) -> None:
    with store.begin() as session:
        session.execute(delete(Upload).where(Upload.touched_at < before))
        kept = set(session.scalars(select(Upload.id)))
    if store.objects is not None:
        store.objects.remove(upload_pieces.abandoned(store.objects, kept, before))
    for path in (store.folder / "uploads").iterdir():
        if path.stem not in kept and path.stat().st_mtime < before:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
