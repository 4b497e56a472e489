"""Content-addressed files: a blob's name is the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from fedflow.errors import StorageError
from fedflow.storage.atomic import move_atomic, write_atomic

SHA256 = re.compile(r"[0-9a-f]{64}")
CHUNK_BYTES = 1_000_000


def sha256_file(path: Path) -> str:
    """SHA-256 of the file's bytes, 64 hexadecimal digits. Raises StorageError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise StorageError(f"{path}: is not there; check the path") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); check its permission and the disk") from error


@dataclass(frozen=True)
class Stored:
    """A blob that is there; `written_at` in seconds since 1970."""

    digest: str
    size_bytes: int
    written_at: float


class BlobStore(Protocol):
    """Where blobs are kept. What a method has written is durable when it returns.

    All raise StorageError: StoreAway where the store does not answer, and may later.
    """

    def put(self, content: bytes) -> str:
        """Keep `content` and return its SHA-256; the same content again costs no space, a damaged copy is replaced."""

    def copy(self, source: Path) -> str:
        """Keep a copy of a file and return its SHA-256. Raises StorageError where it changes meanwhile."""

    def adopt(self, path: Path, digest: str) -> None:
        """Move a finished file of the same disk in as the blob `digest`, which the caller has checked."""

    def get(self, digest: str) -> Path:
        """A blob's file, its content checked. Raises StorageError where it is missing or damaged."""

    def local(self, digest: str) -> Path:
        """A blob's file, for one who checks what it reads. Raises StorageError where it is missing."""

    def part(self, digest: str, start: int, length: int) -> bytes:
        """So many bytes of a blob, fewer at its end, for one who checks what it reads."""

    def size(self, digest: str) -> int:
        """What a blob weighs in bytes. Raises StorageError where it is missing."""

    def __contains__(self, digest: str) -> bool:
        """Whether the blob is there; its content is not looked at."""

    def remove(self, *digests: str) -> None:
        """Remove blobs; one that is not there is no fault."""

    def listed(self) -> Iterator[Stored]:
        """All blobs that are there."""

    def tidy(self, before: float) -> None:
        """Drop parts of writes that died, older than `before` in seconds since 1970."""

    def check(self) -> None:
        """Raise StorageError where nothing can be written."""

    def __hash__(self) -> int:
        """A store is itself and no other."""


class Blobs:
    """Blobs in a folder: `folder/ab/abcd...`, each written once and checked at every reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes) -> str:
        """Keep `content` and return its SHA-256; the same content again costs no space, a damaged copy is replaced."""
        digest = hashlib.sha256(content).hexdigest()
        if not self._is_whole(digest):
            write_atomic(self.place(digest), content)
        return digest

    def copy(self, source: Path) -> str:
        """Keep a copy of a file and return its SHA-256. Raises StorageError where it changes meanwhile."""
        digest = sha256_file(source)

        def copy(file: BinaryIO) -> None:
            copied = hashlib.sha256()
            with open(source, "rb") as reading:
                while chunk := reading.read(CHUNK_BYTES):
                    copied.update(chunk)
                    file.write(chunk)
            if copied.hexdigest() != digest:
                raise StorageError(f"{source}: changed while it was copied; try again when nothing writes it")

        if not self._is_whole(digest):
            write_atomic(self.place(digest), copy)
        return digest

    def adopt(self, path: Path, digest: str) -> None:
        """Move a finished file of the same disk in as the blob `digest`, which the caller has checked."""
        if self._is_whole(digest):
            path.unlink()
            return
        move_atomic(path, self.place(digest))

    def get(self, digest: str) -> Path:
        """The file of a blob, its content checked. Raises StorageError where it is missing or damaged."""
        path = self.local(digest)
        if sha256_file(path) != digest:
            raise StorageError(f"{path}: blob is damaged; remove it and run the step that writes it again")
        return path

    def local(self, digest: str) -> Path:
        """The file of a blob, for one who checks what it reads. Raises StorageError where it is missing."""
        path = self.place(digest)
        if not path.is_file():
            raise StorageError(f"{path}: blob is missing; run the step that writes it again")
        return path

    def part(self, digest: str, start: int, length: int) -> bytes:
        """So many bytes of a blob, fewer at its end, for one who checks what it reads. Raises StorageError."""
        return part_of(self.local(digest), start, length)

    def size(self, digest: str) -> int:
        """What a blob weighs in bytes. Raises StorageError where it is missing."""
        path = self.place(digest)
        try:
            return path.stat().st_size
        except FileNotFoundError as error:
            raise StorageError(f"{path}: blob is missing; send it again") from error

    def __contains__(self, digest: str) -> bool:
        return self.place(digest).is_file()

    def remove(self, *digests: str) -> None:
        """Remove blobs; one that is not there is no fault."""
        for digest in digests:
            self.place(digest).unlink(missing_ok=True)

    def listed(self) -> Iterator[Stored]:
        """All blobs that are there; one that goes meanwhile is left out."""
        for path in self.folder.glob("*/*"):
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue
            if SHA256.fullmatch(path.name):
                yield Stored(path.name, facts.st_size, facts.st_mtime)

    def tidy(self, before: float) -> None:
        """Drop parts of writes that died, older than `before` in seconds since 1970."""
        for path in self.folder.glob("*/*.partial"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise StorageError where nothing can be written."""
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                file.write(b"ready")
        except OSError as error:
            raise StorageError(f"{self.folder}: cannot be written ({error.strerror})") from error

    def place(self, digest: str) -> Path:
        """Where a blob lies, whether it is there or not; its content is not looked at."""
        if not SHA256.fullmatch(digest):
            raise StorageError(f"{digest!r} is not a SHA-256 of 64 hexadecimal digits; check where it came from")
        return self.folder / digest[:2] / digest

    def _is_whole(self, digest: str) -> bool:
        path = self.place(digest)
        return path.is_file() and sha256_file(path) == digest


def part_of(path: Path, start: int, length: int) -> bytes:
    """So many bytes of a file, fewer at its end. Raises StorageError."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); check the path") from error
