"""Tagging a folder: each picture is opened once, a batch at a time; what cannot be used is collected, not fatal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from fedflow.datasets.caption_writing import caption_target, write_caption
from fedflow.datasets.captions import CaptionError, caption_file_of, caption_of, caption_tags
from fedflow.datasets.folder import Survey, survey
from fedflow.datasets.pixels import PictureError, decode
from fedflow.datasets.records import Problem, shown
from fedflow.tagging.tagger import Tagger, white_square

BATCH = 16


class Write(StrEnum):
    """What becomes of a caption: tags behind it, tags in its place, or tags only where there is none."""

    ADD = "add"
    REPLACE = "replace"
    MISSING = "missing"


@dataclass(frozen=True)
class Tagged:
    """A picture's tags with their scores, and the caption it has now and with them (equal: nothing to write)."""

    path: Path
    tags: list[tuple[str, float]]
    before: str | None
    after: str | None


def tag_folder(
    folder: Path,
    tagger: Tagger,
    write: Write,
    *,
    threshold: float | None = None,
    problem: Callable[[Problem], None],
    progress: Callable[[int, int], None],
) -> Iterator[Tagged]:
    """The pictures under `folder` with their tags, batch by batch; nothing is written here (`apply`).

    `problem` gets what is skipped, with the reason; `progress` the pictures done and all of them. With 'missing', a
    picture that has a caption is not opened. Raises DatasetError where there is no folder.
    """
    found = survey(folder)
    for each in found.problems:
        problem(each)
    owners: dict[Path, Path] = {}
    waiting: list[tuple[Path, str | None, np.ndarray]] = []
    for done, path in enumerate(found.pictures, start=1):
        try:
            owner = owners.setdefault(caption_target(path), path)
            if owner != path:
                raise PictureError(f"shares its caption with {shown(Path(owner.name))}; give it a name of its own")
            before = None if write is Write.REPLACE else _caption(path, found)
            if before is None or write is not Write.MISSING:
                square = white_square(decode(path, tagger.picture_size), tagger.picture_size)
                waiting.append((path, before, square))
        except CaptionError as error:
            problem(error.problem)
        except PictureError as error:
            problem(Problem(path, str(error)))
        if len(waiting) == BATCH or (waiting and done == len(found.pictures)):
            yield from _batch(waiting, tagger, threshold)
            waiting = []
        progress(done, len(found.pictures))


def apply(tagged: Tagged) -> bool:
    """Write the caption beside its picture where it changes; whether it did. Raises StorageError."""
    if tagged.after is None or tagged.after == tagged.before:
        return False
    write_caption(tagged.path, tagged.after)
    return True


def _batch(waiting: list[tuple[Path, str | None, np.ndarray]], tagger: Tagger, least: float | None) -> Iterator[Tagged]:
    answers = tagger.tags(np.stack([square for _, _, square in waiting]), least)
    for (path, before, _), tags in zip(waiting, answers, strict=True):
        old = caption_tags(before or "")
        new = [tag for tag, _ in tags if tag not in old]
        yield Tagged(path, tags, before, ", ".join([*([before] if before else []), *new]) if new else before)


def _caption(picture: Path, found: Survey) -> str | None:
    """The caption that `picture` has, None where there is none or an empty one. Raises CaptionError."""
    try:
        return caption_of(picture, found.caption_files, found.metadata)
    except CaptionError:
        beside = caption_file_of(picture, found.caption_files)
        if beside is not None and (not beside.is_file() or beside.read_bytes().strip(b"\xef\xbb\xbf \t\r\n,")):
            raise
        return None
