"""The schema's version: made where the database is empty, checked at every start, raised by migrations.

Alembic is imported by who migrates only: a server's processes check the version at every start, and would keep it and
what it brings along, some 10 MB each.
"""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, inspect, text

from fedflow.errors import MistakeError

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "alembic_version"
IN_FOLDER = "server.db"  # the database's name in a server's folder
LOCK = 8440  # number of the advisory lock that keeps two migrations on PostgreSQL apart


def prepare(engine: Engine) -> None:
    """Make the schema where the database is empty; otherwise check it as `check` does."""
    if not is_there(engine):
        upgrade(engine)
    check(engine)


def is_there(engine: Engine) -> bool:
    """Whether the database has tables, of whatever version."""
    with engine.connect() as connection:
        return bool(inspect(connection).get_table_names())


def upgrade(engine: Engine) -> None:
    """Bring the schema to this FedFlow's version, in one transaction. Raises MistakeError where it cannot."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        _refuse_strangers(connection)
        _migrate(connection, "head")


def make(connection: Connection, revision: str) -> None:
    """Make the schema of this version, one of `revisions`, in an empty database, in the caller's transaction.

    Raises MistakeError where the database is not empty.
    """
    refuse_unless_empty(connection)
    _migrate(connection, revision)


def refuse_unless_empty(connection: Connection) -> None:
    """Raise MistakeError where the database has tables."""
    if inspect(connection).get_table_names():
        where = connection.engine.url.render_as_string(hide_password=True)
        raise MistakeError(f"{where}: is not empty; name an empty database")


def check(engine: Engine) -> None:
    """Raise MistakeError unless the schema is this FedFlow's."""
    with engine.connect() as connection:
        _refuse_strangers(connection)
        if version(connection) != revisions()[-1]:
            where = engine.url.render_as_string(hide_password=True)
            raise MistakeError(f"{where}: the database is older than this FedFlow; run '{_migration(engine.url)}'")


def _migration(url: URL) -> str:
    """The command that raises the schema of the database at `url`, with its options."""
    database = Path(url.database or "")
    if url.get_backend_name() == "sqlite" and database.name == IN_FOLDER:
        return shlex.join(["fedflow", "server", "--folder", str(database.parent), "migrate"])
    return shlex.join(["fedflow", "server", "--database-url", url.render_as_string(hide_password=True), "migrate"])


def _refuse_strangers(connection: Connection) -> None:
    """Raise MistakeError where the database has a version that is not ours, or tables and no version."""
    where = connection.engine.url.render_as_string(hide_password=True)
    found = version(connection)
    if found is None:
        tables = set(inspect(connection).get_table_names()) - {VERSION_TABLE}
        if tables:
            raise MistakeError(
                f"{where}: holds tables that are not FedFlow's ('{min(tables)}'); name an empty database"
            )
        return
    if found not in revisions():
        raise MistakeError(f"{where}: this FedFlow is older than its database; update FedFlow")


def version(connection: Connection) -> str | None:
    """The version that the database's schema has; None where it has none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
    return found


def revisions() -> list[str]:
    """All versions that this FedFlow knows, oldest first: each migration's file begins with its own."""
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _migrate(connection: Connection, revision: str) -> None:
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    logging.getLogger("alembic").setLevel(logging.WARNING)  # a fresh database is no news
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
