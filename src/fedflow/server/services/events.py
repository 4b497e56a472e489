"""What happened in a federation, in order: what the event stream and `explain` read."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedflow.server.database.tables import Event, Federation
from fedflow.server.store import Store


def record(
    session: Session, store: Store, federation_id: str, run_id: str | None, kind: str, /, **facts: object
) -> None:
    """Write an event within the caller's transaction, best as its last step: `facts` must be JSON.

    The federation's row is locked until the commit, so that events become visible in the order of their numbers
    and a reader that asks for "all after N" misses none. (SQLite has one writer at a time anyway.)
    """
    lock(session, federation_id)
    session.add(Event(federation_id=federation_id, run_id=run_id, kind=kind, facts=facts, at=store.clock()))
    session.flush()


def lock(session: Session, federation_id: str) -> None:
    """Hold the federation's row until the transaction ends, before other writers that ask for it."""
    session.execute(select(Federation.id).where(Federation.id == federation_id).with_for_update(key_share=True))


def last(store: Store, federation_id: str) -> int:
    """The number of the newest event; 0 where there is none."""
    with store.read() as session:
        query = select(Event.id).where(Event.federation_id == federation_id).order_by(Event.id.desc()).limit(1)
        return session.scalar(query) or 0


def since(store: Store, federation_id: str, after_id: int, limit: int) -> list[Event]:
    """At most `limit` events with numbers above `after_id`, oldest first."""
    with store.read() as session:
        return list(
            session.scalars(
                select(Event)
                .where(Event.federation_id == federation_id, Event.id > after_id)
                .order_by(Event.id)
                .limit(limit)
            )
        )
