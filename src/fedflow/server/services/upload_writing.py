"""One request's bytes on their way into an upload's file, and the turns that such requests take."""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from sqlalchemy import bindparam, or_, select, update

from fedflow.server.database.people import Person
from fedflow.server.database.tables import Device, Upload, UploadPiece
from fedflow.server.errors import ApiError, Conflict, Gone, TooLarge, Unauthorised
from fedflow.server.services import upload_pieces
from fedflow.server.store import Store
from fedflow.storage import sha256_file, sync_folder

CHECKSUMS = ("sha256", "sha1")
READ_BYTES = 1024 * 1024
# A crash of this process costs what came in so long at most; a cut of the connection costs nothing that has arrived.
CHECKPOINT_S = 5.0
# Whoever brings more than this to the disk takes turns: side by side, fifty of them let every commit wait for seconds.
LARGE_BYTES = 4 * 1024 * 1024
AT_DISK = threading.BoundedSemaphore(2)
# Pieces are taken in by so many requests at a time: half of the cores is left to everybody else.
TAKING_IN = threading.BoundedSemaphore(max(1, (os.cpu_count() or 1) // 2))

MOVE = (
    update(Upload)
    .where(
        Upload.id == bindparam("upload"),
        Upload.offset_bytes == bindparam("before"),
        or_(
            select(Device.id).where(Device.id == Upload.device_id, Device.revoked_at.is_(None)).exists(),
            select(Person.id)
            .where(Person.id == Upload.person_id, Person.disabled_at.is_(None), Person.deleted_at.is_(None))
            .exists(),
        ),
    )
    .returning(Upload.id)
)
"""What an upload's row becomes, unless it is gone or at another byte, or whoever sends it was shut out."""

EXPIRED = "the upload has expired; start it anew"


class OtherBytes(ApiError):  # noqa: N818 - it is the bytes that are wrong
    """The bytes are not those that the checksum is of; none of them was kept."""

    status = 460
    code = "checksum_mismatch"


class CutOff(Exception):  # noqa: N818 - what happened
    """What a body's `read` raises where the connection broke. Never leaves `Writing`."""


@dataclass(frozen=True)
class Body:
    """A request's body: `read(n)` gives up to n bytes, b"" at its end. `length_bytes` is None where nobody said it."""

    read: Callable[[int], bytes]
    length_bytes: int | None


@dataclass(frozen=True)
class Checksum:
    """What the bytes of one request must hash to: `algorithm` of CHECKSUMS."""

    algorithm: str
    digest: bytes


class Writing:
    """One request's bytes on their way into an upload's file."""

    def __init__(self, store: Store, row: Upload, file: FileIO) -> None:
        self.store = store
        self.row = row
        self.file = file
        self.position = row.offset_bytes
        self.kept_at = time.monotonic()
        file.truncate(self.position)
        file.seek(self.position)

    def take_in(self, body: Body, checksum: Checksum | None) -> bool:
        """Write the body's bytes into the file. Returns False where the body broke off."""
        hasher = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
        expected = None if body.length_bytes is None else self.position + body.length_bytes
        whole = True
        try:
            while chunk := body.read(READ_BYTES):
                if self.position + len(chunk) > self.row.length_bytes:
                    self._drop()
                    raise TooLarge(f"the body has more bytes than the upload's {self.row.length_bytes}; send those")
                with TAKING_IN:
                    self._write(chunk)
                    if hasher is not None:
                        hasher.update(chunk)
                if hasher is None and self._is_due():
                    self.keep()
            whole = expected is None or self.position == expected
        except CutOff:
            whole = False
        if checksum is not None and hasher is not None:
            if not whole:
                self._drop()
            elif not hmac.compare_digest(hasher.digest(), checksum.digest):
                self._drop()
                raise OtherBytes(f"the bytes have another {checksum.algorithm}; none were kept, send them again")
        return whole

    def keep(self) -> None:
        """Bring what was written to the disk or into the S3-compatible store, and then into the row.

        Raises Conflict where another request, at another server, has moved the upload on.
        """
        before = self.row.offset_bytes
        if self.position == before:
            return
        sent, sha256 = self._safe(before)
        self.row.offset_bytes, self.row.sha256, self.row.touched_at = self.position, sha256, self.store.clock()
        values = {"offset_bytes": self.position, "sha256": sha256, "touched_at": self.row.touched_at}
        with self.store.begin() as session:
            moved = session.scalar(MOVE.values(values), {"upload": self.row.id, "before": before})
            if moved is not None:
                session.add_all(sent)
        if moved is None:
            self._refuse_the_shut_out()
            self._refuse_the_overtaken()
            raise Gone(EXPIRED)
        self.kept_at = time.monotonic()

    def _safe(self, before: int) -> tuple[list[UploadPiece], str | None]:
        """Make what was written survive a crash; its pieces, where there are any, and the hash of a whole upload."""
        # The hash goes with the last byte: an upload is complete and hashed, or neither.
        is_whole = self.position == self.row.length_bytes
        path, objects = path_of(self.store, self.row.id), self.store.objects
        with AT_DISK if self.position - before > LARGE_BYTES else nullcontext():
            if objects is None:
                os.fsync(self.file.fileno())
                sent = []
            else:
                sent = upload_pieces.send(objects, self.row.id, self.file, before, self.position)
        if objects is None and before == 0:
            sync_folder(self.store.folder / "uploads")
        if not is_whole:
            return sent, None
        with AT_DISK if self.position > LARGE_BYTES else nullcontext():
            if objects is None:
                return sent, sha256_file(path)
            with self.store.read() as session:
                earlier = upload_pieces.of(session, self.row.id)
            if [each for each in earlier if each.offset_bytes >= before]:
                self._refuse_the_overtaken()
            return sent, upload_pieces.bring(objects, [*earlier, *sent], path)

    def _is_due(self) -> bool:
        """Whether what was written is to be kept before more comes."""
        unsent = self.position - self.row.offset_bytes
        is_piece = self.store.objects is not None and unsent >= upload_pieces.PIECE_BYTES
        return is_piece or time.monotonic() - self.kept_at >= CHECKPOINT_S

    def _refuse_the_overtaken(self) -> None:
        with self.store.read() as session:
            row = session.get(Upload, self.row.id)
        if row is not None:
            raise Conflict(f"another request wrote to this upload; it is at byte {row.offset_bytes}, go on from there")

    def _refuse_the_shut_out(self) -> None:
        with self.store.read() as session:
            if self.row.device_id is None:
                person = session.get_one(Person, self.row.person_id)
                if person.disabled_at is not None or person.deleted_at is not None:
                    raise Unauthorised("the account of this token was closed; ask an administrator")
            elif session.get_one(Device, self.row.device_id).revoked_at is not None:
                raise Unauthorised("the device was revoked; ask the coordinator for a new join code")

    def _write(self, chunk: bytes) -> None:
        left = memoryview(chunk)
        while left:
            written = self.file.write(left)
            self.position += written
            left = left[written:]

    def _drop(self) -> None:
        self.file.truncate(self.row.offset_bytes)
        self.position = self.row.offset_bytes


def path_of(store: Store, upload_id: str) -> Path:
    """Where an upload's bytes are."""
    return store.folder / "uploads" / upload_id
