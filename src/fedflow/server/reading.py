"""Sessions that only read: one for each look at the database, or one for all looks of a page."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

Found = TypeVar("Found")


class ReadingSession(Session):
    """A session whose rows are not written, on SQLite nor on PostgreSQL."""

    def flush(self, *_args: Any, **_options: Any) -> None:
        """Raise RuntimeError where there is anything to write."""
        if self.new or self.dirty or self.deleted:
            raise RuntimeError("a service wrote in Store.read; what writes belongs into Store.begin")


class PageSession(ReadingSession):
    """One session for all that a page reads: a row is loaded once, and what is `remembered` is asked once."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, expire_on_commit=False)
        self.reads_from = engine
        self.found: dict[Hashable, Any] = {}
        self.rows: list[object] = []  # else a session forgets a row that nobody holds

    def rest(self) -> None:
        """Give the connection back and forget nothing: something follows that may take long."""
        self.commit()

    def let_go(self) -> None:
        """Forget all and give the connection back: something is about to be written, or the database is away."""
        self.found.clear()
        self.rows.clear()
        self.expunge_all()  # before the end of the transaction, which would make the rows forget what they are
        self.rollback()


@event.listens_for(PageSession, "loaded_as_persistent")
def _keep(session: Session, row: object) -> None:
    if isinstance(session, PageSession):
        session.rows.append(row)


_OF_PAGE: ContextVar[PageSession | None] = ContextVar("of_page", default=None)


@contextmanager
def one_session(engine: Engine) -> Iterator[None]:
    """Let this thread read from `engine` in one session. Not for what takes long: it may hold a connection."""
    with PageSession(engine) as session:
        before = _OF_PAGE.set(session)
        try:
            yield
        finally:
            _OF_PAGE.reset(before)


def session_of_page(engine: Engine) -> PageSession | None:
    """The one that this thread reads in at present; None where each look is a session of its own."""
    session = _OF_PAGE.get()
    return session if session is not None and session.reads_from is engine else None


def remembered(session: Session, key: Hashable, find: Callable[[], Found]) -> Found:
    """What `find` asks the database for; of a page that reads in one session the first answer."""
    if not isinstance(session, PageSession):
        return find()
    if key not in session.found:
        session.found[key] = find()
    answer: Found = session.found[key]
    return answer
