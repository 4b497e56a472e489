"""Writing a file so that every reader, at any moment, finds the old one or the new one, never a part."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from fedflow.errors import StorageError

MEGABYTE = 1_000_000

NO_PERMISSION = "no permission to write there; change the permission or choose another folder"
FILE_IN_THE_WAY = "a part of its path is a file and not a folder; choose another folder"
REASONS = {
    errno.EACCES: NO_PERMISSION,
    errno.EPERM: NO_PERMISSION,
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.ENOTDIR: FILE_IN_THE_WAY,
    errno.EEXIST: FILE_IN_THE_WAY,
    errno.EISDIR: "is a folder; choose another name",
    errno.EFBIG: "larger than a file may be here; raise the limit (ulimit -f) and run the same command again",
}


def write_atomic(path: Path, data: bytes | Callable[[BinaryIO], None]) -> None:
    """Replace `path` by `data`, bytes or a function that writes them into an open file.

    The bytes go into a file of another name in the same folder (made where it is not there), reach the
    disk, and are renamed into place. Whatever stops this before the rename, Ctrl-C too, leaves the old
    `path` as it was and removes the part that was written.

    Raises StorageError where the disk is full or the place cannot be written; what `data` itself raises passes.
    """
    # The name is fixed before the file exists: an interrupt right after its creation still finds it.
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    written_bytes = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "xb") as file:
            try:
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    data(file)
                file.flush()
                os.fsync(file.fileno())
            finally:
                written_bytes = os.fstat(file.fileno()).st_size
        os.replace(partial, path)
        sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):  # it may never have come into being
            partial.unlink()
        if isinstance(error, OSError) and _is_about(error, path, partial):
            size_bytes = len(data) if isinstance(data, bytes) else None
            raise StorageError(_message(error, path, written_bytes, size_bytes)) from error
        raise


def move_atomic(source: Path, target: Path) -> None:
    """Move a file, whose bytes are brought to the disk first, to a place on the same disk.

    Raises StorageError where the place cannot be written; the source then stays.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(source, "rb") as file:
            os.fsync(file.fileno())
        os.replace(source, target)
        sync_folder(target.parent)
    except OSError as error:
        raise StorageError(_message(error, target, 0, None)) from error


def sync_folder(folder: Path) -> None:
    """Bring a new or renamed entry of the folder itself to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network and FUSE file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def _is_about(error: OSError, path: Path, partial: Path) -> bool:
    """Whether `error` comes from the place that is written; a source that cannot be read names itself."""
    ours = {str(partial), str(path), *(str(parent) for parent in path.parents)}
    return error.filename is None or str(error.filename) in ours


def _message(error: OSError, path: Path, written_bytes: int, size_bytes: int | None) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        kind = "disk full" if error.errno == errno.ENOSPC else "disk quota used up"
        again = "free space and run the same command again"
        return f"{path}: {kind} ({_need(path, written_bytes, size_bytes)}); {again}"
    known = REASONS.get(error.errno or 0)
    if known is not None:
        return f"{path}: {known}"
    return f"{path}: cannot be written ({error.strerror}); check the disk or choose another folder"


def _need(path: Path, written_bytes: int, size_bytes: int | None) -> str:
    """How much room lacks; where the full size is not known, what had been written when the room ended."""
    if size_bytes is None:
        return f"needs more than {_megabytes(written_bytes)} MB"
    return f"needs about {_megabytes(size_bytes - shutil.disk_usage(path.parent).free)} MB more"


def _megabytes(size_bytes: int) -> int:
    """Rounded up, at least 1."""
    return max(1, -(-size_bytes // MEGABYTE))
