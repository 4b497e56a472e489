"""A zip from a stranger, unpacked: only names that a model has, and never more bytes than it may have."""

from __future__ import annotations

import re
import shutil
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from fedflow.errors import ModelError, StorageError
from fedflow.models.pickles import is_pickle
from fedflow.storage.zips import METHODS, TooManyEntriesError, is_encrypted, is_plain, open_zip

PLAIN_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
SUFFIXES = frozenset({".safetensors", ".json", ".txt"})
MOST_FILES = 1000
DEEPEST = 4
MOST_RATIO, SMALL_BYTES = 10, 16_000_000
"""Weights hardly shrink: what unpacks to more than so many times its size, beyond what is small anyway, is a bomb."""

CHUNK_BYTES = 1024 * 1024

BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    EOFError,
    ValueError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
)
"""What unpacking raises over an archive; the last three where one name is that of a file and of a folder."""


def unpack(archive: Path, folder: Path, most_bytes: int) -> Path:
    """Unpack the files of a model into `folder`; returns the folder in it that holds them. Others are left packed.

    Raises ModelError, one line, for an archive that is damaged, encrypted, holds links, paths that lead out of it,
    pickled weights alone, or more than `most_bytes`; StorageError where the disk is full.
    """
    try:
        with archive.open("rb") as file, open_zip(file, MOST_FILES) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            _check(entries, archive.stat().st_size, most_bytes)
            for entry in entries:
                if _is_wanted(entry):
                    _write(opened, entry, folder / entry.filename)
    except TooManyEntriesError:
        raise ModelError(f"the archive holds more than {MOST_FILES} files; pack the model alone") from None
    except BROKEN as error:
        raise ModelError(f"the archive cannot be unpacked ({_one_line(error)}); pack a plain zip") from error
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be written ({error.strerror}); free space or choose another folder"
        ) from error
    inner = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    alone = len(inner) == 1 and not any(path.is_file() for path in folder.iterdir())
    return inner[0] if alone else folder


def _check(entries: list[zipfile.ZipInfo], packed_bytes: int, most_bytes: int) -> None:
    names = set()
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.orig_filename or len(path.parts) > DEEPEST:
            raise ModelError(f"the archive holds {entry.filename[:80]!r}, which leads elsewhere; pack the model alone")
        if not is_plain(entry):
            raise ModelError(f"the archive holds the link {entry.filename[:80]!r}; pack the files themselves")
        if is_encrypted(entry):
            raise ModelError("the archive is encrypted; pack it without a password")
        if entry.compress_type not in METHODS:
            raise ModelError(f"the archive cannot be unpacked (method {entry.compress_type}); pack a plain zip")
        if entry.filename in names:
            raise ModelError(f"the archive holds {entry.filename[:80]!r} twice; pack it again")
        names.add(entry.filename)
    whole = sum(entry.file_size for entry in entries)
    if whole > most_bytes:
        raise ModelError(f"the archive unpacks to {whole} bytes, {most_bytes} are allowed")
    if whole > MOST_RATIO * packed_bytes + SMALL_BYTES:
        raise ModelError(f"the archive unpacks to {whole} bytes from {packed_bytes}, which no weights do; refused")
    if not any(name.endswith(".safetensors") for name in names) and any(map(is_pickle, names)):
        raise ModelError("the archive holds weights as pickles alone, which can run code when they are opened; refused")


def _is_wanted(entry: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(entry.filename)
    return path.suffix in SUFFIXES and all(PLAIN_PART.fullmatch(part) for part in path.parts)


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(entry) as packed, target.open("xb") as file:
        shutil.copyfileobj(packed, file, CHUNK_BYTES)  # ends at the size that was counted, whatever is packed


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
