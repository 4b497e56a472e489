"""The log of what left this machine: every request to a federation's server, for which run and round, and its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from sqlalchemy import ColumnElement, delete, exists, func, select

from fedflow.client.database.tables import Membership, Sending
from fedflow.client.leaving import Leaving, TakeBack
from fedflow.client.store import Store

POLL, SIGN_IN, ANSWER, UPDATE, HAND_IN, ASKED_FOR = "poll", "sign-in", "answer", "update", "hand-in", "download"
"""What leaves this machine: questions for work with what it does, proofs of who it is, answers to runs, trained
weights, the number of pictures and losses with them, requests for files and for what the server knows."""

MERGE_WITHIN_S = 3600.0
"""Sendings of one sort, run and round that follow one another within so long are one line of the log."""

BATCH = 1000


@dataclass(frozen=True)
class Wanted:
    """Which lines of the log: of a federation (or of NO_FEDERATION), of a run, of a sort; empty for all."""

    membership_id: str = ""
    run_id: str = ""
    what: str = ""


EVERYTHING = Wanted()
NO_FEDERATION = "none"
"""In the place of a federation's identifier: what was sent before one was joined, or where none was."""


def note(store: Store, membership_id: str | None, leaving: Leaving, server: str = "") -> TakeBack:
    """Write a request into the log: to a federation's server, or to `server` where none is joined yet.

    Gives what takes it out again, for a request that then never went.
    """
    what, now = _sort_of(leaving.method, leaving.path), store.clock()
    run_id, number = (None, None) if what == SIGN_IN else (leaving.run, leaving.round)
    with store.begin() as session:
        if membership_id is not None and session.get(Membership, membership_id) is None:
            return lambda: None
        same = (Sending.membership_id == membership_id, Sending.server == server)
        newest = select(Sending).where(*same).order_by(Sending.id.desc()).limit(1)
        row = session.scalar(newest)
        is_same = row is not None and (row.what, row.run_id, row.round) == (what, run_id, number)
        if row is not None and is_same and now - row.until < MERGE_WITHIN_S:
            before = row.until
            row.size_bytes, row.times, row.until = row.size_bytes + leaving.size_bytes, row.times + 1, now
        else:
            before = now
            row = Sending(membership_id=membership_id, at=now, what=what, size_bytes=leaving.size_bytes, times=1)
            row.until, row.run_id, row.round, row.server = now, run_id, number, server
            session.add(row)
            session.flush()
        line = (row.id, row.at)
    return partial(_take_back, store, line, leaving.size_bytes, (before, now))


def _take_back(store: Store, line: tuple[int, float], size_bytes: int, until: tuple[float, float]) -> None:
    """Take a request out of its line, which ended before it and with it at `until`.

    A line is known by its number and its beginning: where one was deleted meanwhile, another may have its number.
    """
    before, now = until
    with store.begin() as session:
        row = session.scalar(select(Sending).where(Sending.id == line[0], Sending.at == line[1]))
        if row is None:
            return
        if row.times == 1:
            session.delete(row)
            return
        row.size_bytes, row.times = row.size_bytes - size_bytes, row.times - 1
        row.until = before if row.until == now else row.until


def listed(store: Store, wanted: Wanted, limit: int, before: int = 0) -> list[Sending]:
    """Lines of the log, the one begun last first; those before the number `before` where it is given.

    By their first request, which stays as it is: a line that still grows moves from no page to another.
    """
    query = select(Sending).where(*_are(wanted)).order_by(Sending.id.desc()).limit(limit)
    with store.read() as session:
        return list(session.scalars(query.where(Sending.id < before) if before else query))


def every(store: Store, wanted: Wanted) -> Iterator[Sending]:
    """All lines of the log, oldest first, however many: so many at a time that none waits for them in memory."""
    query, after = select(Sending).where(*_are(wanted)).order_by(Sending.id).limit(BATCH), 0
    while True:
        with store.read() as session:
            found = list(session.scalars(query.where(Sending.id > after)))
        yield from found
        if len(found) < BATCH:
            return
        after = found[-1].id


def by_sort(store: Store, wanted: Wanted) -> dict[str, tuple[int, int]]:
    """Requests and bytes in all, by sort."""
    sums = select(Sending.what, func.sum(Sending.times), func.sum(Sending.size_bytes))
    with store.read() as session:
        found = session.execute(sums.where(*_are(wanted)).group_by(Sending.what))
        return {what: (int(times), int(size)) for what, times, size in found}


@dataclass(frozen=True)
class Sum:
    """What a federation, or a server where none was joined, got in all: for a run, or for none."""

    membership_id: str | None
    server: str
    run_id: str | None
    times: int
    size_bytes: int


def by_run(store: Store, wanted: Wanted) -> list[Sum]:
    """Requests and bytes in all, by federation and run; where something was sent last comes first."""
    of = (Sending.membership_id, Sending.server, Sending.run_id)
    sums = select(*of, func.sum(Sending.times), func.sum(Sending.size_bytes)).where(*_are(wanted)).group_by(*of)
    with store.read() as session:
        found = session.execute(sums.order_by(func.max(Sending.until).desc()))
        return [Sum(member, server, run, int(times), int(size)) for member, server, run, times, size in found]


def _are(wanted: Wanted) -> list[ColumnElement[bool]]:
    asked = ((Sending.run_id, wanted.run_id), (Sending.what, wanted.what))
    are = [column == value for column, value in asked if value]
    if wanted.membership_id == NO_FEDERATION:
        return [*are, Sending.membership_id.is_(None)]
    return [*are, Sending.membership_id == wanted.membership_id] if wanted.membership_id else are


def is_empty(store: Store, wanted: Wanted = EVERYTHING) -> bool:
    """Whether the log has no such line."""
    with store.read() as session:
        return not session.scalar(select(exists(Sending.id).where(*_are(wanted))))


def forget_unjoined(store: Store) -> None:
    """Delete what was sent without a federation."""
    with store.begin() as session:
        session.execute(delete(Sending).where(Sending.membership_id.is_(None)))


def _sort_of(method: str, path: str) -> str:
    if path.endswith("/work"):
        return POLL
    if path.endswith(("/join", "/challenge", "/token", "/sign-ins", "/sign-ins/state")):
        return SIGN_IN
    if path.endswith("/consent"):
        return ANSWER
    if path.endswith("/updates"):
        return HAND_IN
    return ASKED_FOR if method in ("GET", "HEAD") and "/uploads" not in path else UPDATE
