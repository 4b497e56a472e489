"""A database, or a store of files, that does not answer: how it is known, told in one line, and waited for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError

from fedflow.errors import RunError, StorageError, StoreAway

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
GONE_STATES = ("08", "57P01", "57P02", "57P03")
"""How PostgreSQL's codes begin where the connection is lost, or the server ends or starts."""


class DatabaseAway(RunError):  # noqa: N818 - what it is
    """The database does not answer; it may later."""


def is_away(error: BaseException) -> bool:
    """Whether the error says that nobody answers, and not that what was asked is wrong. SQLite always answers."""
    if isinstance(error, DatabaseAway | StoreAway):
        return True
    if not isinstance(error, DBAPIError) or type(error.orig).__module__.startswith("sqlite3"):
        return False
    state = getattr(error.orig, "sqlstate", None)
    if state is None:  # a connection that was not made, or was lost
        return isinstance(error, OperationalError | InterfaceError)
    return str(state).startswith(GONE_STATES)


def reason(error: BaseException) -> str:
    """What the error says, in one line, without the statement that met it."""
    found = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(f"{type(found).__name__}: {found}".split())


def who(error: BaseException) -> str:
    """Who does not answer."""
    return "the store of files" if isinstance(error, StoreAway) else "the database"


@contextmanager
def in_our_words(engine: Engine) -> Iterator[None]:
    """Raise DatabaseAway where `engine` finds no database, StorageError where it cannot use the one that it finds."""
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        if type(error) not in (DatabaseError, OperationalError, InterfaceError):  # what was asked is wrong
            raise
        where = engine.url.render_as_string(hide_password=True)
        if is_away(error):
            raise DatabaseAway(
                f"{where}: the database does not answer ({reason(error)}); start it, or check --database-url"
            ) from error
        raise StorageError(
            f"{where}: the database cannot be used ({reason(error)}); check --folder and --database-url, or restore a "
            "back-up where it is damaged"
        ) from error


class Outage:
    """Tells the log when something begins to fail and when it works again, once each, however often it is tried."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._kind: str | None = None
        self._pause_s = SHORTEST_PAUSE_S

    def failed(self, error: Exception) -> float:
        """Another try failed; gives the seconds to wait before the next."""
        away = is_away(error)
        kind = "away" if away else type(error).__name__
        if kind != self._kind:
            self._kind = kind
            if away:
                self._log.warning("%s: %s does not answer (%s); trying on", self._what, who(error), reason(error))
            else:
                self._log.error("%s failed; it tries on", self._what, exc_info=error)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return self._pause_s

    def over(self) -> None:
        """A try did not fail."""
        if self._kind is not None:
            self._log.info("%s: works again", self._what)
            self._kind, self._pause_s = None, SHORTEST_PAUSE_S
