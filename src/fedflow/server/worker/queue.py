"""The queue of jobs: huey on a file in the data folder, or for several machines' workers on Redis or PostgreSQL.

A message is a job's identifier and no more than a hint; the row in the database is what counts, and the sweep sends
the hint again where it was lost.
"""

from __future__ import annotations

import logging
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from huey import RedisHuey, SqliteHuey

from fedflow.errors import MistakeError

DO_JOB = "do_job"
TOLD_AGAIN_S = 60.0
HUEYS_LOGS = ("huey.consumer", "huey.consumer.Worker")


class Seldom(logging.Filter):
    """Lets each message of huey through once a minute: with a queue that is away it has ten a second."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is told."""
        now = time.monotonic()
        if now - self._told.get(str(record.msg), -TOLD_AGAIN_S) < TOLD_AGAIN_S:
            return False
        self._told[str(record.msg)] = now
        return True


def open_queue(folder: Path, url: str | None, name: str) -> Any:
    """The queue `name` at `url` (`redis://...`, `postgresql+psycopg://...`), or the one in `folder`; huey has no types.

    Raises MistakeError for an address of another kind, or where the library for it is not installed.
    """
    for log in map(logging.getLogger, HUEYS_LOGS):
        if not any(isinstance(each, Seldom) for each in log.filters):
            log.addFilter(Seldom())
    if url is None:
        return SqliteHuey(name, filename=str(folder / "queue.db"), results=False, fsync=True)
    try:
        if url.startswith(("redis://", "rediss://", "unix://")):
            import_module("redis")
            return RedisHuey(name, url=url, results=False)
        if url.startswith("postgresql+psycopg://"):
            sql = import_module("huey.contrib.sql_huey")
            return sql.SqlHuey(name, database=url.replace("postgresql+psycopg", "psycopg3", 1), results=False)
    except ImportError as error:
        raise MistakeError(
            f"--queue-url: '{error.name}' is not installed; run in FedFlow's checkout: pip install '.[queue]'"
        ) from None
    kind = url.partition(":")[0]
    raise MistakeError(
        f"--queue-url {kind}:...: give redis://HOST:PORT/N or postgresql+psycopg://USER@HOST/NAME, "
        "or leave it out for a queue in the data folder"
    )
