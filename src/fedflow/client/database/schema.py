"""The schema's version: made at the first start, raised at the first start of a newer FedFlow.

Alembic is imported only where there is something to migrate: a page shall open within a second of the start.
"""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from fedflow.errors import MistakeError

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "alembic_version"


def prepare(engine: Engine) -> None:
    """Bring the database to this FedFlow's version, in one transaction.

    Raises MistakeError where a newer FedFlow has made it.
    """
    known = sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))
    with engine.begin() as connection:
        found = _version(connection)
        if found == known[-1]:
            return
        if found is not None and found not in known:
            raise MistakeError(f"{engine.url.database}: was made by a newer FedFlow; update FedFlow on this machine")
        migrate(connection)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
    return version


def migrate(connection: Connection, to: str = "head") -> None:
    """Bring the database to a version, in the caller's transaction."""
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
