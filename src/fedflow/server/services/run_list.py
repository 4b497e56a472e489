"""Runs as a list shows them: a line each, newest first, whatever their number."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedflow.federation.rounds import Status
from fedflow.server.database.tables import Federation, Receipt, Run
from fedflow.server.services import roles
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store


@dataclass(frozen=True)
class RunLine:
    """A run in a list. `accepted` are the updates of the present round; `created_at` is in seconds since 1970."""

    id: str
    name: str
    federation_id: str
    federation: str
    status: Status
    message: str
    round: int
    rounds: int
    accepted: int
    created_at: float


def newest(
    store: Store, caller: Caller, federation_id: str | None = None, before: str = "", limit: int = 50
) -> list[RunLine]:
    """Runs that `caller` may see, newest first; those before the identifier `before`, of one federation or of all."""
    with store.read() as session:
        return newest_of(session, caller, federation_id, before, limit)


def newest_of(
    session: Session, caller: Caller, federation_id: str | None = None, before: str = "", limit: int = 50
) -> list[RunLine]:
    """The same, in the caller's transaction."""
    # Of each line by itself: to count all receipts first would cost more with every run that there ever was.
    accepted = select(func.count()).where(Receipt.run_id == Run.id, Receipt.round == Run.round).scalar_subquery()
    query = (
        select(
            Run.id,
            Run.name,
            Run.federation_id,
            Federation.name.label("federation"),
            Run.status,
            Run.message,
            Run.round,
            Run.plan["rounds"].as_integer().label("rounds"),
            accepted.label("accepted"),
            Run.created_at,
        )
        .join(Federation, Federation.id == Run.federation_id)
        .order_by(Run.id.desc())
        .limit(limit)
    )
    theirs = roles.federations_of(session, caller)
    if theirs is not None:
        query = query.where(Run.federation_id.in_(theirs))
    if federation_id is not None:
        query = query.where(Run.federation_id == federation_id)
    if before:
        query = query.where(Run.id < before)
    return [RunLine(**{**row, "status": Status(row["status"])}) for row in session.execute(query).mappings()]
