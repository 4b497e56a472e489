"""The pictures that a participant trains on, as they are now."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from fedflow.datasets import content_hash, files_of, read_folder
from fedflow.errors import DatasetError


class Place:
    """A folder of pictures and captions, how many pictures it holds, and how many threads train on them.

    `mark` names its pictures and captions, wherever they lie; `problem` says why it cannot be used as it is now. With
    `takes_usable` the pictures that can be used are enough, as where the owner has a page that lists the others.
    """

    def __init__(self, data: Path, threads: int, *, takes_usable: bool = False) -> None:
        """Raises DatasetError for what cannot be used, all of it named on stderr before anything is sent."""
        self.data = data
        self.threads = threads
        self.takes_usable = takes_usable
        self.problem: str | None = None
        self._seen = _stamp(data)
        self.num_examples, self.mark = self._read()

    def look_again(self) -> None:
        """See what the folder holds now; nothing is opened where all files are as they were."""
        try:
            seen = _stamp(self.data)
            if seen == self._seen:
                return
            self.num_examples, self.mark = self._read()
            self.problem = None
        except DatasetError as error:
            seen, self.problem = "", str(error)
        self._seen = seen

    def _read(self) -> tuple[int, str]:
        dataset = read_folder(self.data, 1)
        if dataset.problems and not self.takes_usable:
            for problem in dataset.problems[:-1]:
                print(f"fedflow: {problem}", file=sys.stderr)
            raise DatasetError(str(dataset.problems[-1]))
        return len(dataset.pictures), content_hash(dataset)


def _stamp(data: Path) -> str:
    """Place, size and time of change of every file that counts. Raises DatasetError where the folder is away."""
    digest = hashlib.sha256()
    for path in files_of(data):
        try:
            status = path.stat()
        except OSError:  # gone meanwhile, or a link to nothing
            continue
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
