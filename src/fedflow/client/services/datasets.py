"""Datasets: folders of pictures that stay where they are, what is known of their pictures, and their captions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, undefer

from fedflow.client.database.tables import Dataset, Picture
from fedflow.client.services import entries, jobs
from fedflow.client.store import Store
from fedflow.datasets.caption_writing import write_caption
from fedflow.datasets.captions import caption_tags
from fedflow.datasets.index import Entry, Index
from fedflow.errors import DatasetError, MistakeError

KIND = "index"


@dataclass(frozen=True)
class Line:
    """A dataset with its numbers of pictures and of those that cannot be used."""

    dataset: Dataset
    pictures: int
    problems: int


def add(store: Store, folder: str) -> str:
    """Take a folder in, and have its pictures looked at; gives the dataset's identifier.

    Raises MistakeError where it is no folder, or is here already.
    """
    path = Path(folder.strip()).expanduser()
    if not folder.strip() or not path.is_absolute():
        raise MistakeError("give the folder's whole path, such as /home/me/pictures")
    if not path.is_dir():
        raise MistakeError(f"{path}: is no folder on this machine; check the path")
    path = path.resolve()
    if path == store.folder.resolve() or path.is_relative_to(store.folder.resolve()):
        raise MistakeError(f"{path}: is the app's own folder; give one with your pictures")
    dataset_id = jobs.new_id()
    try:
        with store.begin() as session:
            row = Dataset(id=dataset_id, name=path.name, folder=str(path), added_at=store.clock(), other_problems=[])
            session.add(row)
            session.flush()
            _ask(session, store, row)
    except IntegrityError:
        raise MistakeError(f"{path}: is here already") from None
    return dataset_id


def look_again(store: Store, dataset_id: str) -> None:
    """Have the pictures looked at once more; files that did not change are not opened."""
    with store.begin() as session:
        row = session.get(Dataset, dataset_id)
        if row is not None:
            _ask(session, store, row)


def _ask(session: Session, store: Store, dataset: Dataset) -> None:
    jobs.add(session, KIND, dataset.name, {"dataset": dataset.id}, 0, store.clock())


def listed(store: Store) -> list[Line]:
    """All datasets, by name."""
    counts = (
        select(Picture.dataset_id, func.count(), func.count(func.nullif(Picture.problem, "")))
        .group_by(Picture.dataset_id)
    )  # fmt: skip
    with store.read() as session:
        numbers = {dataset_id: (total, faulty) for dataset_id, total, faulty in session.execute(counts)}
        rows = session.scalars(select(Dataset).order_by(func.lower(Dataset.name), Dataset.id)).all()
    return [Line(row, *numbers.get(row.id, (0, 0))) for row in rows]


def one(store: Store, dataset_id: str) -> Dataset | None:
    """The dataset; None where there is none."""
    with store.read() as session:
        return session.get(Dataset, dataset_id)


def pictures(store: Store, dataset_id: str) -> list[Picture]:
    """All pictures of a dataset, by path."""
    with store.read() as session:
        return list(session.scalars(select(Picture).where(Picture.dataset_id == dataset_id).order_by(Picture.path)))


def picture(store: Store, dataset_id: str, picture_id: int) -> Picture | None:
    """One picture; None where there is none in this dataset."""
    with store.read() as session:
        found = session.get(Picture, picture_id)
    return found if found is not None and found.dataset_id == dataset_id else None


def tag_counts(found: list[Picture]) -> list[tuple[str, int]]:
    """How many of the pictures have each tag, the most frequent first."""
    counts = Counter(tag for each in found for tag in caption_tags(each.caption))
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def known(store: Store, dataset_id: str) -> list[Entry]:
    """What was known of the pictures when they were looked at last."""
    query = select(Picture).where(Picture.dataset_id == dataset_id).options(undefer(Picture.entry))
    with store.read() as session:
        rows = session.scalars(query).all()
    return [entries.from_json(row.path, row.caption, row.entry) for row in rows]


def keep(store: Store, dataset_id: str, index: Index) -> None:
    """Write what a look has found; a picture that is still there keeps its number."""
    found = {str(entry.path): entry for entry in index.entries}
    with store.begin() as session:
        dataset = session.get(Dataset, dataset_id)
        if dataset is None:  # taken out meanwhile
            return
        rows = {row.path: row for row in session.scalars(select(Picture).where(Picture.dataset_id == dataset_id))}
        for path in rows.keys() - found.keys():
            session.delete(rows[path])
        for path, entry in found.items():
            row = rows.get(path) or Picture(dataset_id=dataset_id, path=path)
            row.caption, row.entry = entry.caption, entries.as_json(entry)
            row.problem = "; ".join(problem.reason for problem in entry.problems)
            session.add(row)
        dataset.looked_at = store.clock()
        dataset.other_problems = [[str(each.path), each.reason] for each in index.other_problems]


def caption(store: Store, dataset: Dataset, picture_id: int, text: str, seen: str) -> None:
    """Write a picture's caption beside it, where it still is what the owner has `seen`.

    Raises MistakeError where it is not, or is blank; DatasetError where the picture is gone; StorageError where it
    cannot be written.
    """
    row = picture(store, dataset.id, picture_id)
    if row is None:
        raise DatasetError("the picture is no longer in the dataset; look at the folder again")
    if row.caption != seen:
        raise MistakeError("the caption was changed meanwhile, perhaps in another window; look at it, then change it")
    line = " ".join(text.split())
    if not caption_tags(line):
        raise MistakeError("the caption is empty; write the picture's tags")
    path = Path(dataset.folder) / row.path
    if not path.is_file():
        raise DatasetError(f"{row.path}: is not there any more; look at the folder again")
    write_caption(path, line)
    with store.begin() as session:
        kept = session.get_one(Picture, picture_id)
        if kept.caption == "" and kept.problem:
            kept.problem = str(kept.entry["picture_problem"] or "")
        kept.caption = line


def remove(store: Store, dataset_id: str) -> None:
    """Forget a dataset; its folder stays as it is."""
    with store.begin() as session:
        session.execute(delete(Dataset).where(Dataset.id == dataset_id))
