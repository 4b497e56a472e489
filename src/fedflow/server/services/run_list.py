"""Runs as a list shows them: a line each, newest first, whatever their number."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

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


@dataclass(frozen=True)
class Wanted:
    """Which runs of a list: in this state, of this federation, with this in their name; None and '' for any."""

    status: Status | None = None
    federation_id: str = ""
    text: str = ""


EVERY = Wanted()


def newest(store: Store, caller: Caller, wanted: Wanted = EVERY, before: str = "", limit: int = 50) -> list[RunLine]:
    """Runs that `caller` may see and that are `wanted`, newest first; those before the identifier `before`."""
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
    if wanted.status is not None:
        query = query.where(Run.status == wanted.status)
    if wanted.federation_id:
        query = query.where(Run.federation_id == wanted.federation_id)
    if wanted.text:
        query = query.where(Run.name.icontains(wanted.text, autoescape=True))
    if before:
        query = query.where(Run.id < before)
    with store.read() as session:
        theirs = roles.federations_of(session, caller)
        if theirs is not None:
            query = query.where(Run.federation_id.in_(theirs))
        return [RunLine(**{**row, "status": Status(row["status"])}) for row in session.execute(query).mappings()]
