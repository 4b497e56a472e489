"""Datasets: folders of pictures that stay where they are, what is known of their pictures, and their captions."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, undefer

from fedflow.client.database.tables import Dataset, Picture
from fedflow.client.services import entries, jobs
from fedflow.client.services.datasets_edits import CAPTION, Done, aside_of, record
from fedflow.client.store import Store
from fedflow.datasets import tags
from fedflow.datasets.captions import caption_tags
from fedflow.datasets.folder import has_pictures
from fedflow.datasets.index import Entry, Index
from fedflow.datasets.pixels import format_of
from fedflow.datasets.tags import Change, one_tag
from fedflow.errors import DatasetError, MistakeError

KIND = "index"
OWN = "datasets"
LONGEST_CAPTION = 10_000
LONGEST_NAME = 80
WAS_LEFT_OUT = "was left out, as it is neither picture nor caption; bring it as PNG or JPEG"
"""Why a file that was brought did not come into the dataset's folder."""


@dataclass(frozen=True)
class Line:
    """A dataset with its numbers of pictures, and of files that cannot be used, those that are no pictures too."""

    dataset: Dataset
    pictures: int
    problems: int


def add(store: Store, folder: str) -> str:
    """Take a folder in, and have its pictures looked at; gives the dataset's identifier.

    It is called as its folder; where that name is taken, with a number behind it.

    Raises MistakeError where it is no folder, has no picture in it, or is here already.
    """
    path = _folder(store, folder)
    dataset_id = jobs.new_id()
    try:
        with store.begin() as session:
            name = _free_name(session, path.name)
            row = Dataset(id=dataset_id, name=name, folder=str(path), added_at=store.clock(), other_problems=[])
            session.add(row)
            session.flush()
            _ask(session, store, row)
    except IntegrityError:
        raise MistakeError(f"{path}: is here already") from None
    return dataset_id


def move(store: Store, dataset_id: str, folder: str) -> None:
    """Point a dataset at where its folder is now, and have that looked at; names, captions and undo stay.

    Raises as `add`.
    """
    path = _folder(store, folder)
    try:
        with store.begin() as session:
            row = session.get(Dataset, dataset_id)
            if row is not None:
                row.folder = str(path)
                session.flush()
                _ask(session, store, row)
    except IntegrityError:
        raise MistakeError(f"{path}: is here already") from None


def is_there(dataset: Dataset) -> bool:
    """Whether its folder can be found: it may have been moved, or be on a disk that is not connected."""
    return Path(dataset.folder).is_dir()


def _folder(store: Store, folder: str) -> Path:
    path = Path(folder.strip()).expanduser()
    if not folder.strip() or not path.is_absolute():
        raise MistakeError("give the folder's whole path, such as /home/me/pictures")
    if not path.is_dir():
        raise MistakeError(f"{path}: is no folder on this machine; check the path")
    path = path.resolve()
    if not path.name:
        raise MistakeError(f"{path}: is the whole disk; give the folder of your pictures")
    if path == store.folder.resolve() or path.is_relative_to(store.folder.resolve()):
        raise MistakeError(f"{path}: is the app's own folder; give one with your pictures")
    if not has_pictures(path):
        raise MistakeError(
            f"{path}: holds no pictures; put PNG or JPEG files there, each with a .txt caption beside it"
        )
    return path


def _free_name(session: Session, wanted: str) -> str:
    taken = set(session.scalars(select(Dataset.name)))
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted} {number}", number + 1
    return name


def own_folders(store: Store) -> Path:
    """Where the folders lie that are the app's own."""
    return store.folder / OWN


def is_own(store: Store, dataset: Dataset) -> bool:
    """Whether the dataset's folder is the app's own, made of pictures that were brought through the browser."""
    return Path(dataset.folder).parent == own_folders(store).resolve()


def add_own(store: Store, folder: Path, kind: str = KIND, more: dict[str, str] | None = None) -> str:
    """Take a folder of the app's own in, with a job of this kind that brings its pictures; the dataset's identifier."""
    dataset_id = jobs.new_id()
    path = own_folders(store).resolve() / folder.name
    with store.begin() as session:
        row = Dataset(id=dataset_id, name=path.name, folder=str(path), added_at=store.clock(), other_problems=[])
        session.add(row)
        session.flush()
        jobs.add(session, kind, row.name, {"dataset": row.id, **(more or {})}, 0, store.clock())
    return dataset_id


def note_left_out(store: Store, dataset_id: str, names: Iterable[str]) -> None:
    """Tell files that were brought and left out beside what cannot be used.

    They are told until a picture of that name is there, or their owner has the pictures looked at once more.
    """
    with store.begin() as session:
        row = session.get(Dataset, dataset_id)
        if row is not None:
            known = {name for name, _ in row.other_problems}
            called = {normalize("NFC", name.replace("\\", "/")) for name in names}
            new = [[name, WAS_LEFT_OUT] for name in sorted(called - known)]
            row.other_problems = [*row.other_problems, *new]


def forget_left_out(store: Store, dataset_id: str) -> None:
    """Tell no more what was brought and left out: its owner has seen it."""
    with store.begin() as session:
        row = session.get(Dataset, dataset_id)
        if row is not None:
            row.other_problems = [each for each in row.other_problems if each[1] != WAS_LEFT_OUT]


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
    counted = ((row, *numbers.get(row.id, (0, 0))) for row in rows)
    return [Line(row, pictures, faulty + len(row.other_problems)) for row, pictures, faulty in counted]


def one(store: Store, dataset_id: str) -> Dataset | None:
    """The dataset; None where there is none."""
    with store.read() as session:
        return session.get(Dataset, dataset_id)


@dataclass(frozen=True)
class PictureLine:
    """What a list tells of a picture."""

    id: int
    path: str
    caption: str
    problem: str

    def has(self, tag: str, text: str) -> bool:
        """Whether its caption has the tag, and caption or path hold the text; what is empty is not asked for."""
        if tag and tag not in caption_tags(self.caption):
            return False
        return text.casefold() in f"{self.caption}\n{self.path}".casefold()


def lines(store: Store, dataset_id: str) -> list[PictureLine]:
    """All pictures of a dataset, by path: ten thousand take a tenth of a second less than as rows."""
    query = select(Picture.id, Picture.path, Picture.caption, Picture.problem).where(Picture.dataset_id == dataset_id)
    with store.read() as session:
        return [PictureLine(*row) for row in session.execute(query.order_by(Picture.path))]


def pictures(store: Store, dataset_id: str) -> list[Picture]:
    """All pictures of a dataset, by path."""
    with store.read() as session:
        return list(session.scalars(select(Picture).where(Picture.dataset_id == dataset_id).order_by(Picture.path)))


def picture(store: Store, dataset_id: str, picture_id: int) -> Picture | None:
    """One picture; None where there is none in this dataset."""
    with store.read() as session:
        found = session.get(Picture, picture_id)
    return found if found is not None and found.dataset_id == dataset_id else None


@dataclass(frozen=True)
class About:
    """What is known of a picture's file. `width` and `height` in pixels, upright; 0 where it could not be opened.

    `format` is empty where it is no picture, or not there.
    """

    width: int
    height: int
    size_bytes: int
    format: str


def about(store: Store, dataset: Dataset, picture_id: int) -> About:
    """What was seen of a picture when it was looked at last, and its file's format."""
    query = select(Picture).where(Picture.id == picture_id).options(undefer(Picture.entry))
    with store.read() as session:
        row = session.scalars(query).one()
    entry = entries.from_json(row.path, row.caption, row.entry)
    width, height = (0, 0) if entry.seen is None else (entry.seen.width, entry.seen.height)
    return About(width, height, entry.stamp.size_bytes, format_of(Path(dataset.folder) / row.path))


def tag_counts(captions: Iterable[str]) -> list[tuple[str, int]]:
    """In how many captions each tag is, the most frequent first."""
    return list(tags.tag_counts(captions).items())


def known(store: Store, dataset_id: str) -> list[Entry]:
    """What was known of the pictures when they were looked at last."""
    query = select(Picture).where(Picture.dataset_id == dataset_id).options(undefer(Picture.entry))
    with store.read() as session:
        rows = session.scalars(query).all()
    return [entries.from_json(row.path, row.caption, row.entry) for row in rows]


def keep(store: Store, dataset_id: str, index: Index, before: Iterable[Entry]) -> None:
    """Write what a look has found; a picture that is still there keeps its number.

    What was changed since `before`, with which the look began, stays as it is now: a look may take minutes.
    """
    began_with = {str(entry.path): entry.caption for entry in before}
    found = {str(entry.path): entry for entry in index.entries}
    with store.begin() as session:
        dataset = session.get(Dataset, dataset_id)
        if dataset is None:  # taken out meanwhile
            return
        rows = {row.path: row for row in session.scalars(select(Picture).where(Picture.dataset_id == dataset_id))}
        for path in rows.keys() - found.keys():
            session.delete(rows[path])
        for path, entry in found.items():
            row = rows.get(path)
            if row is None and path in began_with:  # left out meanwhile
                continue
            seen = entries.as_json(entry)
            if row is not None and row.caption != began_with.get(path):
                row.entry, row.problem = entries.recaptioned(seen, Path(dataset.folder), path, row.caption)
                continue
            row = row or Picture(dataset_id=dataset_id, path=path)
            row.caption, row.entry = entry.caption, seen
            row.problem = "; ".join(problem.reason for problem in entry.problems)
            session.add(row)
        dataset.looked_at = store.clock()
        others = [[str(each.path), each.reason] for each in index.other_problems]
        brought = {str(path.with_suffix("")) for path in map(Path, found)}
        left_out = [each for each in dataset.other_problems if each[1] == WAS_LEFT_OUT]
        dataset.other_problems = others + [
            each for each in left_out if str(Path(each[0]).with_suffix("")) not in brought
        ]


def caption(store: Store, dataset: Dataset, picture_id: int, text: str, seen: str) -> Done:
    """Write a picture's caption beside it, where it still is what the owner has `seen`; a blank one removes it.

    A file there that is not UTF-8 is kept with what is left out.

    Raises MistakeError where it is not, or was blank before; DatasetError where the picture is gone, or its caption
    cannot be removed; StorageError where it cannot be written.
    """
    row = picture(store, dataset.id, picture_id)
    if row is None:
        raise DatasetError("the picture is no longer in the dataset; look at the folder again")
    if row.caption != seen:
        raise MistakeError("the caption was changed meanwhile, perhaps in another window; look at it, then change it")
    line = " ".join(text.split())
    if len(line) > LONGEST_CAPTION:
        raise MistakeError(f"the caption has more than {LONGEST_CAPTION} letters; shorten it")
    if not caption_tags(line):
        line = ""
    if not line and not seen:
        raise MistakeError("the caption is empty; write the picture's tags")
    if line == seen:
        return Done(None, {})
    changes = {row.path: Change(row.caption, line)}
    facts = {"first": row.path, "pictures": 1}
    return record(store, dataset, CAPTION, facts, changes, aside={} if seen else aside_of(dataset, row.path))


def rename(store: Store, dataset_id: str, name: str) -> None:
    """Call a dataset otherwise; its folder keeps its name.

    Raises MistakeError where the name is blank or too long, or another dataset's.
    """
    line = " ".join(name.split())
    if not line or len(line) > LONGEST_NAME:
        raise MistakeError(f"give a name of 1 to {LONGEST_NAME} characters")
    with store.begin() as session:
        if session.scalar(select(Dataset.id).where(Dataset.name == line, Dataset.id != dataset_id)) is not None:
            raise MistakeError(f"'{line}' is taken; choose another name")
        session.execute(update(Dataset).where(Dataset.id == dataset_id).values(name=line))


def set_trigger(store: Store, dataset_id: str, trigger: str) -> None:
    """Have training put a tag before every caption; none where it is blank. Raises DatasetError where it is no tag."""
    tag = one_tag(trigger) if trigger.strip() else ""
    with store.begin() as session:
        session.execute(update(Dataset).where(Dataset.id == dataset_id).values(trigger=tag))


def set_people(store: Store, dataset_id: str, names: Iterable[str]) -> None:
    """Keep the names that captions shall not hold, each once."""
    people = list(dict.fromkeys(name for name in (" ".join(each.split()) for each in names) if name))
    with store.begin() as session:
        session.execute(update(Dataset).where(Dataset.id == dataset_id).values(people=people))


def remove(store: Store, dataset_id: str) -> None:
    """Forget a dataset; its folder stays as it is, but for one of the app's own."""
    dataset = one(store, dataset_id)
    with store.begin() as session:
        session.execute(delete(Dataset).where(Dataset.id == dataset_id))
        aside = jobs.put_aside_all(session, dataset_id, store.clock())
    jobs.drop_kept(store, aside)
    if dataset is not None and is_own(store, dataset):
        shutil.rmtree(dataset.folder, ignore_errors=True)
