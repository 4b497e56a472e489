"""Unpacking a zip of pictures and captions that may be made to harm."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

from fedflow.datasets.intake import Intake, Limits, Taken
from fedflow.datasets.records import shown
from fedflow.errors import DatasetError
from fedflow.storage.zips import METHODS, TooManyEntriesError, is_encrypted, is_plain, open_zip

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
    except TooManyEntriesError:
        raise DatasetError(f"the zip holds more than {limits.files} files; pack it in several") from None
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
    # Folders and what is passed over are entries too.
    with open_zip(file, 2 * limits.files) as zipped, Intake(folder, limits) as intake:
        wanted = [(entry, place) for entry in zipped.infolist() if (place := _place(entry, intake)) is not None]
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
    if not is_plain(entry):
        raise DatasetError(f"{place}: is a link or a device and not a file; pack the file itself")
    if is_encrypted(entry):
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
