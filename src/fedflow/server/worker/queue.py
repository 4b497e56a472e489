"""The queue between web processes and workers: huey on a file in the data folder, or on Redis.

A message is a job's identifier and no more than a hint; the row in the database is what counts, and the sweep sends
the hint again where it was lost. No torch here: the web process sends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huey import RedisHuey, SqliteHuey

from fedflow.errors import MistakeError

NAME = "fedflow"
DO_JOB = "do_job"


def open_queue(folder: Path, url: str | None) -> Any:
    """The queue at `url` (`redis://...`), or the one in `folder`; huey ships no types.

    Raises MistakeError for an address of another kind.
    """
    if url is None:
        return SqliteHuey(NAME, filename=str(folder / "queue.db"), results=False, fsync=True)
    if url.startswith("redis://"):
        return RedisHuey(NAME, url=url, results=False)
    raise MistakeError(f"--queue-url {url}: give redis://HOST:PORT/N, or leave it out for a queue in the data folder")
