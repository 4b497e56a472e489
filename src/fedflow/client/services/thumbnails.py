"""Small pictures, made once and kept in the app's folder up to a size."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from pathlib import Path

from fedflow.client.store import Store
from fedflow.datasets.thumbnails import thumbnail
from fedflow.errors import StorageError
from fedflow.storage import write_atomic

FOLDER = "thumbnails"
MOST_BYTES = 1_000_000_000
"""About 100,000 pictures."""
LOOK_EVERY = 500
"""New thumbnails between two looks at how much room all of them take."""

_lock = threading.Lock()
_made = 0


def small(store: Store, picture: Path) -> bytes:
    """The thumbnail of a picture as it is now (`datasets.thumbnails`). Raises PictureError."""
    try:
        status = picture.stat()
        known = f"{picture}\0{status.st_size}\0{status.st_mtime_ns}"
    except OSError:
        return thumbnail(picture)  # which says what is wrong
    name = hashlib.sha256(known.encode("utf-8", "surrogateescape")).hexdigest()
    place = store.folder / FOLDER / name[:2] / f"{name}.webp"
    with contextlib.suppress(OSError):
        return place.read_bytes()
    content = thumbnail(picture)
    with contextlib.suppress(StorageError):  # a full disk costs time, not pictures
        write_atomic(place, content)
    _count(store.folder / FOLDER)
    return content


def prune(folder: Path, most_bytes: int) -> None:
    """Remove the thumbnails made longest ago until the rest takes four fifths of `most_bytes`, if all take more."""
    found = []
    for path in folder.glob("*/*.webp"):
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size, path))
    total = sum(size for _, size, _ in found)
    if total <= most_bytes:
        return
    for _, size, path in sorted(found):
        if total <= most_bytes * 4 // 5:
            break
        with contextlib.suppress(OSError):
            os.unlink(path)
            total -= size


def _count(folder: Path) -> None:
    global _made  # noqa: PLW0603 - a count of this process
    with _lock:
        _made += 1
        looks = _made % LOOK_EVERY == 0
    if looks:
        prune(folder, MOST_BYTES)
