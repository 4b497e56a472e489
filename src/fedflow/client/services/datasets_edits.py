"""Changes of captions: written beside the pictures, all or none, each one kept so that it can be undone and redone."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, undefer

from fedflow.client.database.tables import Dataset, Edit, Picture
from fedflow.client.services import entries, jobs
from fedflow.client.services.datasets_journal import LEFT_OUT, Journal, alone, begin, move, put, remove_empty
from fedflow.client.store import Store
from fedflow.datasets import tags
from fedflow.datasets.caption_writing import caption_target
from fedflow.datasets.captions import METADATA_NAME, caption_tags
from fedflow.datasets.tags import Change
from fedflow.errors import DatasetError, MistakeError

KIND = "captions"
MOST_AT_ONCE = 300
"""Captions that are written while the owner waits: each takes up to 3 ms on a disk that is asked to keep it."""
MOST_KEPT = 100
"""Changes of one dataset that can be undone."""

ADD, REMOVE, RENAME, REPLACE, EMPTY = WISHES = ("add", "remove", "rename", "replace", "empty")
CAPTION, TAG, LEAVE_OUT = "caption", "tag", "leave_out"
ASIDE = "aside"
"""The fact of a change that says which files it has put aside."""
UNREAD = f"{LEFT_OUT}/not-utf-8"

MAKERS: dict[str, Callable[[Mapping[str, str], str, str], dict[str, Change]]] = {
    ADD: lambda captions, tag, _: tags.add_tag(captions, tag),
    REMOVE: lambda captions, tag, _: tags.remove_tag(captions, tag),
    RENAME: tags.rename_tag,
    REPLACE: tags.replace_text,
    EMPTY: lambda captions, _, __: {path: Change(each, "") for path, each in captions.items() if each},
}
"""What each wish makes of captions, from its first and its second word."""

Watch = Callable[[int, int], None]
"""Told captions done and in all; what it raises ends the change, and all captions are as they were."""


@dataclass(frozen=True)
class Done:
    """A change that was made: its row, and new captions by the picture's number.

    `left` captions stay as they are since they would be empty, `unread` ones since nobody can read their files; `kept`
    is where a file that nobody could read lies now, in the dataset's folder.
    """

    edit_id: int | None
    captions: dict[int, str]
    left: int = 0
    unread: int = 0
    kept: str = ""


@dataclass(frozen=True)
class Step:
    """A change that can be undone or redone; `facts` say with what it was made, and of how many `pictures`."""

    id: int
    action: str
    facts: dict[str, Any]


def unwatched(_done: int, _of: int) -> None:
    """Whom a short change tells of its progress."""


def change(
    store: Store,
    dataset: Dataset,
    action: str,
    words: tuple[str, str],
    picture_ids: Collection[int],
    watch: Watch = unwatched,
) -> Done:
    """Make one of WISHES with the captions of these pictures.

    One that would be empty, and shall not, stays as it is, and so does one whose file is not UTF-8.

    Raises MistakeError for a word that is no tag, and where nothing would change; DatasetError where a picture or
    caption is another by now; StorageError where one cannot be written.
    """
    if action not in MAKERS:
        raise MistakeError(f"'{action}': is none of {', '.join(WISHES)}")
    chosen = set(picture_ids)
    with store.read() as session:
        rows = session.execute(
            select(Picture.id, Picture.path, Picture.caption, Picture.problem).where(Picture.dataset_id == dataset.id)
        ).all()
    captions = {row.path: row.caption for row in rows if row.id in chosen}
    changes = MAKERS[action](captions, *words)
    wanted = {path: each for path, each in changes.items() if action == EMPTY or caption_tags(each.after)}
    if not wanted:
        raise MistakeError(
            "captions with no other tag stay as they are: a picture without a tag cannot be trained on"
            if changes
            else "none of the captions would be changed by it"
        )
    folder = Path(dataset.folder)
    read = {path: each for path, each in wanted.items() if each.before or not _is_unread(folder / path)}
    if not read:
        raise DatasetError(f"{next(iter(wanted))}: its caption is not UTF-8; write it anew on the picture's page")
    left, unread = len(changes) - len(wanted), len(wanted) - len(read)
    facts = {"first": words[0].strip(), "second": words[1].strip(), "pictures": len(read)}
    facts |= {"left": left, "unread": unread}
    done = record(store, dataset, action, facts, read, watch)
    return Done(done.edit_id, done.captions, left, unread)


def record(
    store: Store,
    dataset: Dataset,
    action: str,
    facts: dict[str, Any],
    changes: Mapping[str, Change],
    watch: Watch = unwatched,
    aside: Mapping[str, str] = MappingProxyType({}),
) -> Done:
    """Write captions by the picture's path, and keep the change; `aside` as of `write`. Raises as `change`."""
    row = Edit(
        dataset_id=dataset.id, at=store.clock(), action=action, is_undone=False,
        facts=facts | ({ASIDE: dict(aside)} if aside else {}),
        before={path: each.before for path, each in changes.items()},
        after={path: each.after for path, each in changes.items()},
    )  # fmt: skip
    captions = write(store, dataset, changes, lambda session: keep(session, row), watch, aside)
    return Done(row.id, captions, kept=next(iter(aside.values()), ""))


def keep(session: Session, row: Edit) -> None:
    """Add a change; what was undone before it cannot be redone any more, and the oldest ones are forgotten."""
    row.id = (session.scalar(select(func.max(Edit.id))) or 0) + 1  # never that of one that goes here: pages know it
    session.execute(delete(Edit).where(Edit.dataset_id == row.dataset_id, Edit.is_undone))
    session.add(row)
    session.flush()
    newest = select(Edit.id).where(Edit.dataset_id == row.dataset_id).order_by(Edit.id.desc())
    oldest = session.scalar(newest.offset(MOST_KEPT - 1).limit(1))
    if oldest is not None:
        session.execute(delete(Edit).where(Edit.dataset_id == row.dataset_id, Edit.id < oldest))


def write(
    store: Store,
    dataset: Dataset,
    changes: Mapping[str, Change],
    note: Callable[[Session], object],
    watch: Watch = unwatched,
    aside: Mapping[str, str] = MappingProxyType({}),
    *,
    is_back: bool = False,
) -> dict[int, str]:
    """Write captions into files and rows, and have `note` written with them; new captions by the picture's number.

    `aside` says where the files of `aside_of` go before, or, where `is_back`, come from afterwards. Where anything
    fails, all files are as they were. Raises as `change`, and as `alone`.
    """
    folder = Path(dataset.folder)
    moves = {there: name for name, there in aside.items()} if is_back else dict(aside)
    known = select(Picture.path, Picture.caption).where(Picture.dataset_id == dataset.id)
    with alone(store, dataset):
        with store.read() as session:
            tags.applied({row.path: row.caption for row in session.execute(known)}, changes)
        for path, each in changes.items():
            if not aside or is_back or not _is_unread(folder / path):
                _check(folder, path, each.before)
            if not each.after:
                _check_can_be_empty(folder / path, path)
        rows = {path: each.after for path, each in changes.items()}
        begin(store, dataset, Journal(rows, {path: each.before for path, each in changes.items()}, moves))
        if not is_back:
            _move(folder, moves)
        for done, (path, each) in enumerate(changes.items()):
            watch(done, len(changes))
            _check(folder, path, each.before, each.after)  # another program may have been quicker
            put(folder / path, each.after)
        if is_back:
            _move(folder, moves)
            remove_empty(folder, moves)
        with store.begin() as session:
            captions = _rewrite(session, dataset.id, folder, changes)
            note(session)
    return captions


def undoable(store: Store, dataset_id: str) -> Step | None:
    """The change that would be undone next."""
    return _step(store, dataset_id, is_undone=False)


def redoable(store: Store, dataset_id: str) -> Step | None:
    """The change that would be redone next."""
    return _step(store, dataset_id, is_undone=True)


def ask(store: Store, dataset: Dataset, asked: dict[str, Any], of: int) -> str:
    """Have the worker do a change, or undo or redo one (`worker.captions` says what is asked); the job's identifier."""
    with store.begin() as session:
        return jobs.add(session, KIND, dataset.name, {"dataset": dataset.id, **asked}, of, store.clock()).id


def _step(store: Store, dataset_id: str, *, is_undone: bool) -> Step | None:
    query = select(Edit.id, Edit.action, Edit.facts).where(Edit.dataset_id == dataset_id, Edit.is_undone == is_undone)
    with store.read() as session:
        row = session.execute(query.order_by(Edit.id if is_undone else Edit.id.desc()).limit(1)).first()
    return None if row is None else Step(row.id, row.action, row.facts)


def aside_of(dataset: Dataset, path: str) -> dict[str, str]:
    """Where the picture's caption is not UTF-8: its file, and where that is put so that another can be written."""
    folder = Path(dataset.folder)
    if not _is_unread(folder / path):
        return {}
    name = caption_target(folder / path).relative_to(folder)
    aside, number = Path(UNREAD) / name, 1
    while os.path.lexists(folder / aside):
        number += 1
        aside = aside.with_name(f"{name.stem}-{number}{name.suffix}")
    return {str(name): str(aside)}


def _move(folder: Path, moves: Mapping[str, str]) -> None:
    for source, target in moves.items():
        move(folder / source, folder / target)


def _is_unread(picture: Path) -> bool:
    try:
        caption_target(picture).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        return True
    except OSError:
        pass
    return False


def _check(folder: Path, path: str, before: str, after: str | None = None) -> None:
    """Raises DatasetError where the picture is gone, or its file's caption is not the one before; nor the one after,
    which pictures that share a file have as soon as the first of them is written."""
    picture = folder / path
    if not picture.is_file():
        raise DatasetError(f"{path}: is not there any more; look at the folder again")
    try:
        text = caption_target(picture).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return  # the caption is that of a metadata.jsonl, or there is none
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: its caption is not UTF-8 any more; look at the folder again") from None
    except OSError:
        raise DatasetError(f"{path}: its caption cannot be read; check its permission, then look again") from None
    line = " ".join(text.split())
    if (line if caption_tags(line) else "") not in (before, after):
        raise DatasetError(f"{path}: its caption was changed by another program; look at the folder again")


def _check_can_be_empty(picture: Path, path: str) -> None:
    """Raises DatasetError where a caption would come back at the next look."""
    if (picture.parent / METADATA_NAME).is_file() and not caption_target(picture).is_file():
        raise DatasetError(f"{path}: its caption stands in {METADATA_NAME}; take it out there, then look again")


def _rewrite(session: Session, dataset_id: str, folder: Path, changes: Mapping[str, Change]) -> dict[int, str]:
    """Raises DatasetError where a row's caption is another than it was when the change was made."""
    query = select(Picture).where(Picture.dataset_id == dataset_id).options(undefer(Picture.entry))
    if len(changes) <= MOST_AT_ONCE:
        query = query.where(Picture.path.in_(changes))
    rows = {row.path: row for row in session.scalars(query) if row.path in changes}
    tags.applied({path: row.caption for path, row in rows.items()}, changes)
    captions: dict[int, str] = {}
    for path, row in rows.items():
        row.caption = changes[path].after
        row.entry, row.problem = entries.recaptioned(row.entry, folder, path, row.caption)
        captions[row.id] = row.caption
    return captions


def changed_at(store: Store, dataset: Dataset) -> float:
    """When a dataset's pictures were looked at, or a caption of it changed last; 0 where neither was."""
    with store.read() as session:
        newest = session.scalar(select(func.max(Edit.at)).where(Edit.dataset_id == dataset.id))
    return max(newest or 0.0, dataset.looked_at or 0.0)
