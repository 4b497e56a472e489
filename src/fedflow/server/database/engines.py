"""Engines for SQLite and PostgreSQL, and what their transactions are like."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

BUSY_TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 5
CONNECTIONS = 32  # more threads wait for one: it is held for milliseconds
STATEMENTS = 1000  # that a connection of PostgreSQL keeps prepared; the default forgets a hundred-and-first
RESTED_S = 1.0
"""A connection that nobody used for so long is tried before it is used; to try each every time costs a third more."""

_READS, _RESTS_SINCE = "fedflow_reads", "fedflow_rests_since"


def make_engine(url: str) -> Engine:
    """An engine, with SQLite told to be durable and to lock when a writer begins."""
    if url.startswith("sqlite:"):
        engine = create_engine(url, pool_size=CONNECTIONS, max_overflow=0)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    engine = create_engine(
        url,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_use_lifo=True,  # few connections at work, which know the statements already
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
    )
    event.listen(engine, "connect", _set_up_postgresql)
    event.listen(engine, "checkin", _rest)
    event.listen(engine, "checkout", lambda connection, entry, _: _try_if_rested(engine, connection, entry))
    return engine


def reading(engine: Engine) -> Engine:
    """The same connections for transactions that only read, and take no write lock.

    On PostgreSQL each statement sees what is committed when it begins, in a transaction as without; so there is none,
    which saves two ways to the server and back.
    """
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{_READS: True})
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _set_up_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin where _begin_sqlite says, not at the first INSERT
    for setting in (
        f"busy_timeout = {BUSY_TIMEOUT_S * 1000}",
        "journal_mode = WAL",
        "synchronous = NORMAL",  # Store.begin brings each commit to the disk, together with others
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {setting}")


def _set_up_postgresql(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("SET jit = off")  # to compile a statement takes it 200 ms and more; no statement here runs so long
    cursor.close()
    connection.commit()
    connection.prepared_max = STATEMENTS


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _rest(_connection: Any, entry: ConnectionPoolEntry) -> None:
    entry.info[_RESTS_SINCE] = time.monotonic()


def _try_if_rested(engine: Engine, connection: Any, entry: ConnectionPoolEntry) -> None:
    """A database that was gone and is back costs no request: all connections of before are given up together."""
    if time.monotonic() - entry.info.get(_RESTS_SINCE, time.monotonic()) < RESTED_S:
        return
    try:
        engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error
