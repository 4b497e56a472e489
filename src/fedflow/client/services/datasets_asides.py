"""Pictures that are left out: moved into a hidden folder of their dataset, where nothing reads them, and back."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, undefer

from fedflow.client.database.tables import Dataset, Edit, Picture
from fedflow.client.services.datasets_edits import LEAVE_OUT, keep
from fedflow.client.services.datasets_journal import LEFT_OUT, Journal, alone, begin, move, remove_empty
from fedflow.client.store import Store
from fedflow.datasets.caption_writing import caption_target
from fedflow.errors import DatasetError


def leave_out(store: Store, dataset: Dataset, picture_ids: Collection[int]) -> int:
    """Move pictures and their captions aside; the change's number. A caption that others share stays.

    Raises DatasetError where one is gone, or one of that name was left out before; StorageError where it cannot be
    moved. All are then where they were.
    """
    query = select(Picture).where(Picture.dataset_id == dataset.id).options(undefer(Picture.entry))
    with alone(store, dataset), store.begin() as session:
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
        _move(store, dataset, edit, is_back=False)
        return edit.id


def turn(store: Store, dataset: Dataset, note: Callable[[Session], Edit], *, is_undone: bool) -> None:
    """Undo it, or do it once more; `note` writes that it is so, and gives the change. Raises as `leave_out`."""
    with alone(store, dataset), store.begin() as session:
        edit = note(session)
        if is_undone:
            _remember(session, dataset, edit)
        else:
            _forget(session, edit)
        _move(store, dataset, edit, is_back=is_undone)


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


def _move(store: Store, dataset: Dataset, edit: Edit, *, is_back: bool) -> None:
    """Move the change's files aside, or back; where it is not made after all, `alone` moves them once more."""
    folder = Path(dataset.folder)
    pairs = [(name, f"{LEFT_OUT}/{name}") for name in edit.facts["files"]]
    moves = {aside: name for name, aside in pairs} if is_back else dict(pairs)
    for source, target in moves.items():
        _check(folder, source, target)
    rows = {path: caption if is_back else None for _, path, caption, *_ in edit.facts["rows"]}
    begin(store, dataset, Journal(rows, moves=moves))
    for source, target in moves.items():
        _check(folder, source, target)  # another program may have been quicker
        move(folder / source, folder / target)
    if is_back:
        remove_empty(folder, moves)


def _check(folder: Path, source: str, target: str) -> None:
    """Raises DatasetError where a file cannot be moved."""
    if not (folder / source).is_file():
        raise DatasetError(f"{source}: is not there any more; look at the folder again")
    if os.path.lexists(folder / target):
        raise DatasetError(f"{target}: a file of that name lies there already; rename one of the two")
