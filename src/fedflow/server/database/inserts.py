"""Inserts that say what happens to a row that is there already, in the words of the database that is asked."""

from __future__ import annotations

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from fedflow.server.database.base import Table


def insert(session: Session, table: type[Table]) -> postgresql.Insert | sqlite.Insert:
    """An INSERT into `table` that has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
