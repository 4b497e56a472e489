"""The queue of jobs: huey on a file in the data folder, or for several machines' workers on Redis or PostgreSQL.

A message is a job's identifier and no more than a hint; the row in the database is what counts, and the sweep sends
the hint again where it was lost.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from huey import RedisHuey, SqliteHuey

from fedflow.errors import MistakeError

DO_JOB = "do_job"


def open_queue(folder: Path, url: str | None, name: str) -> Any:
    """The queue `name` at `url` (`redis://...`, `postgresql+psycopg://...`), or the one in `folder`; huey has no types.

    Raises MistakeError for an address of another kind, or where the library for it is not installed.
    """
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
        raise MistakeError(f"--queue-url: '{error.name}' is not installed; run: pip install 'fedflow[queue]'") from None
    kind = url.partition(":")[0]
    raise MistakeError(
        f"--queue-url {kind}:...: give redis://HOST:PORT/N or postgresql+psycopg://USER@HOST/NAME, "
        "or leave it out for a queue in the data folder"
    )
