"""Uploads that a cut costs nothing: what the tus protocol needs to know, and where the bytes are.

The row's `offset_bytes` is what counts, and is moved only after the bytes are on the disk, or in the S3-compatible
store (`upload_pieces`). Bytes beyond it come from a request that died; the next one cuts them off. One request at a
time holds an upload, by a lock on its file, which the operating system drops with the process; of requests at servers
with a folder each, the first to move the row wins.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from fedflow.errors import StorageError
from fedflow.server.database.tables import Upload
from fedflow.server.errors import ApiError, Conflict, Gone, NotFound, TooLarge, Unprocessable
from fedflow.server.services import upload_pieces
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import Caller
from fedflow.server.services.upload_writing import EXPIRED, Body, Checksum, Writing, path_of
from fedflow.server.store import Store
from fedflow.storage import Objects, sha256_file

MAX_OPEN = 8
"""Uploads that a device or a person may have at once, complete ones included until they are handed in."""

# A device at its limit loses the upload that has got no byte for longest, if for so long: its client knows it no more.
IDLE_S = 60.0
# A cut is noticed within milliseconds; so long the next request waits until the cut one has let go.
HAND_OVER_S = 2.0
# So long a hand-in waits for another one of the same upload.
HAND_IN_S = 30.0


class Locked(ApiError):  # noqa: N818 - the protocol's word
    """Another request is writing to this upload."""

    status = 423
    code = "locked"


class TooMany(ApiError):  # noqa: N818 - the protocol's word
    """The device has as many uploads as it may have."""

    status = 429
    code = "too_many_uploads"


class Interrupted(ApiError):  # noqa: N818 - what happened
    """The body ended before its end; what came in is kept unless it had a checksum."""

    status = 408
    code = "interrupted"


@dataclass(frozen=True)
class Progress:
    """How far an upload is; `sha256` of a whole one. `expires_at`: seconds since 1970, moved on by each byte."""

    id: str
    offset_bytes: int
    length_bytes: int
    upload_metadata: str
    expires_at: float
    sha256: str | None


def create(
    store: Store,
    caller: Caller,
    length_bytes: int,
    upload_metadata: str,
    max_bytes: int,
    ttl_s: float,
    identifier: str | None = None,
) -> Progress:
    """A new upload of `length_bytes`, at offset 0; one of 0 bytes is complete at once.

    It gets `identifier` where one is given; one of the device's that has it already was made by the same request.

    Raises:
        TooLarge: more than `max_bytes`.
        TooMany: the device has MAX_OPEN uploads that are neither handed in, deleted nor expired, and was at all of
            them within IDLE_S. Otherwise the one that lay longest is dropped.
        StorageError: the folder cannot be written.
    """
    if length_bytes > max_bytes:
        raise TooLarge(f"an upload may have {max_bytes} bytes, this one has {length_bytes}; ask the coordinator")
    now = store.clock()
    if identifier is not None:
        with store.read() as session:
            known = session.get(Upload, identifier)
        if known is not None:
            return _progress(known, ttl_s)
    row = Upload(
        id=identifier or new_id(),
        device_id=caller.id if caller.kind == "device" else None,
        person_id=caller.id if caller.kind == "person" else None,
        length_bytes=length_bytes,
        offset_bytes=0,
        sha256=hashlib.sha256().hexdigest() if length_bytes == 0 else None,
        upload_metadata=upload_metadata,
        created_at=now,
        touched_at=now,
    )
    if store.objects is not None:
        _drop_old_copies(store, ttl_s)
    # The file before the row: a crash between them leaves an empty file, which `files.collect` removes.
    path = path_of(store, row.id)
    try:
        path.open("ab").close()  # brought to the disk with its first bytes
    except OSError as error:
        raise _disk_error(store, error) from error
    try:
        with store.begin() as session:
            _make_room(store, session, caller, now, ttl_s)
            session.add(row)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return _progress(row, ttl_s)


def progress(store: Store, caller: Caller, upload_id: str, ttl_s: float) -> Progress:
    """How far an upload is, after the request that writes to it (which may just have been cut) has let go.

    Raises: NotFound, Gone, Locked (it is being written to).
    """
    with store.read() as session:
        row = _owned(session, caller, upload_id)
    if row.sha256 is not None:  # its bytes may be handed in already
        return _progress(row, ttl_s)
    with _held(store, caller, upload_id, ttl_s, wait_s=HAND_OVER_S) as (row, _file):
        return _progress(row, ttl_s)


def append(
    store: Store, caller: Caller, upload_id: str, offset_bytes: int, body: Body, checksum: Checksum | None, ttl_s: float
) -> Progress:
    """Write the body at `offset_bytes`. Every byte that the answer counts is on the disk.

    A body that breaks off leaves what came in, unless `checksum` was given; one with more bytes than the upload still
    lacks leaves nothing that was not acknowledged before.

    Raises:
        NotFound, Gone, Locked: as `progress`.
        Conflict: the upload is at another offset.
        TooLarge: the body has more bytes than the upload still lacks.
        OtherBytes: the checksum is another.
        Interrupted: the body broke off.
        Unauthorised: the device was revoked meanwhile; what it sent since is not kept.
        StorageError: the disk is full or broken.
    """
    with _held(store, caller, upload_id, ttl_s) as (row, file):
        if offset_bytes != row.offset_bytes:
            raise Conflict(f"the upload is at byte {row.offset_bytes}, not {offset_bytes}; go on from there")
        lacking = row.length_bytes - row.offset_bytes
        if body.length_bytes is not None and body.length_bytes > lacking:
            raise TooLarge(f"the body has {body.length_bytes} bytes, the upload lacks {lacking}; send those")
        try:
            writing = Writing(store, row, file)
            whole = writing.take_in(body, checksum)
            writing.keep()
        except OSError as error:
            raise _disk_error(store, error) from error
        if not whole:
            raise Interrupted(f"the body broke off; the upload is at byte {row.offset_bytes}, go on from there")
        return _progress(row, ttl_s)


def terminate(store: Store, caller: Caller, upload_id: str, ttl_s: float) -> None:
    """Forget an upload and its bytes. Raises: NotFound, Gone, Locked."""
    with _held(store, caller, upload_id, ttl_s) as (row, _file):
        _forget(store, row.id)


def take(store: Store, caller: Caller, upload_id: str, sha256: str) -> Path:
    """The file of a complete upload, which the caller of this may move away.

    One that was moved into the blobs already, before a crash, is linked back from there.

    Raises:
        NotFound: the device has no such upload.
        Conflict: bytes are lacking.
        Unprocessable: its bytes have another SHA-256.
        Gone: its bytes are lost.
    """
    with store.read() as session:
        row = _owned(session, caller, upload_id)
    if row.sha256 is None:
        raise Conflict(f"the upload is at byte {row.offset_bytes} of {row.length_bytes}; send the rest first")
    if row.sha256 != sha256:
        raise Unprocessable(f"the upload has SHA-256 {row.sha256}, not {sha256}; upload the file again")
    path = path_of(store, row.id)
    if store.objects is not None:
        _put_together(store, store.objects, row, path)
    if not path.is_file() and sha256 in store.blobs:
        with suppress(FileExistsError):  # the same hand-in, in another request
            os.link(store.blobs.get(sha256), path)
    if not path.is_file():
        raise Gone("the upload's bytes are lost; upload the file again")
    return path


@contextmanager
def taken(store: Store, caller: Caller, upload_id: str, sha256: str) -> Iterator[Path]:
    """As `take`, for one request at a time: others that hand in the same upload wait until this one is over.

    Raises Conflict, too, where another request is at it for more than HAND_IN_S.
    """
    with ExitStack() as held:
        try:
            try:
                held.enter_context(_locked(take(store, caller, upload_id, sha256), HAND_IN_S))
            except FileNotFoundError:  # moved away since: it is linked back
                held.enter_context(_locked(take(store, caller, upload_id, sha256), HAND_IN_S))
        except Locked:
            raise Conflict("another request hands this upload in; ask again in a moment") from None
        path = take(store, caller, upload_id, sha256)  # it may have been moved away while this request waited
        try:
            yield path
        finally:
            if store.objects is not None and not path.is_file():  # it became something else
                with suppress(StorageError, SQLAlchemyError):  # nothing is lost: what stays is collected
                    upload_pieces.forget(store, store.objects, upload_id)


def _put_together(store: Store, objects: Objects, row: Upload, path: Path) -> None:
    """Have the upload's pieces in one file; a file that is not what they say, or is left from before, goes."""
    with store.read() as session:
        pieces = upload_pieces.of(session, row.id)
    if pieces:
        if upload_pieces.bring(objects, pieces, path) != row.sha256:
            raise Gone("the upload's bytes are lost; upload the file again")
    elif path.is_file() and sha256_file(path) != row.sha256:
        path.unlink(missing_ok=True)


@contextmanager
def _held(
    store: Store, caller: Caller, upload_id: str, ttl_s: float, wait_s: float = 0.0
) -> Iterator[tuple[Upload, FileIO]]:
    """An upload of the caller's that no other request writes to: its row as it is now, and its open file."""
    with store.read() as session:
        path = path_of(store, _owned(session, caller, upload_id).id)
    if store.objects is not None:
        path.touch()  # it may have begun at another server
    try:
        with _locked(path, wait_s) as file:
            with store.read() as session:
                row = _owned(session, caller, upload_id)
            if row.touched_at + ttl_s < store.clock():
                raise Gone(EXPIRED)
            if store.objects is None and os.fstat(file.fileno()).st_size < row.offset_bytes:
                raise Gone("the upload's bytes are lost; start it anew")
            yield row, file
    except FileNotFoundError:
        raise Gone("the upload was handed in, or its bytes are lost; start it anew") from None


@contextmanager
def _locked(path: Path, wait_s: float = 0.0) -> Iterator[FileIO]:
    """The file, open and locked against other requests, in this process and in others. Raises Locked."""
    give_up_at = time.monotonic() + wait_s
    with path.open("r+b", buffering=0) as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up_at:
                    raise Locked("another request is writing to this upload; ask for its offset again soon") from None
                time.sleep(0.02)
        yield file


def _owned(session: Session, caller: Caller, upload_id: str) -> Upload:
    row = session.get(Upload, upload_id)
    if row is None or caller.id != (row.device_id if caller.kind == "device" else row.person_id):
        raise NotFound(f"this {caller.kind} has no such upload; start it anew")
    return row


def _make_room(store: Store, session: Session, caller: Caller, now: float, ttl_s: float) -> None:
    """See that the caller has fewer than MAX_OPEN uploads; rows whose bytes were handed in meanwhile go."""
    lying = []
    whose = Upload.device_id if caller.kind == "device" else Upload.person_id
    for row in session.scalars(select(Upload).where(whose == caller.id).order_by(Upload.touched_at, Upload.id)):
        if row.sha256 is not None and not _lies(store, session, row):
            session.delete(row)
        elif row.touched_at + ttl_s >= now:
            lying.append(row)
    if len(lying) < MAX_OPEN:
        return
    for row in lying:
        path = path_of(store, row.id)
        if row.touched_at + IDLE_S <= now and _is_free(path):
            session.delete(row)
            path.unlink(missing_ok=True)
            return
    raise TooMany(f"this {caller.kind} has {MAX_OPEN} uploads already; hand them in or delete one")


def _lies(store: Store, session: Session, row: Upload) -> bool:
    """Whether a complete upload still waits to be handed in."""
    if store.objects is not None:
        return bool(upload_pieces.of(session, row.id))
    return path_of(store, row.id).is_file()


def _is_free(path: Path) -> bool:
    """Whether no request writes to the upload: a slow one moves its row seldom."""
    try:
        with _locked(path):
            return True
    except FileNotFoundError:
        return True
    except Locked:
        return False


def _drop_old_copies(store: Store, ttl_s: float) -> None:
    """A machine without a worker has nobody else who does; what counts is in the S3-compatible store."""
    before = time.time() - ttl_s
    for path in (store.folder / "uploads").iterdir():
        with suppress(OSError):  # a folder, which is a worker's; or it went at this moment
            if path.stat().st_mtime < before:
                path.unlink()


def _forget(store: Store, upload_id: str) -> None:
    """The row first: `files.collect` finds bytes without a row."""
    with store.begin() as session:
        row = session.get(Upload, upload_id)
        if row is not None:
            session.delete(row)
    path_of(store, upload_id).unlink(missing_ok=True)
    if store.objects is not None:
        with suppress(StorageError):  # collected, as they have no rows any more
            upload_pieces.forget(store, store.objects, upload_id)


def _progress(row: Upload, ttl_s: float) -> Progress:
    return Progress(row.id, row.offset_bytes, row.length_bytes, row.upload_metadata, row.touched_at + ttl_s, row.sha256)


def _disk_error(store: Store, error: OSError) -> StorageError:
    folder = store.folder / "uploads"
    return StorageError(f"{folder}: cannot be written ({error.strerror}); free space there and send the rest again")
