"""Changes of a dataset's files: one at a time, and whole or not at all, also where their process is killed."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sqlalchemy import select

from fedflow.client.database.tables import Dataset, Picture
from fedflow.client.store import Store
from fedflow.datasets.caption_writing import caption_target, write_caption
from fedflow.errors import DatasetError, FedFlowError, MistakeError, StorageError
from fedflow.storage import read_json, sync_folder, write_json

LOCKS, JOURNALS = "locks", "journals"
LEFT_OUT = ".left-out"
"""The hidden folder of a dataset where nothing reads files."""
PATIENCE_S = 10.0

log = logging.getLogger("fedflow.client")


@dataclass(frozen=True)
class Journal:
    """What a change does, by paths in the dataset's folder.

    `rows` are the captions that the pictures' rows have once it is made, None for a picture that has no row then;
    `captions` those that their files had before, empty where there was none; `moves` say which file goes where.
    """

    rows: Mapping[str, str | None]
    captions: Mapping[str, str] = field(default_factory=dict)
    moves: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def alone(store: Store, dataset: Dataset) -> Iterator[None]:
    """Nobody else changes the dataset's files meanwhile, in this process or another.

    Of a change that has begun here, the files are as they were unless its rows were written: the block's end sees to
    it, and where the process was killed, the next one that comes.

    Raises MistakeError where somebody changes them for longer than a page can wait; DatasetError where the folder is
    away, and StorageError where it cannot be written, while a change is to be put back.
    """
    place = store.folder / LOCKS / dataset.id
    place.parent.mkdir(exist_ok=True)
    ends = time.monotonic() + PATIENCE_S
    with place.open("w", encoding="ascii") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise MistakeError("the dataset is being changed right now; try again when that is done") from None
                time.sleep(0.02)
        _settle(store, dataset)
        try:
            yield
        finally:
            _settle(store, dataset)


def begin(store: Store, dataset: Dataset, journal: Journal) -> None:
    """Note a change before its first file is touched; by who is `alone`. Raises StorageError."""
    write_json(_place(store, dataset), asdict(journal))


def put(picture: Path, caption: str) -> None:
    """Write a picture's caption, or remove it where it is empty. Raises as `write_caption`."""
    if caption:
        write_caption(picture, caption)
    else:
        caption_target(picture).unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Move a file to where none is; the folders above are made. Raises StorageError."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(source, target)
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({error.strerror}); check its permission") from error


def settle(store: Store) -> None:
    """Settle what killed processes have left of changes; where a folder is away, whoever changes it next does."""
    for place in (store.folder / JOURNALS).glob("*.json"):
        with store.read() as session:
            dataset = session.get(Dataset, place.stem)
        if dataset is None:
            place.unlink()
            continue
        try:
            with alone(store, dataset):
                pass
        except FedFlowError as error:
            log.warning("a change of dataset %s is not put back yet: %s", dataset.name, error)


def _settle(store: Store, dataset: Dataset) -> None:
    """Put a change's files back unless its rows were written, and forget it."""
    place = _place(store, dataset)
    if not place.is_file():
        return
    journal = Journal(**read_json(place))
    query = select(Picture.path, Picture.caption).where(Picture.dataset_id == dataset.id)
    with store.read() as session:
        now = {row.path: row.caption for row in session.execute(query)}
    if any(now.get(path) != caption for path, caption in journal.rows.items()):
        _put_back(Path(dataset.folder), journal)
    place.unlink()
    sync_folder(place.parent)  # one that comes back when the power fails would undo a part of what came after it


def _put_back(folder: Path, journal: Journal) -> None:
    if not folder.is_dir():  # else a disk that is away would pass for files that were not changed
        raise DatasetError(f"{folder}: is not there; name a folder of pictures")
    _put_captions_back(folder, journal)
    for source, target in journal.moves.items():
        if os.path.lexists(folder / target) and not os.path.lexists(folder / source):
            move(folder / target, folder / source)
    _put_captions_back(folder, journal)  # one whose place a file had taken that was moved back too early


def _put_captions_back(folder: Path, journal: Journal) -> None:
    for path, before in journal.captions.items():
        if _is_written(folder / path, journal.rows[path] or ""):  # what somebody else wrote meanwhile stays theirs
            put(folder / path, before)


def remove_empty(folder: Path, moved: Iterable[str]) -> None:
    """Remove the folders that files were moved aside into, where nothing is left in them."""
    left = {each for name in moved for each in Path(name).parents if each.parts}
    for each in sorted(left, key=lambda path: len(path.parts), reverse=True):
        with contextlib.suppress(OSError):  # what else is left out lies there
            (folder / each).rmdir()


def _is_written(picture: Path, caption: str) -> bool:
    try:
        return caption_target(picture).read_text(encoding="utf-8").split() == caption.split()
    except FileNotFoundError:
        return not caption
    except (OSError, UnicodeDecodeError):
        return False


def _place(store: Store, dataset: Dataset) -> Path:
    return store.folder / JOURNALS / f"{dataset.id}.json"
