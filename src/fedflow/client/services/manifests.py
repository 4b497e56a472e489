"""Loose files that come as one, after each other: what their manifest says, and the one cut along it.

A manifest is JSON, a list of [name with folders, length in bytes, time of change] in the order of the bytes. A browser
makes it, so nothing in it is believed.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO

from fedflow.errors import MistakeError

MOST_BYTES = 9_000_000
"""How long a manifest may be; a form holds it."""
TOO_LONG = "the names of the files are too long together; bring the files in several parts"
UNFIT = "the list of the files does not fit what was sent; load the page anew, then choose the files again"


@dataclass(frozen=True)
class Part:
    """One of the files."""

    name: str
    length_bytes: int


@dataclass(frozen=True)
class Cut:
    """The files of an arrived one, each a name and a stream that is good until the next is asked for."""

    parts: list[Part]
    file: FileIO

    @property
    def first(self) -> str:
        """The first file's name; '' where there is none."""
        return self.parts[0].name if self.parts else ""

    @property
    def total_bytes(self) -> int:
        return sum(part.length_bytes for part in self.parts)

    def streams(self) -> Iterator[tuple[str, IO[bytes]]]:
        """All of them in order."""
        begin = 0
        for part in self.parts:
            yield part.name, io.BufferedReader(_Window(self.file, begin, part.length_bytes))
            begin += part.length_bytes


def read(manifest: str, length_bytes: int) -> list[Part]:
    """The files that a manifest names. Raises MistakeError where they do not fill `length_bytes` exactly."""
    if len(manifest.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise MistakeError(TOO_LONG)
    try:
        parts = [_part(each) for each in json.loads(manifest)]
    except (ValueError, TypeError, RecursionError):
        raise MistakeError(UNFIT) from None
    if sum(part.length_bytes for part in parts) != length_bytes:
        raise MistakeError(UNFIT)
    return parts


@contextmanager
def cut(place: Path, manifest: str) -> Iterator[Cut]:
    """The file at `place`, cut along its manifest. Raises MistakeError where that is not of a file of this length."""
    with open(place, "rb", buffering=0) as file:
        yield Cut(read(manifest, os.fstat(file.fileno()).st_size), file)


def _part(told: object) -> Part:
    """Raises ValueError for what is none."""
    match told:
        case [str() as name, int() as length_bytes, int() | float()] if type(length_bytes) is int and length_bytes >= 0:
            return Part(name, length_bytes)
    raise ValueError(told)


class _Window(io.RawIOBase):
    """So many bytes of an open file, from one on."""

    def __init__(self, file: FileIO, begin: int, length_bytes: int) -> None:
        self._file, self._at, self._end = file, begin, begin + length_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._file.seek(self._at)
        count = self._file.readinto(memoryview(buffer)[: self._end - self._at])
        self._at += count
        return count
