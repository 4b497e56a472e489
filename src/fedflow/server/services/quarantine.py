"""Where the bytes of refused updates lie, by name: beside the blobs, in the folder or in the S3-compatible store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from fedflow.server.store import Store

FOLDER = "quarantine"


def keep(store: Store, name: str, path: Path) -> None:
    """Keep the content of `path`, which stays. Raises StorageError."""
    if store.objects is not None:
        store.objects.put(f"{FOLDER}/{name}", path)
        return
    aside = store.folder / FOLDER / name
    aside.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.link(path, aside)


def drop(store: Store, *names: str) -> None:
    """Let the content of these go; one that is not there is no fault."""
    if store.objects is not None:
        store.objects.remove(f"{FOLDER}/{name}" for name in names)
        return
    for name in names:
        (store.folder / FOLDER / name).unlink(missing_ok=True)


def names(store: Store) -> list[str]:
    """What is kept."""
    if store.objects is not None:
        return sorted(each.key.partition("/")[2] for each in store.objects.listed(FOLDER))
    return sorted(path.name for path in (store.folder / FOLDER).iterdir())


def size_bytes(store: Store) -> int:
    """What all of it takes; what is taken away meanwhile counts for nothing."""
    if store.objects is not None:
        return sum(each.size_bytes for each in store.objects.listed(FOLDER))
    total = 0
    for path in (store.folder / FOLDER).iterdir():
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


@contextmanager
def opened(store: Store, name: str) -> Iterator[Path]:
    """The content as a file, for as long as the context lasts. Raises StorageError where it is not there any more."""
    if store.objects is None:
        yield store.folder / FOLDER / name
        return
    with TemporaryDirectory(dir=store.folder / "uploads") as scratch:
        path = Path(scratch) / name
        with path.open("wb") as file:
            store.objects.fetch(f"{FOLDER}/{name}", file)
        yield path
