"""The members of a federation as its pages show them, each with its devices and runs, and the cap of its examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedflow.federation.rounds import Status
from fedflow.server.database.tables import Device, Federation, Member, Run, RunMember
from fedflow.server.errors import NotFound, Unprocessable
from fedflow.server.services import audit, policies
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.store import Store

SEEN_S = 120.0
"""A device that has called within this time is there."""

NEWEST_RUNS = 20


@dataclass(frozen=True)
class DeviceLine:
    """A member's machine; times are seconds since 1970."""

    id: str
    member_id: str
    member: str
    name: str
    version: str
    created_at: float
    seen_at: float
    revoked_at: float | None


@dataclass(frozen=True)
class MemberLine:
    """A member. `devices` are those that may call, `runs` those that it consented to; `seen_at` its last call."""

    id: str
    federation_id: str
    name: str
    max_examples: int
    created_at: float
    removed_at: float | None
    devices: int
    seen_at: float | None
    runs: int


@dataclass(frozen=True)
class TakenPart:
    """A run that a member was planned for, with its answer: asked, accepted, declined."""

    id: str
    name: str
    status: Status
    consent: str
    created_at: float


@dataclass(frozen=True)
class Summary:
    """A federation in one line. `there` are members of which a device has called lately."""

    members: int = 0
    there: int = 0
    runs: int = 0
    under_way: int = 0


def summaries(store: Store, federation_ids: Sequence[str]) -> dict[str, Summary]:
    """Federations in one line each, in two queries whatever their number."""
    since = store.clock() - SEEN_S
    counted = (
        select(
            Member.federation_id,
            func.count(Member.id.distinct()),
            func.count(Member.id.distinct()).filter(Device.seen_at > since),
        )
        .outerjoin(Device, (Device.member_id == Member.id) & Device.revoked_at.is_(None))
        .where(Member.federation_id.in_(federation_ids), Member.removed_at.is_(None))
        .group_by(Member.federation_id)
    )
    over = Run.status.in_((Status.DONE, Status.STOPPED))
    runs = (
        select(Run.federation_id, func.count(), func.count().filter(~over))
        .where(Run.federation_id.in_(federation_ids))
        .group_by(Run.federation_id)
    )
    with store.read() as session:
        members = {each: (count, there) for each, count, there in session.execute(counted)}
        planned = {each: (count, under_way) for each, count, under_way in session.execute(runs)}
    return {each: Summary(*members.get(each, (0, 0)), *planned.get(each, (0, 0))) for each in federation_ids}


def listed(store: Store, federation_id: str, skip: int, limit: int) -> tuple[list[MemberLine], int]:
    """A page of the members, those that were removed last; and how many there are in all. Raises NotFound."""
    with store.read() as session:
        if session.get(Federation, federation_id) is None:
            raise NotFound(f"there is no federation {federation_id}")
        here = Member.federation_id == federation_id
        total = session.scalar(select(func.count()).select_from(Member).where(here)) or 0
        page = select(Member).where(here).order_by(Member.removed_at.is_not(None), func.lower(Member.name), Member.id)
        return _lines(session, session.scalars(page.offset(skip).limit(limit)).all()), total


def names(store: Store, federation_id: str) -> list[str]:
    """What the members are called, in the order of letters, without those that were removed."""
    mine = select(Member.name).where(Member.federation_id == federation_id, Member.removed_at.is_(None))
    with store.read() as session:
        return sorted(session.scalars(mine), key=str.casefold)


def member(store: Store, member_id: str) -> tuple[MemberLine, list[DeviceLine], list[TakenPart]]:
    """A member with its devices, newest first, and its newest runs. Raises NotFound."""
    with store.read() as session:
        row = session.get(Member, member_id)
        if row is None:
            raise NotFound(f"there is no member {member_id}")
        machines = select(Device).where(Device.member_id == member_id)
        newest_first = machines.order_by(Device.revoked_at.is_not(None), Device.id.desc())
        taken = (
            select(Run.id, Run.name, Run.status, RunMember.consent, Run.created_at)
            .join(RunMember, RunMember.run_id == Run.id)
            .where(RunMember.member_id == member_id)
            .order_by(Run.id.desc())
            .limit(NEWEST_RUNS)
        )
        return (
            _lines(session, [row])[0],
            [_device(each, row) for each in session.scalars(newest_first)],
            [
                TakenPart(one, name, Status(status), answer, at)
                for one, name, status, answer, at in session.execute(taken)
            ],
        )


def devices(store: Store, federation_id: str, skip: int, limit: int) -> tuple[list[DeviceLine], int, int]:
    """A page of the federation's devices, those that may still call first; how many there are in all, and of those."""
    query = select(Device, Member).join(Member, Member.id == Device.member_id)
    ordered = query.order_by(Device.revoked_at.is_not(None), func.lower(Member.name), Device.id)
    counts = select(func.count(), func.count().filter(Device.revoked_at.is_(None))).select_from(Device).join(Member)
    here = Member.federation_id == federation_id
    with store.read() as session:
        found = session.execute(ordered.where(here).offset(skip).limit(limit))
        total, there = session.execute(counts.where(here)).one()
        return [_device(device, of) for device, of in found], total, there


def member_of(store: Store, device_id: str) -> str:
    """The member that a device belongs to. Raises NotFound."""
    with store.read() as session:
        found = session.scalar(select(Device.member_id).where(Device.id == device_id))
    if found is None:
        raise NotFound(f"there is no device {device_id}")
    return found


def set_cap(store: Store, member_id: str, max_examples: int, by: Caller = SERVER) -> None:
    """Let the member's updates count for so many examples at most, from the next one on.

    Raises NotFound where there is no such member, Unprocessable for a number that is none.
    """
    if not 1 <= max_examples <= policies.MOST_EXAMPLES:
        raise Unprocessable(f"max_examples: {max_examples} is out of range; give 1 to {policies.MOST_EXAMPLES}")
    with store.begin() as session:
        row = session.get(Member, member_id, with_for_update=True)
        if row is None:
            raise NotFound(f"there is no member {member_id}")
        if row.max_examples == max_examples:
            return
        told = {"member": row.name, "before": row.max_examples, "max_examples": max_examples}
        row.max_examples = max_examples
        audit.record(session, store, by, "cap changed", "member", member_id, row.federation_id, **told)


def _lines(session: Session, rows: Sequence[Member]) -> list[MemberLine]:
    identifiers = [row.id for row in rows]
    seen = (
        select(Device.member_id, func.count().filter(Device.revoked_at.is_(None)), func.max(Device.seen_at))
        .where(Device.member_id.in_(identifiers))
        .group_by(Device.member_id)
    )
    taken = (
        select(RunMember.member_id, func.count())
        .where(RunMember.member_id.in_(identifiers), RunMember.consent == "accepted")
        .group_by(RunMember.member_id)
    )
    calls = {each: (count, at) for each, count, at in session.execute(seen)}
    runs: dict[str, int] = dict(session.execute(taken).all())
    return [
        MemberLine(
            id=row.id,
            federation_id=row.federation_id,
            name=row.name,
            max_examples=row.max_examples,
            created_at=row.created_at,
            removed_at=row.removed_at,
            devices=calls.get(row.id, (0, None))[0],
            seen_at=calls.get(row.id, (0, None))[1],
            runs=runs.get(row.id, 0),
        )
        for row in rows
    ]


def _device(row: Device, of: Member) -> DeviceLine:
    return DeviceLine(row.id, of.id, of.name, row.name, row.version, row.created_at, row.seen_at, row.revoked_at)
