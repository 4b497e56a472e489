"""Commits of SQLite that share their way to the disk.

SQLite with `synchronous = FULL` brings its log to the disk within each commit, one writer after the other: while large
uploads keep the disk busy that is a tenth of a second each, and whoever hands in waits for everybody before. With
`synchronous = NORMAL` a commit only appends to the log; here its writer then waits until the log is on the disk, and
one sync serves all who have committed before it began. What was acknowledged survives a power cut just the same.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from fedflow.errors import StorageError


class Log:
    """The write-ahead log of one database file."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-wal")
        self._changed = threading.Condition()
        self._begun = 0
        self._ended = 0
        self._busy = False

    def sync(self) -> None:
        """Return when everything that was committed before this call is on the disk. Raises StorageError."""
        with self._changed:
            wanted = self._begun + 1
            while self._ended < wanted:
                if self._busy:
                    self._changed.wait()
                    continue
                self._busy = True
                self._begun += 1
                own = self._begun
                self._changed.release()
                failed = True
                try:
                    self._bring_to_disk()
                    failed = False
                finally:
                    self._changed.acquire()
                    self._busy = False
                    if not failed:
                        self._ended = own
                    self._changed.notify_all()

    def _bring_to_disk(self) -> None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return  # the last connection was closed, and brought everything into the database itself
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be opened ({error.strerror}); check the folder") from error
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be brought to the disk ({error.strerror})") from error
        finally:
            os.close(descriptor)
