"""The pictures that a participant trains on, as they are now."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from fedflow.datasets import read_folder
from fedflow.errors import DatasetError


class Place:
    """A folder of pictures and captions, how many pictures it holds, and how many threads train on them."""

    def __init__(self, data: Path, threads: int) -> None:
        """Raises DatasetError for what cannot be used, all of it named on stderr before anything is sent."""
        self.data = data
        self.threads = threads
        self.mark = ""
        self.num_examples = 0
        self.look_again()

    def look_again(self) -> bool:
        """Whether the folder holds something else than when it was looked at last. Raises DatasetError.

        `mark` names what it holds: every file's place, size and time of change. Nothing is opened where it is the same.
        """
        mark = _mark(self.data)
        if mark == self.mark:
            return False
        self.num_examples = _count_pictures(self.data)
        self.mark = mark
        return True


def _mark(data: Path) -> str:
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(data, followlinks=True):
        folders.sort()
        for path in (Path(folder, name) for name in sorted(names)):
            try:
                status = path.stat()
            except OSError:  # gone meanwhile, or a link to nothing
                continue
            digest.update(
                f"{path.relative_to(data)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="replace")
            )
    return digest.hexdigest()


def _count_pictures(data: Path) -> int:
    dataset = read_folder(data, 1)
    for problem in dataset.problems[:-1]:
        print(f"fedflow: {problem}", file=sys.stderr)
    if dataset.problems:
        raise DatasetError(str(dataset.problems[-1]))
    return len(dataset.pictures)
