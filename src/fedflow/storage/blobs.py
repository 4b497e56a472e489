"""Content-addressed files: a blob's name is the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from fedflow.errors import StorageError
from fedflow.storage.atomic import move_atomic, write_atomic

SHA256 = re.compile(r"[0-9a-f]{64}")


def sha256_file(path: Path) -> str:
    """SHA-256 of the file's bytes, 64 hexadecimal digits. Raises StorageError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise StorageError(f"{path}: is not there; check the path") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); check its permission and the disk") from error


class Blobs:
    """Blobs in a folder: `folder/ab/abcd...`, each written once and checked at every reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes) -> str:
        """Keep `content` and return its SHA-256; the same content again costs no space, a damaged copy is replaced."""
        digest = hashlib.sha256(content).hexdigest()
        path = self.place(digest)
        if not path.is_file() or sha256_file(path) != digest:
            write_atomic(path, content)
        return digest

    def adopt(self, path: Path, digest: str) -> None:
        """Move a finished file of the same disk in as the blob `digest`, which the caller has checked."""
        target = self.place(digest)
        if target.is_file() and sha256_file(target) == digest:
            path.unlink()
            return
        move_atomic(path, target)

    def get(self, digest: str) -> Path:
        """The file of a blob, its content checked. Raises StorageError where it is missing or damaged."""
        path = self.place(digest)
        if not path.is_file():
            raise StorageError(f"{path}: blob is missing; run the step that writes it again")
        if sha256_file(path) != digest:
            raise StorageError(f"{path}: blob is damaged; remove it and run the step that writes it again")
        return path

    def __contains__(self, digest: str) -> bool:
        return self.place(digest).is_file()

    def place(self, digest: str) -> Path:
        """Where a blob lies, whether it is there or not; its content is not looked at."""
        if not SHA256.fullmatch(digest):
            raise StorageError(f"{digest!r} is not a SHA-256 of 64 hexadecimal digits; check where it came from")
        return self.folder / digest[:2] / digest
