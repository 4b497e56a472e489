"""Files that a page sends in pieces: what has arrived stays, and the same file goes on where it stopped.

A file is the same by its name, length, time of change and beginning; loose pictures and captions, which come as one
file, each after the other in a fixed order, by their manifest (`services.manifests`). The row's `offset_bytes` is what
counts, and is moved only after the bytes are on the disk; bytes beyond it come from a request that died, and the next
one cuts them off. One request at a time holds a file, by a lock on it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path, PurePath

from sqlalchemy import and_, delete, or_, select, update

from fedflow.client.database.tables import Arrival
from fedflow.client.services import datasets, datasets_uploads, jobs, manifests, shelving_uploads
from fedflow.client.store import Store
from fedflow.datasets.intake import ROOM_LEFT_BYTES
from fedflow.errors import DatasetError, MistakeError, StorageError
from fedflow.storage.zips import begins_as_zip
from fedflow.tensors.header import check_beginning

SUFFIX = ".arriving"
MODEL, PICTURES = "model", "pictures"
MOST_BYTES = {MODEL: shelving_uploads.MOST_BYTES, PICTURES: datasets_uploads.MOST_BYTES}
"""What may be sent, and how large it may be."""
BEGINNING_BYTES = 64 * 1024
"""What is told of a file before its pieces: the same name, length and time may be another file's."""
PIECE_BYTES = 8 * 1024 * 1024
"""How large a piece may be; a cut costs what has come of one."""
KEPT_S = 7 * 86_400.0
"""So long after its last piece the file is still gone on with."""
TOLD_S = 30 * 86_400.0
"""So long it is told that it was cleared."""
TAKEN_OUT = "the dataset was taken out meanwhile; choose the files again on the page of all datasets to make a new one"


@dataclass(frozen=True)
class Sent:
    """A file that a page is about to send.

    `changed_at` is its time of change as the browser says it. Loose files have a `manifest` instead, and `name` is that
    of the first. `dataset_id` is the dataset that it is to go into, None for a new one: the same file may be sent into
    another one at last.
    """

    what: str
    name: str
    length_bytes: int
    changed_at: str
    beginning: bytes
    manifest: str = ""
    dataset_id: str | None = None

    @property
    def id(self) -> str:
        """The same for the same file."""
        told = (self.what, self.name, str(self.length_bytes), self.changed_at, self.manifest)
        return hashlib.sha256("\0".join(told).encode("utf-8", "surrogatepass") + b"\0" + self.beginning).hexdigest()


def begin(store: Store, sent: Sent) -> Arrival:
    """How far this file is; with its beginning, where nothing of it has arrived.

    Raises MistakeError for a file that would not be taken, StorageError where the disk has no room for it.
    """
    files = _check(store, sent)
    clear(store)
    taken_bytes = sent.length_bytes if sent.manifest else 0  # room for what is cut out of it, which it is kept beside
    now, path = store.clock(), _path(store, sent.id)
    with store.read() as session:
        found = session.get(Arrival, sent.id)
    if found is not None and found.cleared_at is None and path.is_file():
        _check_room(store, found.length_bytes - found.offset_bytes + taken_bytes)
        with store.begin() as session:
            session.execute(update(Arrival).where(Arrival.id == sent.id).values(dataset_id=sent.dataset_id))
        return found
    _check_room(store, sent.length_bytes + taken_bytes)
    row = Arrival(id=sent.id, what=sent.what, name=sent.name, length_bytes=sent.length_bytes)
    row.files, row.dataset_id = files, sent.dataset_id
    row.offset_bytes, row.touched_at, row.cleared_at = len(sent.beginning), now, None
    with _disk(path.parent):
        path.parent.mkdir(exist_ok=True)
        with open(path, "wb", buffering=0) as file:
            _write(file, sent.beginning)
    with store.begin() as session:
        session.merge(row)
    return row


def _check(store: Store, sent: Sent) -> int | None:
    """How many pictures and captions loose files are. Raises MistakeError for what would not be taken."""
    most_bytes = MOST_BYTES.get(sent.what)
    if most_bytes is None or not sent.name or (sent.manifest and sent.what != PICTURES):
        raise MistakeError("the page asks for what this app does not know; load it anew, then choose the file again")
    if sent.length_bytes > most_bytes:
        raise MistakeError(
            f"{sent.name}: has {_megabytes(sent.length_bytes)} MB, and at most {_megabytes(most_bytes)} MB are taken "
            "through the browser; give its place on this machine instead"
        )
    suffix = shelving_uploads.check_name(sent.name) if sent.what == MODEL else ".zip"
    if len(sent.beginning) != min(sent.length_bytes, BEGINNING_BYTES):
        raise MistakeError("the beginning of the file did not arrive; choose the file again")
    if sent.dataset_id is not None and datasets.one(store, sent.dataset_id) is None:
        raise DatasetError(TAKEN_OUT)
    if sent.dataset_id is not None:
        datasets_uploads.check_unpacked(store, sent.dataset_id)
    if sent.manifest:
        names = [part.name for part in manifests.read(sent.manifest, sent.length_bytes)]
        return datasets_uploads.check_names(names, is_new=sent.dataset_id is None)
    if suffix != ".zip":
        check_beginning(sent.beginning, sent.length_bytes, sent.name, MistakeError)
    elif not begins_as_zip(sent.beginning):
        raise MistakeError(f"{sent.name}: does not begin as a zip does; pack it anew, or choose another file")
    return None


def append(store: Store, arrival_id: str, offset_bytes: int, piece: bytes) -> Arrival | None:
    """Write a piece at `offset_bytes`; None where there is no such file.

    Where the file is at another byte nothing is written, and the row says at which: another page may send it too.
    Raises StorageError where the disk does not take it, and what arrived before stays.
    """
    with _held(store, arrival_id) as file:
        with store.read() as session:
            row = session.get(Arrival, arrival_id)
        if file is None or row is None or row.cleared_at is not None:
            return None
        if row.offset_bytes != offset_bytes or offset_bytes + len(piece) > row.length_bytes:
            return row
        with _disk(_path(store, arrival_id).parent):
            file.truncate(offset_bytes)
            file.seek(offset_bytes)
            _write(file, piece)
        with store.begin() as session:
            row = session.get(Arrival, arrival_id)
            if row is not None:
                row.offset_bytes, row.touched_at = offset_bytes + len(piece), store.clock()
        return row


def whole(store: Store, arrival_id: str, what: str) -> tuple[Arrival, Path]:
    """A file that has arrived, and its place. Raises MistakeError where it has not, or is kept no more."""
    with store.read() as session:
        row = session.get(Arrival, arrival_id)
    path = _path(store, arrival_id)
    if row is None or row.what != what or row.cleared_at is not None or not path.is_file():
        raise MistakeError("the file is no longer kept; bring it once more")
    if row.offset_bytes != row.length_bytes:
        raise MistakeError("the file has not arrived whole; choose it again, and it goes on where it stopped")
    return row, path


def listed(store: Store, what: str) -> list[Arrival]:
    """Files that have not been taken in, and those that were cleared lately, newest first."""
    clear(store)
    with store.read() as session:
        return list(session.scalars(select(Arrival).where(Arrival.what == what).order_by(Arrival.touched_at.desc())))


def drop(store: Store, arrival_id: str) -> None:
    """Forget a file, and remove what has arrived of it."""
    with store.begin() as session:
        row = session.get(Arrival, arrival_id)
        if row is None:
            return
        session.delete(row)
    _path(store, arrival_id).unlink(missing_ok=True)


def clear(store: Store) -> None:
    """Remove what nobody goes on with; that it was is told for a while."""
    now = store.clock()
    old = and_(Arrival.cleared_at.is_(None), Arrival.touched_at < now - KEPT_S)
    told = Arrival.cleared_at < now - TOLD_S
    with store.read() as session:
        if session.scalar(select(Arrival.id).where(or_(old, told)).limit(1)) is None:
            return
    with store.begin() as session:
        session.execute(delete(Arrival).where(told))
        for row in session.scalars(select(Arrival).where(old)):
            row.cleared_at = now
            _path(store, row.id).unlink(missing_ok=True)


def is_of_one(path: Path) -> bool:
    """Whether this is where a file gathers: `clear` alone removes it."""
    return path.suffix == SUFFIX


def _path(store: Store, arrival_id: str) -> Path:
    return store.folder / jobs.INCOMING / f"{PurePath(arrival_id).name}{SUFFIX}"


@contextmanager
def _held(store: Store, arrival_id: str) -> Iterator[FileIO | None]:
    """The file, for this request alone; None where there is none."""
    path = _path(store, arrival_id)
    if not path.is_file():
        yield None
        return
    with open(path, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _write(file: FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
    os.fsync(file.fileno())


def _check_room(store: Store, size_bytes: int) -> None:
    lacking = size_bytes + ROOM_LEFT_BYTES - shutil.disk_usage(store.folder).free
    if lacking > 0:
        raise StorageError(
            f"{store.folder}: disk full (needs about {_megabytes(lacking)} MB more); free space, then send the rest"
        )


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror}); free space, then send the rest") from error


def _megabytes(size_bytes: int) -> int:
    return max(1, -(-size_bytes // 1_000_000))
