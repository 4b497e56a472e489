"""Unpacking a zip of pictures and captions that may be made to harm."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

from fedflow.datasets.intake import Intake, Limits, Taken
from fedflow.datasets.records import shown
from fedflow.errors import DatasetError

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The others' decoders may take gigabytes of memory."""
ENCRYPTED = 0x1
DIRECTORY_BYTES_PER_FILE = 512
"""More of the zip's directory is not read, whose entries take memory before the first of them is looked at."""

END = b"PK\x05\x06"
END_BYTES = 22
MOST_COMMENT_BYTES = 0xFFFF
END_64_LOCATOR = b"PK\x06\x07"
END_64_LOCATOR_BYTES = 20
LOCAL_HEADER_BYTES = 30
BROKEN = "is no zip, or broken; pack the pictures anew"


def take_zip(archive: Path | IO[bytes], folder: Path, limits: Limits | None = None) -> Taken:
    """Take the pictures and captions of a zip into `folder`; streams, and all of them or none.

    `archive` is a file, or an open one that can seek. Hidden entries and `__MACOSX` are passed over; what is neither
    picture nor caption is left out and told. Raises DatasetError for links, encrypted entries, names that lead out of
    the folder or stand there twice, entries that share bytes, a wrong checksum, and above a limit; StorageError where
    the disk is full. The folder is then as it was.
    """
    limits = limits or Limits()
    try:
        if not isinstance(archive, Path):
            return _take(archive, folder, limits)
        with _open(archive) as file:
            return _take(file, folder, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, UnicodeDecodeError) as error:
        raise DatasetError(f"the zip {BROKEN} ({' '.join(str(error).split())})") from error
    except NotImplementedError as error:
        raise DatasetError(f"the zip is packed in an unusual way ({error}); pack it with the usual method") from error


def _open(archive: Path) -> IO[bytes]:
    try:
        return open(archive, "rb")
    except OSError as error:
        raise DatasetError(f"{shown(archive)}: cannot be read ({error.strerror}); check the path") from error


def _take(file: IO[bytes], folder: Path, limits: Limits) -> Taken:
    size_bytes = file.seek(0, os.SEEK_END)
    if _directory_bytes(file, size_bytes) > DIRECTORY_BYTES_PER_FILE * limits.files:
        raise DatasetError(f"the zip holds more than {limits.files} files; pack it in several")
    with zipfile.ZipFile(file) as zipped, Intake(folder, limits) as intake:
        entries = zipped.infolist()
        if len(entries) > 2 * limits.files:  # folders and what is passed over are entries too
            raise DatasetError(f"the zip holds more than {limits.files} files; pack it in several")
        _check_apart(entries, zipped.start_dir)
        wanted = [(entry, place) for entry in entries if (place := _place(entry, intake)) is not None]
        promised = sum(entry.file_size for entry, _ in wanted)
        _check_ratio(promised, size_bytes, limits)
        if promised > limits.total_bytes:
            raise DatasetError(f"the zip holds more than {limits.total_bytes // 1_000_000} MB; pack it in several")
        intake.check_room(promised)
        for entry, place in wanted:
            with zipped.open(entry) as stream:  # ends at the promised size, and then compares the checksum
                taken_bytes = intake.add(place, stream)
            if taken_bytes != entry.file_size:
                raise DatasetError(f"the zip {BROKEN} ({place} is shorter than promised)")
        return intake.finish()


def _place(entry: zipfile.ZipInfo, intake: Intake) -> Path | None:
    """Where an entry goes; None where it is a folder or left out. Raises DatasetError where it is not taken."""
    if entry.orig_filename.endswith(("/", "\\")):
        return None
    place = intake.wanted(entry.orig_filename)
    if place is None:
        return None
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise DatasetError(f"{place}: is a link or a device and not a file; pack the file itself")
    if entry.flag_bits & ENCRYPTED:
        raise DatasetError(f"{place}: is encrypted; pack the pictures without a password")
    if entry.compress_type not in METHODS:
        raise DatasetError(f"{place}: is packed by method {entry.compress_type}; pack it by the usual one, deflate")
    return place


def _check_ratio(promised_bytes: int, size_bytes: int, limits: Limits) -> None:
    if promised_bytes > limits.small_bytes and promised_bytes > limits.ratio * size_bytes:
        raise DatasetError(
            f"the zip would grow from {size_bytes / 1e6:.1f} MB to {promised_bytes / 1e6:.0f} MB, which pictures do "
            "not; pack them anew"
        )


def _check_apart(entries: list[zipfile.ZipInfo], end: int) -> None:
    """Entries that share bytes make a small file large without any one of them being suspicious (Fifield, 2019)."""
    before = end
    for entry in sorted(entries, key=lambda entry: entry.header_offset, reverse=True):
        if entry.header_offset < 0 or entry.header_offset + LOCAL_HEADER_BYTES + entry.compress_size > before:
            raise DatasetError(f"the zip {BROKEN} (entries share bytes, or lie outside)")
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
