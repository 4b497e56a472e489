"""Pictures that are left out: moved into a hidden folder of their dataset, where nothing reads them, and back."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, undefer

from fedflow.client.database.tables import Dataset, Edit, Picture
from fedflow.client.services.datasets_edits import LEAVE_OUT, alone, keep
from fedflow.client.store import Store
from fedflow.datasets.caption_writing import caption_target
from fedflow.errors import DatasetError, StorageError

ASIDE = ".left-out"


def leave_out(store: Store, dataset: Dataset, picture_ids: Collection[int]) -> int:
    """Move pictures and their captions aside; the change's number. A caption that others share stays.

    Raises DatasetError where one is gone, or one of that name was left out before; StorageError where it cannot be
    moved. All are then where they were.
    """
    query = select(Picture).where(Picture.dataset_id == dataset.id).options(undefer(Picture.entry))
    with (
        alone(store, dataset),
        moving(Path(dataset.folder), Path(dataset.folder) / ASIDE) as move,
        store.begin() as session,
    ):
        every = list(session.scalars(query))
        chosen = [row for row in every if row.id in set(picture_ids)]
        if not chosen:
            raise DatasetError("the picture is no longer in the dataset; look at the folder again")
        stay = {Path(row.path).with_suffix("") for row in every if row not in chosen}
        files = _files(Path(dataset.folder), chosen, stay)
        edit = Edit(
            dataset_id=dataset.id, at=store.clock(), action=LEAVE_OUT, before={}, after={}, is_undone=False,
            facts={
                "pictures": len(chosen), "first": chosen[0].path, "files": files,
                "rows": [[row.id, row.path, row.caption, row.problem, row.entry] for row in chosen],
            },
        )  # fmt: skip
        keep(session, edit)
        _forget(session, edit)
        move(files)
        return edit.id


def turn(store: Store, dataset: Dataset, note: Callable[[Session], Edit], *, is_undone: bool) -> None:
    """Undo it, or do it once more; `note` writes that it is so, and gives the change. Raises as `leave_out`."""
    folder, aside = Path(dataset.folder), Path(dataset.folder) / ASIDE
    source, target = (aside, folder) if is_undone else (folder, aside)
    with alone(store, dataset), moving(source, target) as move, store.begin() as session:
        edit = note(session)
        if is_undone:
            _remember(session, dataset, edit)
        else:
            _forget(session, edit)
        move(edit.facts["files"])


def _remember(session: Session, dataset: Dataset, edit: Edit) -> None:
    """Put the rows back; one whose number another picture was given meanwhile gets a new one."""
    there = set(session.scalars(select(Picture.path).where(Picture.dataset_id == dataset.id)))
    rows = []
    for number, path, caption, problem, entry in edit.facts["rows"]:
        if path in there:
            raise DatasetError(f"{path}: a file of that name lies there already; rename one of the two")
        row = Picture(dataset_id=dataset.id, path=path, caption=caption, problem=problem, entry=entry)
        if session.get(Picture, number) is None:
            row.id = number
        session.add(row)
        session.flush()
        rows.append([row.id, path, caption, problem, entry])
    edit.facts = {**edit.facts, "rows": rows}


def _forget(session: Session, edit: Edit) -> None:
    session.execute(delete(Picture).where(Picture.id.in_([row[0] for row in edit.facts["rows"]])))


def _files(folder: Path, rows: Iterable[Picture], stay: set[Path]) -> list[str]:
    files: dict[str, None] = {}
    for row in rows:
        files[row.path] = None
        target = caption_target(folder / row.path)
        if target.is_file() and Path(row.path).with_suffix("") not in stay:
            files[str(target.relative_to(folder))] = None
    return list(files)


@contextmanager
def moving(source: Path, target: Path) -> Iterator[Callable[[Iterable[str]], None]]:
    """Gives what moves files from one folder into the other; they are moved back where the context fails later."""
    moved: list[str] = []

    def move(files: Iterable[str]) -> None:
        names = list(files)
        _move(source, target, names)
        moved.extend(names)

    try:
        yield move
    except BaseException:
        _move(target, source, moved)
        raise


def _move(source: Path, target: Path, files: Iterable[str]) -> None:
    """Move files from one folder into the other, all or none."""
    moved: list[str] = []
    try:
        for name in files:
            if not (source / name).is_file():
                raise DatasetError(f"{name}: is not there any more; look at the folder again")
            if os.path.lexists(target / name):
                raise DatasetError(f"{name}: a file of that name lies there already; rename one of the two")
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.rename(source / name, target / name)
            moved.append(name)
    except BaseException as error:
        for name in moved:
            os.rename(target / name, source / name)
        if isinstance(error, OSError):
            raise StorageError(f"{target}: cannot be written ({error.strerror}); check its permission") from error
        raise
