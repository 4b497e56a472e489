"""The workers' and evaluators' last sign of life, which each writes itself."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select

from fedflow.server.database.tables import Process
from fedflow.server.store import Store

SEEN_EVERY_S = 10.0
GONE_S = 60.0
"""Who has not been seen for so long is taken for gone."""

FORGOTTEN_S = 86_400.0
REPLACED_S = 3600.0
"""Who has been gone for longer is told of only where nobody else does the same."""


@dataclass(frozen=True)
class ProcessLine:
    """A worker or evaluator: `name` is HOST-PROCESS, `pool` what it does: rounds, evaluation.

    `is_served`: it, or another that does the same, is there.
    """

    name: str
    pool: str
    version: str
    started_at: float
    seen_at: float
    is_gone: bool
    is_served: bool


def seen(store: Store, name: str, pool: str, version: str) -> None:
    """Note that a process is there; those that went more than a day ago are forgotten."""
    now = store.clock()
    with store.begin() as session:
        row = session.get(Process, name)
        if row is None or row.pool != pool:
            session.merge(Process(name=name, pool=pool, version=version, started_at=now, seen_at=now))
            session.execute(delete(Process).where(Process.seen_at < now - FORGOTTEN_S))
        else:
            row.seen_at = now


def ended(store: Store, name: str) -> None:
    """Forget a process that ends as it should."""
    with store.begin() as session:
        session.execute(delete(Process).where(Process.name == name))


def are_there(store: Store, pool: str) -> bool:
    """Whether a process that does `pool` has been seen of late."""
    query = select(Process.name).where(Process.pool == pool, Process.seen_at >= store.clock() - GONE_S).limit(1)
    with store.read() as session:
        return session.scalar(query) is not None


def listed(store: Store) -> list[ProcessLine]:
    """Those that are there, then those that are gone."""
    now = store.clock()
    with store.read() as session:
        rows = session.scalars(select(Process).order_by(Process.pool, Process.name)).all()
    served = {row.pool for row in rows if now - row.seen_at <= GONE_S}
    lines = [
        ProcessLine(
            row.name,
            row.pool,
            row.version,
            row.started_at,
            row.seen_at,
            is_gone=now - row.seen_at > GONE_S,
            is_served=row.pool in served,
        )
        for row in rows
        if row.pool not in served or now - row.seen_at <= REPLACED_S
    ]
    return sorted(lines, key=lambda line: line.is_gone)
