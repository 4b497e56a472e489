"""Updates that were refused: kept aside with a reason that both sides can read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedflow.server.database.tables import Member, Refusal
from fedflow.server.errors import Unprocessable
from fedflow.server.services import events, quarantine
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import Caller
from fedflow.server.services.run_rows import locked_run, membership, seen_by
from fedflow.server.services.uploads import TooMany
from fedflow.server.store import Store

KEPT_ASIDE = 3
"""Refused updates of a member in a run whose bytes are kept, the newest; of the others the reason stays."""

MOST_REFUSALS = 20
"""Refused updates of a member in a round that are looked at."""


@dataclass(frozen=True)
class RefusalFacts:
    """A refused update as both sides may read it; `sha256` is None where its bytes are kept no more."""

    id: str
    round: int
    member: str
    reason: str
    sha256: str | None
    age_s: float


def keep(store: Store, caller: Caller, run_id: str, number: int, sha256: str, path: Path, reason: str) -> None:
    """Keep a refused update aside, with its reason, where both sides can read it."""
    member_id, member = membership(caller)
    # The path goes after the row is there: the same hand-in again finds the one or the other.
    quarantine.keep(store, _aside(member_id, sha256), path)
    with store.begin() as session:
        run = locked_run(session, run_id)
        row = Refusal(id=new_id(), run_id=run_id, round=number, member_id=member_id, sha256=sha256)
        row.reason, row.refused_at = reason, store.clock()
        session.add(row)
        session.flush()
        dropped = _drop_older(session, run_id, member_id)
        told = {"round": number, "member": member, "reason": reason}
        events.record(session, store, run.federation_id, run_id, "update refused", **told)
    path.unlink(missing_ok=True)
    quarantine.drop(store, *(_aside(member_id, unused) for unused in dropped))


def say_again(store: Store, caller: Caller, run_id: str, number: int, sha256: str) -> None:
    """Raise Unprocessable with the earlier reason where the firewall has refused this update already."""
    member_id, _ = membership(caller)
    earlier = (
        select(Refusal.reason)
        .where(Refusal.run_id == run_id, Refusal.round == number)
        .where(Refusal.member_id == member_id, Refusal.sha256 == sha256)
    )
    with store.read() as session:
        reason = session.scalar(earlier.limit(1))
    if reason is not None:
        raise Unprocessable(reason)


def check_patience(session: Session, caller: Caller, run_id: str, number: int) -> None:
    """Raise TooMany for a member that was refused too often in this round: each costs a look, a file and a row."""
    member_id, member = membership(caller)
    query = select(func.count()).where(
        Refusal.run_id == run_id, Refusal.round == number, Refusal.member_id == member_id
    )
    if (session.scalar(query) or 0) >= MOST_REFUSALS:
        raise TooMany(
            f"{MOST_REFUSALS} updates of '{member}' were refused in round {number}; no more are looked at, "
            "ask the coordinator"
        )


def listed(store: Store, caller: Caller, run_id: str, after: str, limit: int) -> list[RefusalFacts]:
    """Refused updates of a run, oldest first, after the identifier `after`: a person sees all, a device its member's.

    Raises NotFound where there is no such run in the caller's federation.
    """
    now = store.clock()
    query = (
        select(Refusal, Member.name)
        .join(Member, Member.id == Refusal.member_id)
        .where(Refusal.run_id == run_id, Refusal.id > after)
        .order_by(Refusal.id)
        .limit(limit)
    )
    if caller.kind == "device":
        query = query.where(Refusal.member_id == caller.member_id)
    with store.read() as session:
        seen_by(session, caller, run_id)
        return [
            RefusalFacts(row.id, row.round, member, row.reason, row.sha256, max(0.0, now - row.refused_at))
            for row, member in session.execute(query)
        ]


def _aside(member_id: str, sha256: str) -> str:
    """Each member's in a file of its own: what one lets go may be another's too."""
    return f"{member_id}-{sha256}"


def _drop_older(session: Session, run_id: str, member_id: str) -> list[str]:
    """Let the member's older refusals in this run keep their reason only; returns what it refers to no more."""
    mine = Refusal.member_id == member_id
    ours = select(Refusal).where(Refusal.run_id == run_id, mine, Refusal.sha256.is_not(None))
    older = session.scalars(ours.order_by(Refusal.refused_at.desc(), Refusal.id.desc()).offset(KEPT_ASIDE)).all()
    hashes = {row.sha256 for row in older if row.sha256 is not None}
    for row in older:
        row.sha256 = None
    session.flush()
    used = set(session.scalars(select(Refusal.sha256).where(mine, Refusal.sha256.in_(hashes))))
    return sorted(hashes - used)
