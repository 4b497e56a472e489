"""Uploads where the files are in an S3-compatible store: what was acknowledged lies there, in pieces.

A piece's object is named by its place and its content, and counts once its row is there: of two requests, at two
servers, that go on from the same byte only one moves the upload, and the other's objects are nobody's. The file in a
server's folder is a copy with holes, which is checked against the pieces before anything is made of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import BytesIO, FileIO
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fedflow.errors import StorageError
from fedflow.server.database.tables import UploadPiece
from fedflow.server.errors import Gone
from fedflow.server.store import Store
from fedflow.storage import Objects
from fedflow.storage.objects import PART_BYTES

PREFIX = "uploads"
PIECE_BYTES = PART_BYTES
"""What was written and not sent yet is never much more, and so much is held in memory for a moment."""


def send(objects: Objects, upload_id: str, file: FileIO, begin: int, end: int) -> list[UploadPiece]:
    """Bring the file's bytes from `begin` to `end` into the store; the rows of them are the caller's to add."""
    sent = []
    for offset in range(begin, end, PIECE_BYTES):
        content = _read(file, offset, min(PIECE_BYTES, end - offset))
        piece = UploadPiece(upload_id=upload_id, offset_bytes=offset, size_bytes=len(content))
        piece.sha256 = hashlib.sha256(content).hexdigest()
        objects.put(_key(piece), content)
        sent.append(piece)
    return sent


def of(session: Session, upload_id: str) -> list[UploadPiece]:
    """The pieces of an upload, in their order."""
    query = select(UploadPiece).where(UploadPiece.upload_id == upload_id).order_by(UploadPiece.offset_bytes)
    return list(session.scalars(query))


def bring(objects: Objects, pieces: list[UploadPiece], path: Path) -> str:
    """Make `path` what the pieces say, fetching those that it lacks or has otherwise; returns its SHA-256.

    Raises Gone where a piece is lost, StorageError where the store or the disk fails.
    """
    whole = hashlib.sha256()
    end = 0
    path.touch()
    with path.open("r+b", buffering=0) as file:
        for piece in pieces:
            content = _read(file, piece.offset_bytes, piece.size_bytes)
            if hashlib.sha256(content).hexdigest() != piece.sha256:
                content = _fetched(objects, piece)
                file.seek(piece.offset_bytes)
                _write(file, content)
            whole.update(content)
            end = piece.offset_bytes + piece.size_bytes
        file.truncate(end)
    return whole.hexdigest()


def forget(store: Store, objects: Objects, upload_id: str) -> None:
    """The upload was handed in, or nobody wants it: the rows go, and then the objects; those left are collected."""
    with store.begin() as session:
        session.execute(delete(UploadPiece).where(UploadPiece.upload_id == upload_id))
    objects.remove([each.key for each in objects.listed(f"{PREFIX}/{upload_id}")])


def abandoned(objects: Objects, kept: set[str], before: float) -> Iterator[str]:
    """Keys of pieces older than `before` of uploads that are not `kept`."""
    for each in objects.listed(PREFIX):
        if each.key.split("/")[1] not in kept and each.changed_at < before:
            yield each.key


def _fetched(objects: Objects, piece: UploadPiece) -> bytes:
    if objects.size(_key(piece)) is None:
        raise Gone("the upload's bytes are lost; upload the file again")
    content = BytesIO()
    if objects.fetch(_key(piece), content) != piece.sha256:
        raise StorageError(f"{objects.url}/{_key(piece)}: is damaged; remove it, and the file is uploaded again")
    return content.getvalue()


def _key(piece: UploadPiece) -> str:
    return f"{PREFIX}/{piece.upload_id}/{piece.offset_bytes:015d}-{piece.sha256}"


def _read(file: FileIO, offset: int, size: int) -> bytes:
    """So many bytes, or those that there are."""
    file.seek(offset)
    parts, lacking = [], size
    while lacking and (part := file.read(lacking)):
        parts.append(part)
        lacking -= len(part)
    return b"".join(parts)


def _write(file: FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
