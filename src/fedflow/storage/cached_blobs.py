"""Blobs in an S3-compatible store, with a folder in front that holds copies of what was used lately."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fedflow.errors import StorageError
from fedflow.storage.atomic import write_atomic
from fedflow.storage.blobs import SHA256, Blobs, Stored, part_of, sha256_file
from fedflow.storage.objects import Objects

FOLDER = "blobs"
IN_USE_S = 600.0
"""A copy used so lately is not dropped: somebody may be about to open it."""

LOOKED_AT_EACH = 10
"""The folder is looked over when a tenth of what it may hold was added."""


class CachedBlobs:
    """Blobs as objects `blobs/ab/abcd...`; several processes may share `cache`, which may be removed at any time.

    The store alone says what is there. A copy is checked at reading, and fetched anew where it is damaged.
    """

    def __init__(self, objects: Objects, cache: Path, most_bytes: int) -> None:
        self.objects = objects
        self._cache = Blobs(cache)
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}
        self._added_bytes = most_bytes  # the first look is at the first addition

    def put(self, content: bytes) -> str:
        """Keep `content` and return its SHA-256."""
        digest = hashlib.sha256(content).hexdigest()
        self._send(digest, content, len(content))
        self._make_room(len(content))
        return self._cache.put(content)

    def copy(self, source: Path) -> str:
        """Keep a copy of a file and return its SHA-256. Raises StorageError where it changes meanwhile."""
        self._make_room(_size_of(source))
        digest = self._cache.copy(source)  # the copy is what is sent: nobody writes it
        path = self._cache.place(digest)
        self._send(digest, path, _size_of(path))
        return digest

    def adopt(self, path: Path, digest: str) -> None:
        """Move a finished file of the cache's disk in as the blob `digest`, which the caller has checked."""
        size_bytes = _size_of(path)
        self._send(digest, path, size_bytes)
        self._make_room(size_bytes)
        self._cache.adopt(path, digest)

    def get(self, digest: str) -> Path:
        """A blob's file, its content checked. Raises StorageError where it is missing or damaged."""
        with suppress(StorageError):  # it went at this moment
            path = self.local(digest)
            if sha256_file(path) == digest:
                return path
            path.unlink(missing_ok=True)
        return self.local(digest)

    def local(self, digest: str) -> Path:
        """A blob's file, for one who checks what it reads. Raises StorageError where it is missing."""
        path = self._cache.place(digest)
        try:
            os.utime(path)
        except FileNotFoundError:
            self._fetch(digest, path)
        return path

    def part(self, digest: str, start: int, length: int) -> bytes:
        """So many bytes of a blob, fewer at its end; where there is no copy, nothing else of it is fetched."""
        path = self._cache.place(digest)
        if path.is_file():
            with suppress(StorageError):  # it went at this moment
                return part_of(path, start, length)
        return self.objects.part(_key(digest), start, length)

    def size(self, digest: str) -> int:
        """What a blob weighs in bytes. Raises StorageError where it is missing."""
        size_bytes = self.objects.size(_key(digest))
        if size_bytes is None:
            raise StorageError(f"{self.objects.url}/{_key(digest)}: blob is missing; send it again")
        return size_bytes

    def __contains__(self, digest: str) -> bool:
        return self.objects.size(_key(digest)) is not None

    def remove(self, *digests: str) -> None:
        """Remove blobs; one that is not there is no fault."""
        self.objects.remove(map(_key, digests))
        self._cache.remove(*digests)

    def listed(self) -> Iterator[Stored]:
        """All blobs that are in the store."""
        for each in self.objects.listed(FOLDER):
            name = each.key.rpartition("/")[2]
            if SHA256.fullmatch(name):
                yield Stored(name, each.size_bytes, each.changed_at)

    def tidy(self, before: float) -> None:
        """Drop parts of writes that died, older than `before` in seconds since 1970, and copies beyond the limit."""
        self._cache.tidy(before)
        self._drop_oldest()

    def check(self) -> None:
        """Raise StorageError where nothing can be written."""
        self.objects.check()
        self._cache.check()

    def _send(self, digest: str, content: bytes | Path, size_bytes: int) -> None:
        if self.objects.size(_key(digest)) != size_bytes:
            self.objects.put(_key(digest), content)

    def _fetch(self, digest: str, path: Path) -> None:
        """Have a copy; many that want the same one at once fetch it once."""

        def write(file: BinaryIO) -> None:
            if self.objects.fetch(_key(digest), file) != digest:
                where = f"{self.objects.url}/{_key(digest)}"
                raise StorageError(f"{where}: blob is damaged; remove it and run the step that writes it again")

        with self._one_at_a_time(digest):
            if not path.is_file():
                self._make_room(self.size(digest))
                write_atomic(path, write)

    @contextmanager
    def _one_at_a_time(self, digest: str) -> Iterator[None]:
        with self._lock:
            turn = self._fetching.setdefault(digest, threading.Lock())
        try:
            with turn:
                yield
        finally:
            with self._lock:
                if not turn.locked():
                    self._fetching.pop(digest, None)

    def _make_room(self, size_bytes: int) -> None:
        with self._lock:
            self._added_bytes += size_bytes
            due = self._added_bytes >= self._most_bytes // LOOKED_AT_EACH
            if due:
                self._added_bytes = 0
        if due:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Drop the copies that were not used for longest, until a tenth of what the cache may hold is free."""
        copies = sorted(self._cache.listed(), key=lambda each: each.written_at)  # moved on at each use
        too_many = sum(each.size_bytes for each in copies) - self._most_bytes * (LOOKED_AT_EACH - 1) // LOOKED_AT_EACH
        for each in copies:
            if too_many <= 0 or each.written_at > time.time() - IN_USE_S:
                return
            self._cache.remove(each.digest)
            too_many -= each.size_bytes


def _key(digest: str) -> str:
    if not SHA256.fullmatch(digest):
        raise StorageError(f"{digest!r} is not a SHA-256 of 64 hexadecimal digits; check where it came from")
    return f"{FOLDER}/{digest[:2]}/{digest}"


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); check the path") from error
