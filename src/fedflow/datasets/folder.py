"""Reading a folder of pictures and captions; what cannot be used is collected, not fatal."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedflow.datasets.captions import (
    CAPTION_SUFFIXES,
    METADATA_NAME,
    CaptionError,
    caption_of,
    read_metadata,
    with_trigger,
)
from fedflow.datasets.pixels import PictureError, decode
from fedflow.datasets.records import Dataset, Picture, Problem, shown
from fedflow.errors import DatasetError

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
# What other tools lay beside pictures: notes, tables, cached latents, thumbnails' indexes.
IGNORED_SUFFIXES = frozenset({*CAPTION_SUFFIXES, ".csv", ".db", ".ini", ".json", ".jsonl", ".md", ".npz"})
SKIPPED_FOLDER = "__MACOSX"
MOST_FILES = 100_000
"""So many are looked at while somebody waits, a second or so."""


def read_folder(folder: Path, size: int, trigger: str | None = None) -> Dataset:
    """Every usable picture under `folder`, for training at `size` pixels; `trigger` becomes each caption's first tag.

    Hidden files and `__MACOSX` are skipped. Every picture is decoded once, so that a broken one is known
    now and not hours into a run. Raises DatasetError where nothing usable is there.
    """
    pictures: list[Picture] = []
    found = survey(folder)
    problems = list(found.problems)
    for path in found.pictures:
        try:
            caption = caption_of(path, found.caption_files, found.metadata)
            width, height = decode(path).size
        except CaptionError as error:
            problems.append(error.problem)
        except PictureError as error:
            problems.append(Problem(path, str(error)))
        else:
            pictures.append(Picture(path, with_trigger(caption, trigger) if trigger else caption, width, height))
    problems.sort(key=lambda problem: problem.path)
    if not pictures:
        raise DatasetError(_nothing_usable(folder, problems))
    return Dataset(folder, size, tuple(pictures), tuple(problems))


@dataclass(frozen=True)
class Survey:
    """A folder's files by what they are; nothing but `metadata.jsonl` was opened for it.

    `pictures` are sorted; `caption_files` and `metadata` are as `captions.caption_of` takes them; `problems` are files
    that are no pictures, places that cannot be looked into, wrong lines of metadata.
    """

    pictures: tuple[Path, ...]
    caption_files: dict[Path, dict[str, Path]]
    metadata: dict[Path, tuple[Path, str]]
    problems: tuple[Problem, ...]


def survey(folder: Path, at_each: Callable[[], object] = lambda: None) -> Survey:
    """What lies under `folder`; `at_each` is called at every folder of it, and what it raises ends the search.

    Raises DatasetError where there is no folder.
    """
    found, problems = _walk(folder, at_each)
    pictures: list[Path] = []
    caption_files: dict[Path, dict[str, Path]] = {}
    metadata: dict[Path, tuple[Path, str]] = {}
    for path in found:
        suffix = path.suffix.lower()
        if suffix in CAPTION_SUFFIXES:
            caption_files.setdefault(path.with_suffix(""), {})[suffix] = path
        elif path.name == METADATA_NAME:
            texts, wrong_lines = read_metadata(path)
            metadata.update(texts)
            problems.extend(wrong_lines)
        elif suffix in PICTURE_SUFFIXES:
            pictures.append(path)
        elif suffix not in IGNORED_SUFFIXES:
            problems.append(Problem(path, "is not a picture; convert it to PNG or JPEG, or move it out of the folder"))
    return Survey(tuple(pictures), caption_files, metadata, tuple(problems))


def files_of(folder: Path) -> list[Path]:
    """Every file under `folder` that `read_folder` looks at, sorted. Raises DatasetError where there is no folder."""
    found, _ = _walk(folder)
    unread = IGNORED_SUFFIXES - set(CAPTION_SUFFIXES)
    return [path for path in found if path.name == METADATA_NAME or path.suffix.lower() not in unread]


def has_pictures(folder: Path, most_files: int = MOST_FILES) -> bool:
    """Whether a picture lies under `folder`, by its name; also where `most_files` were looked at and none was one."""
    looked_at = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if _is_entered(name)]
        if any(Path(name).suffix.lower() in PICTURE_SUFFIXES and not name.startswith(".") for name in files):
            return True
        looked_at += len(files)
        if looked_at > most_files:
            return True
    return False


def content_hash(dataset: Dataset) -> str:
    """SHA-256 over the size, every caption and every picture's bytes, in order; names and places do not count."""
    digest = hashlib.sha256(f"fedflow dataset 1 {dataset.size}\n".encode())
    for picture in dataset.pictures:
        digest.update(hashlib.sha256(picture.caption.encode("utf-8", "surrogatepass")).digest())
        try:
            with open(picture.path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            reason = f"cannot be read ({error.strerror}); put it back or read the folder again"
            raise DatasetError(f"{shown(picture.path)}: {reason}") from error
    return digest.hexdigest()


def _walk(folder: Path, at_each: Callable[[], object] = lambda: None) -> tuple[list[Path], list[Problem]]:
    """All files under `folder`, sorted, and the places that could not be looked into."""
    if not folder.is_dir():
        what = "is a file and not a folder" if folder.exists() else "is not there"
        raise DatasetError(f"{shown(folder)}: {what}; name a folder of pictures")
    found: list[Path] = []
    problems: list[Problem] = []

    def unreadable(error: OSError) -> None:
        reason = f"cannot be read ({error.strerror}); check its permission and the disk"
        problems.append(Problem(Path(os.fsdecode(error.filename)), reason))

    for place, folders, files in os.walk(folder, onerror=unreadable):
        at_each()
        folders[:] = [name for name in folders if _is_entered(name)]
        for name in folders:
            if (Path(place) / name).is_symlink():
                reason = "is a link to a folder and is not followed; copy its pictures here"
                problems.append(Problem(Path(place) / name, reason))
        found.extend(Path(place) / name for name in files if not name.startswith("."))
    return sorted(found), problems


def _is_entered(name: str) -> bool:
    return name != SKIPPED_FOLDER and not name.startswith(".")


def _nothing_usable(folder: Path, problems: list[Problem]) -> str:
    if not problems:
        return f"{shown(folder)}: holds no pictures; put PNG or JPEG files there, each with a .txt caption beside it"
    count = "the only file" if len(problems) == 1 else f"none of {len(problems)} files"
    verb = "cannot be used" if len(problems) == 1 else "can be used"
    return f"{shown(folder)}: {count} {verb}; the first: {problems[0]}"
