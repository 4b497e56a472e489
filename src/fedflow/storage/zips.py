"""Zips that may be made to harm: what all of them are looked at for before anything of them is unpacked."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from typing import IO

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The others' decoders may take gigabytes of memory."""
ENCRYPTED = 0x1
DIRECTORY_BYTES_PER_ENTRY = 256
"""More of the zip's directory is not read, whose entries take memory before the first of them is looked at."""

BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08", b"PK00PK\x03\x04")
"""A file first, none in an empty one, and the marks of one that was or may have been split (APPNOTE 4.3.7, 8.5.3)."""
END = b"PK\x05\x06"
END_BYTES = 22
MOST_COMMENT_BYTES = 0xFFFF
END_64_LOCATOR = b"PK\x06\x07"
END_64_LOCATOR_BYTES = 20
LOCAL_HEADER_BYTES = 30


class TooManyEntriesError(Exception):
    """A zip has more entries than are taken."""


def open_zip(file: IO[bytes], most_entries: int) -> zipfile.ZipFile:
    """The zip in an open file that can seek.

    Raises TooManyEntriesError, and BadZipFile for what is no zip, is broken, or has entries that share bytes.
    """
    if _directory_bytes(file, file.seek(0, os.SEEK_END)) > DIRECTORY_BYTES_PER_ENTRY * most_entries:
        raise TooManyEntriesError
    zipped = zipfile.ZipFile(file)
    if len(zipped.infolist()) > most_entries:
        raise TooManyEntriesError
    _check_apart(zipped.infolist(), zipped.start_dir)
    return zipped


def begins_as_zip(beginning: bytes) -> bool:
    """Whether a file that begins so may be a zip."""
    return beginning.startswith(BEGINNINGS)


def is_plain(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a file, and neither a link nor a device."""
    return stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG)


def is_encrypted(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is packed with a password."""
    return bool(entry.flag_bits & ENCRYPTED)


def _check_apart(entries: list[zipfile.ZipInfo], end: int) -> None:
    """Entries that share bytes make a small file large without any one of them being suspicious (Fifield, 2019)."""
    before = end
    for entry in sorted(entries, key=lambda entry: entry.header_offset, reverse=True):
        if entry.header_offset < 0 or entry.header_offset + LOCAL_HEADER_BYTES + entry.compress_size > before:
            raise zipfile.BadZipFile("entries share bytes, or lie outside")
        before = entry.header_offset


def _directory_bytes(file: IO[bytes], size_bytes: int) -> int:
    """The largest size of the directory that any record at the zip's end promises."""
    start = max(0, size_bytes - END_BYTES - MOST_COMMENT_BYTES)
    file.seek(start)
    tail = file.read()
    most, at = 0, tail.find(END)
    while at >= 0:
        if at + END_BYTES <= len(tail):
            most = max(most, _directory_bytes_64(file, start + at) or struct.unpack_from("<L", tail, at + 12)[0])
        at = tail.find(END, at + 1)
    return most


def _directory_bytes_64(file: IO[bytes], end: int) -> int:
    """What a zip of over 4 GB says of its directory in a record before its end; 0 where there is none."""
    if end < END_64_LOCATOR_BYTES:
        return 0
    file.seek(end - END_64_LOCATOR_BYTES)
    if file.read(4) != END_64_LOCATOR:
        return 0
    file.seek(max(0, end - END_64_LOCATOR_BYTES - 56))
    record = file.read(56)
    return int(struct.unpack_from("<Q", record, 40)[0]) if record[:4] == b"PK\x06\x06" else 0
