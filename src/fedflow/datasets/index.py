"""What is known of each picture of a folder, made anew only for the files that changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from fedflow.datasets.captions import TURNS, CaptionError, caption_file_of, caption_of
from fedflow.datasets.duplicates import Look, look_of
from fedflow.datasets.folder import Survey, survey
from fedflow.datasets.pixels import PictureError, decode
from fedflow.datasets.records import Problem

TINY_EDGE = 64
MOST_ASPECT = 3.0
MOST_THREADS = 8
"""A picture of 64 megapixels takes 200 MB and more while it is decoded."""


@dataclass(frozen=True)
class Stamp:
    """By what a file is known to be unchanged."""

    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Seen:
    """A picture that could be decoded. `width` and `height` in pixels, upright.

    `pixels_sha256` is over size and RGB bytes: the same for the same picture in another lossless format.
    """

    width: int
    height: int
    pixels_sha256: str
    look: Look


@dataclass(frozen=True)
class Entry:
    """One picture. `path` and those of problems are relative to the folder.

    `seen` is None where `picture_problem` says why; `caption` is empty where `caption_problem` says why.
    `caption_file` is the file beside the picture that counts, None where the caption is a `metadata.jsonl`'s or lacks.
    """

    path: Path
    stamp: Stamp
    seen: Seen | None
    picture_problem: Problem | None
    caption: str
    caption_problem: Problem | None
    caption_file: Path | None
    caption_stamp: Stamp | None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why the picture is left out of training; none where it is not."""
        return tuple(problem for problem in (self.picture_problem, self.caption_problem) if problem is not None)

    @property
    def remarks(self) -> tuple[Problem, ...]:
        """What is odd about a picture that can be used all the same."""
        if self.seen is None:
            return ()
        width, height = self.seen.width, self.seen.height
        found = []
        if min(width, height) < TINY_EDGE:
            found.append(f"is tiny ({width}x{height}); a side under {TINY_EDGE} pixels has little to learn from")
        if max(width, height) > MOST_ASPECT * min(width, height):
            found.append(
                f"is very {'wide' if width > height else 'tall'} ({width}x{height}); its middle square is seen"
            )
        turns = dict.fromkeys(f"U+{ord(sign):04X}" for sign in TURNS.findall(self.caption))
        if turns:
            found.append(f"has a caption whose direction is turned unseen ({', '.join(turns)}); write it anew")
        return tuple(Problem(self.path, reason) for reason in found)


@dataclass(frozen=True)
class Index:
    """All pictures under `folder`, sorted by path, and the problems of what is no picture, relative to it too."""

    folder: Path
    entries: tuple[Entry, ...]
    other_problems: tuple[Problem, ...]

    @property
    def usable(self) -> tuple[Entry, ...]:
        """The pictures that `read_folder` gives too."""
        return tuple(entry for entry in self.entries if not entry.problems)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that cannot be used, sorted by path."""
        own = (problem for entry in self.entries for problem in entry.problems)
        return tuple(sorted((*own, *self.other_problems), key=lambda problem: problem.path))


def make_index(
    folder: Path, known: Iterable[Entry] = (), progress: Callable[[int, int], None] = lambda _done, _of: None
) -> Index:
    """Look at every picture under `folder`, and open those files alone that are not as `known` has them.

    Same size and time of change is the same file; what had a problem is always tried again. Pictures are decoded by
    as many threads as there are cores. `progress` is told pictures done and in all, both 0 while they are searched for;
    what it raises stops the work. Raises DatasetError where there is no folder.
    """
    found = survey(folder, lambda: progress(0, 0))
    before = {entry.path: entry for entry in known}
    entries: dict[Path, Entry] = {}
    to_open: list[Entry] = []
    for path in found.pictures:
        progress(0, 0)
        entry = _entry(folder, path, found, before.get(path.relative_to(folder)))
        entries[entry.path] = entry
        if entry.seen is None and entry.picture_problem is None:
            to_open.append(entry)
    done = len(entries) - len(to_open)
    progress(done, len(entries))
    for number, entry in enumerate(_opened(folder, to_open), start=done + 1):
        entries[entry.path] = entry
        progress(number, len(entries))
    others = tuple(_relative(problem, folder) for problem in found.problems)
    return Index(folder, tuple(entries.values()), others)


def _entry(folder: Path, path: Path, found: Survey, before: Entry | None) -> Entry:
    """The entry of a picture that need not be opened, or one without `seen` and `picture_problem`."""
    relative = path.relative_to(folder)
    stamp = _stamp(path)
    caption_file = caption_file_of(path, found.caption_files)
    caption_stamp = None if caption_file is None else _stamp(caption_file)
    caption_name = None if caption_file is None else caption_file.relative_to(folder)
    caption, problem = "", None
    if (
        before is not None
        and caption_stamp is not None
        and (before.caption_file, before.caption_stamp) == (caption_name, caption_stamp)
        and before.caption_problem is None
    ):
        caption = before.caption
    else:
        try:
            caption = caption_of(path, found.caption_files, found.metadata)
        except CaptionError as error:
            problem = _relative(error.problem, folder)
    seen = before.seen if before is not None and before.stamp == stamp else None
    return Entry(relative, stamp, seen, None, caption, problem, caption_name, caption_stamp)


def _opened(folder: Path, entries: list[Entry]) -> Iterator[Entry]:
    """`entries` with what their pictures show, in the order in which they are done."""
    num_threads = min(MOST_THREADS, len(os.sched_getaffinity(0)))
    waiting = iter(entries)
    with ThreadPoolExecutor(num_threads) as pool:
        # A few at a time, so that who stops waits for these and not for ten thousand.
        running: set[Future[Entry]] = {pool.submit(_look, folder, entry) for entry in islice(waiting, 2 * num_threads)}
        while running:
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(_look, folder, entry) for entry in islice(waiting, len(ready))}
            for future in ready:
                yield future.result()


def _look(folder: Path, entry: Entry) -> Entry:
    seen, problem = None, None
    try:
        image = decode(folder / entry.path)
    except PictureError as error:
        problem = Problem(entry.path, str(error))
    else:
        digest = hashlib.sha256(f"{image.width}x{image.height}\n".encode())
        digest.update(image.tobytes())
        seen = Seen(image.width, image.height, digest.hexdigest(), look_of(image))
    return replace(entry, seen=seen, picture_problem=problem)


def _stamp(path: Path) -> Stamp:
    """Of a file that is gone, or a link to nothing, one that no file has."""
    try:
        status = path.stat()
    except OSError:
        return Stamp(-1, -1)
    return Stamp(status.st_size, status.st_mtime_ns)


def _relative(problem: Problem, folder: Path) -> Problem:
    return Problem(problem.path.relative_to(folder), problem.reason)
