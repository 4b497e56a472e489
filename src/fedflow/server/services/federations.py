"""Federations and their members."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Select, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fedflow.federation.rounds import Status
from fedflow.server.database.tables import Challenge, Device, Federation, JoinCode, Member, Run, RunMember
from fedflow.server.errors import Conflict, NotFound, Unprocessable
from fedflow.server.services import audit, events, roles, runs
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.services.names import is_shown
from fedflow.server.services.run_rows import locked_run
from fedflow.server.store import Sighting, Store

DEFAULT = "federation"
LONGEST_NAME = 80


@dataclass(frozen=True)
class DeviceFacts:
    """A member's machine as the coordinator sees it."""

    id: str
    name: str
    version: str
    seen_s_ago: float
    revoked: bool


@dataclass(frozen=True)
class MemberFacts:
    """A member as the coordinator sees it. `removed` members keep their line."""

    id: str
    name: str
    max_examples: int
    removed: bool
    devices: tuple[DeviceFacts, ...]


def create(store: Store, name: str, identifier: str | None = None, by: Caller = SERVER) -> str:
    """A new federation's identifier, `identifier` where one is given; who has it already was made by the same request.

    Raises Conflict where another of that name is there.
    """
    federation = Federation(id=identifier or new_id(), name=name, created_at=store.clock())
    try:
        with store.begin() as session:
            if identifier is not None and session.get(Federation, identifier) is not None:
                return identifier
            session.add(federation)
            session.flush()
            audit.record(session, store, by, "federation made", "federation", federation.id, federation.id, name=name)
    except IntegrityError:
        raise Conflict(f"there is a federation '{name}' already; choose another name") from None
    return federation.id


def checked_name(name: str) -> str:
    """`name` where it can be a federation's. Raises Unprocessable."""
    if not 1 <= len(name) <= LONGEST_NAME or not is_shown(name):
        raise Unprocessable(f"name: give 1 to {LONGEST_NAME} letters in one line")
    return name


def first_federation(store: Store, name: str = DEFAULT) -> str:
    """The identifier of the oldest federation; the first start of a server makes one of this name.

    Raises Unprocessable where it cannot be a name.
    """
    oldest = select(Federation.id).order_by(Federation.created_at, Federation.id).limit(1)
    with store.read() as session:
        found = session.scalar(oldest)
    if found is not None:
        return found
    try:
        return create(store, checked_name(name))
    except Conflict:  # another process of this server was first
        with store.read() as session:
            return session.scalars(oldest).one()


def listed(store: Store, caller: Caller, after: str, limit: int) -> list[Federation]:
    """Federations that `caller` may look into, in the order they were made, after the identifier `after`."""
    query = select(Federation).where(Federation.id > after).order_by(Federation.id).limit(limit)
    with store.read() as session:
        theirs = roles.federations_of(session, caller)
        return list(session.scalars(query if theirs is None else query.where(Federation.id.in_(theirs))))


def one(store: Store, federation_id: str) -> Federation:
    """One federation. Raises NotFound."""
    with store.read() as session:
        found = session.get(Federation, federation_id)
    if found is None:
        raise NotFound(f"there is no federation {federation_id}")
    return found


def members(store: Store, federation_id: str, after: str = "", limit: int = 200) -> list[MemberFacts]:
    """Members with their devices, in the order they joined, after the identifier `after`. Raises NotFound."""
    now = store.clock()
    with store.read() as session:
        if session.get(Federation, federation_id) is None:
            raise NotFound(f"there is no federation {federation_id}")
        page = session.scalars(
            select(Member)
            .where(Member.federation_id == federation_id, Member.id > after)
            .order_by(Member.id)
            .limit(limit)
        ).all()
        devices: dict[str, list[DeviceFacts]] = {member.id: [] for member in page}
        for device in session.scalars(select(Device).where(Device.member_id.in_(devices)).order_by(Device.id)):
            seen = store.sightings.newest(device.id, Sighting(device.seen_at, device.doing))
            seen_s_ago = max(0.0, now - seen.at)
            facts = DeviceFacts(device.id, device.name, device.version, seen_s_ago, device.revoked_at is not None)
            devices[device.member_id].append(facts)
    return [
        MemberFacts(
            member.id, member.name, member.max_examples, member.removed_at is not None, tuple(devices[member.id])
        )
        for member in page
    ]


def remove_member(store: Store, member_id: str, by: Caller = SERVER) -> None:
    """Shut a member out with all its devices and unused codes, at once; its runs go on without it, what it gave stays.

    Twice changes nothing. Raises NotFound where there is no such member.
    """
    now = store.clock()
    with store.begin() as session:
        member = session.get(Member, member_id)
        if member is None:
            raise NotFound(f"there is no member {member_id}")
        affected = [locked_run(session, run_id) for run_id in session.scalars(_runs_under_way(member_id)).all()]
        fresh = update(Member).where(Member.id == member_id, Member.removed_at.is_(None)).values(removed_at=now)
        if session.scalar(fresh.returning(Member.id)) is None:
            return
        devices = select(Device.id).where(Device.member_id == member_id)
        session.execute(delete(Challenge).where(Challenge.device_id.in_(devices)))
        unused = (JoinCode.federation_id == member.federation_id, JoinCode.member_name == member.name)
        session.execute(delete(JoinCode).where(*unused, JoinCode.used_at.is_(None)))
        session.execute(
            update(Device).where(Device.member_id == member_id, Device.revoked_at.is_(None)).values(revoked_at=now)
        )
        events.record(session, store, member.federation_id, None, "member removed", member=member.name)
        for run in affected:
            runs.without(session, store, run, member.name)
        told = {"member": member.name}
        audit.record(session, store, by, "member removed", "member", member_id, member.federation_id, **told)


def locked_federation(session: Session, federation_id: str) -> Federation:
    """The federation's row, locked against other writers that ask for it until the transaction ends.

    Raises NotFound where there is none.
    """
    federation = session.scalar(
        select(Federation).where(Federation.id == federation_id).with_for_update(key_share=True)
    )
    if federation is None:
        raise NotFound(f"there is no federation {federation_id}")
    return federation


def _runs_under_way(member_id: str) -> Select[str]:
    return (
        select(Run.id)
        .join(RunMember, RunMember.run_id == Run.id)
        .where(RunMember.member_id == member_id, Run.status.not_in((Status.DONE, Status.STOPPED)))
        .order_by(Run.id)
    )
