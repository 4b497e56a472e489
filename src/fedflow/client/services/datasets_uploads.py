"""Pictures that are brought through the browser: they go into a folder of the app's own, and are a dataset there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from fedflow.client.database.tables import Dataset, Job
from fedflow.client.services import datasets, jobs
from fedflow.client.store import Store
from fedflow.datasets.archives import take_zip
from fedflow.datasets.intake import check_some, is_wanted, take_files
from fedflow.errors import DatasetError, MistakeError, StorageError

KIND = "unpack"
MOST_BYTES = 1_000_000_000
"""What a browser sends at once; larger sets are added as the folders that they are."""
MOST_FILES = 50_000
OTHERWISE = "Pictures"


def is_archive(names: Sequence[str]) -> bool:
    """Whether files of these names are a zip. Raises MistakeError where it does not come alone."""
    has_zip = any(name.lower().endswith(".zip") for name in names)
    if has_zip and len(names) > 1:
        raise MistakeError("a zip comes alone; bring either one zip, or pictures and captions")
    return has_zip


def check_names(names: Sequence[str], is_new: bool) -> int:
    """How many of these files are pictures and captions.

    Raises MistakeError, DatasetError where the names tell that they would not be taken, into a new dataset or more.
    """
    is_archive(names)
    wanted = [PurePosixPath(name) for name in names if is_wanted(name)]
    if len(wanted) > MOST_FILES:
        raise DatasetError(f"more than {MOST_FILES} files; take them in several parts")
    check_some(wanted, is_new)
    return len(wanted)


def take(
    store: Store, name: str, files: Iterable[tuple[str, IO[bytes]]], promised_bytes: int | None = None
) -> tuple[str, int]:
    """Take pictures and captions, each a name and an open stream, into a new dataset.

    Gives its identifier, and how many files were left out since they are neither. Room is looked for first where
    `promised_bytes` of all of them are known.

    Raises DatasetError, one line, for what is not taken; StorageError where the disk is full. Nothing is then kept.
    """
    folder = _own_folder(store, name)
    taken = take_files(files, folder, promised_bytes=promised_bytes)
    dataset_id = datasets.add_own(store, folder)
    datasets.note_left_out(store, dataset_id, taken.left_out)
    return dataset_id, len(taken.left_out)


def take_more(
    store: Store, dataset: Dataset, files: Iterable[tuple[str, IO[bytes]]], promised_bytes: int | None = None
) -> int:
    """Take more pictures and captions into a dataset of the app's own; how many files were left out.

    Raises as `take` and `check_unpacked`, and where another one of a name is there already.
    """
    check_unpacked(store, dataset.id)
    taken = take_files(files, Path(dataset.folder), promised_bytes=promised_bytes)
    datasets.note_left_out(store, dataset.id, taken.left_out)
    datasets.look_again(store, dataset.id)
    return len(taken.left_out)


def take_archive(store: Store, name: str, archive: IO[bytes] | Path) -> str:
    """Keep a zip, open or at its place, and have the worker unpack it into a new dataset; its identifier.

    Raises StorageError.
    """
    return datasets.add_own(store, _own_folder(store, name), KIND, {jobs.ARCHIVE: _kept(store, archive)})


def take_more_of_archive(store: Store, dataset: Dataset, archive: IO[bytes] | Path) -> None:
    """Keep a zip and have the worker unpack it into a dataset of the app's own.

    Raises StorageError, and as `check_unpacked`.
    """
    check_unpacked(store, dataset.id)
    asked = {"dataset": dataset.id, jobs.ARCHIVE: _kept(store, archive), "more": True}
    with store.begin() as session:
        jobs.add(session, KIND, dataset.name, asked, 0, store.clock())


def packed(store: Store, dataset_id: str) -> Job | None:
    """The job that unpacks the zip which makes this dataset, while that is still to be done; None where it is not."""
    own = (job for job in jobs.going_on(store, KIND, dataset_id) if "more" not in job.asked)
    return next((job for job in own if _place(store, job).is_file()), None)


def check_unpacked(store: Store, dataset_id: str) -> None:
    """Raises MistakeError where the dataset's zip is not unpacked yet: what comes before it would pass for it."""
    if packed(store, dataset_id) is not None:
        raise MistakeError("the dataset's zip is not unpacked yet; have that done or put it aside, then bring more")


def link(arrived: Path, kept: Path) -> None:
    """Have an arrived file at another place too; as a copy where the disk knows no hard links. Raises OSError."""
    try:
        os.link(arrived, kept)
    except OSError:
        shutil.copyfile(arrived, kept)


def _place(store: Store, job: Job) -> Path:
    return store.folder / jobs.INCOMING / Path(job.asked[jobs.ARCHIVE]).name


def _kept(store: Store, archive: IO[bytes] | Path) -> str:
    place = store.folder / jobs.INCOMING / f"{jobs.new_id()}.zip"
    try:
        place.parent.mkdir(exist_ok=True)
        if isinstance(archive, Path):
            link(archive, place)
            return place.name
        with open(place, "xb") as file:
            shutil.copyfileobj(archive, file, 1 << 20)
    except OSError as error:
        place.unlink(missing_ok=True)
        raise StorageError(f"{place.parent}: cannot be written ({error.strerror}); free space") from error
    return place.name


def unpack(store: Store, job: Job, dataset: Dataset) -> None:
    """Put what is in the job's zip into the dataset's folder, where that is not done yet.

    Raises DatasetError for a zip that is refused, and then forgets it, with the dataset that it would have made, and
    where the dataset was taken out meanwhile, of which nothing stays; StorageError where the disk is full.
    """
    place, folder = _place(store, job), Path(dataset.folder)
    try:
        if place.is_file() and ("more" in job.asked or not folder.exists()):
            datasets.note_left_out(store, dataset.id, take_zip(place, folder).left_out)
        elif not folder.exists():
            raise DatasetError("the zip is no longer kept; bring it once more")
    except DatasetError:
        if "more" not in job.asked:
            datasets.remove(store, dataset.id)
        place.unlink(missing_ok=True)
        raise
    except StorageError:
        if datasets.one(store, dataset.id) is not None:
            raise
    place.unlink(missing_ok=True)
    if datasets.one(store, dataset.id) is None:  # its folder may be another's by now
        if all(each.dataset.folder != dataset.folder for each in datasets.listed(store)):
            shutil.rmtree(folder, ignore_errors=True)
        raise DatasetError("the dataset was taken out meanwhile")


def refused(store: Store) -> list[Job]:
    """Zips that were refused, newest first: of each that would have been a dataset there is none."""
    return [job for job in jobs.refused(store, KIND) if "more" not in job.asked]


def _own_folder(store: Store, name: str) -> Path:
    """A folder of that name, or nearly so, that is not there yet, and as which no dataset is called."""
    plain = re.sub(r"[^\w .-]+", " ", name).strip(" .")[: datasets.LONGEST_NAME].strip(" .") or OTHERWISE
    own = datasets.own_folders(store).resolve()
    known = [each.dataset for each in datasets.listed(store)]
    taken = {each.folder for each in known} | {str(own / each.name) for each in known}
    taken |= {str(own / job.title) for job in jobs.under_way(store, (KIND,))}  # of one that was taken out meanwhile
    numbered = (own / (plain if number == 1 else f"{plain} {number}") for number in range(1, MOST_FILES))
    return next(each for each in numbered if not each.exists() and str(each) not in taken)
