"""What a person sees first: their federations with the newest runs of each, and what waits for them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Text, cast, func, or_, select

from fedflow.federation.rounds import GlobalState, Phase, RunState, Status
from fedflow.plan import Plan
from fedflow.server.database.tables import Device, Federation, Member, Receipt, Refusal, Round, Run, RunMember
from fedflow.server.services.roles import Belonging
from fedflow.server.services.standing import GIVES_UP, Awaited, awaited, cannot_close, needed
from fedflow.server.store import Store

RUNS_EACH = 3

Line = TypeVar("Line")


@dataclass(frozen=True)
class RunLine:
    """A run in one line; `rounds` is how many its plan has."""

    id: str
    federation_id: str
    federation: str
    name: str
    status: Status
    round: int
    rounds: int
    message: str
    created_at: float


@dataclass(frozen=True)
class Some(Generic[Line]):
    """The first lines of a list, and how many there are in all."""

    shown: list[Line]
    total: int


@dataclass(frozen=True)
class Asked:
    """A run that wants the consent of the member that the person acts for."""

    run: RunLine
    member: str


@dataclass(frozen=True)
class UnderWay:
    """A run that goes on, with its round: `accepted` of `selected` updates are in, and `deadline_at` is its end."""

    run: RunLine
    phase: str | None
    accepted: int
    selected: int
    deadline_at: float | None


@dataclass(frozen=True)
class Stalled:
    """A run whose round cannot close by itself: it has `accepted` of `needed` updates, and none of `waits`."""

    run: RunLine
    waits: tuple[Awaited, ...]
    accepted: int
    needed: int


@dataclass(frozen=True)
class Refused:
    """An update of a member that the round under way refused."""

    run: RunLine
    member: str
    reason: str


@dataclass(frozen=True)
class Lacking:
    """A member without a machine."""

    federation: str
    member: str


def newest_runs(
    store: Store, federation_ids: Collection[str], most: int = RUNS_EACH, without: Collection[str] = ()
) -> dict[str, list[RunLine]]:
    """The newest runs of each federation but those `without`, up to `most` of each, newest first."""
    place = func.row_number().over(partition_by=Run.federation_id, order_by=Run.id.desc()).label("place")
    ranked = select(Run.id, place).where(Run.federation_id.in_(federation_ids), Run.id.not_in(without)).subquery()
    query = _LINES.join(ranked, ranked.c.id == Run.id).where(ranked.c.place <= most).order_by(Run.id.desc())
    found: dict[str, list[RunLine]] = {}
    with store.read() as session:
        for row in session.execute(query):
            line = _line(*row)
            found.setdefault(line.federation_id, []).append(line)
    return found


def under_way(store: Store, federation_ids: Collection[str], most: int) -> Some[UnderWay]:
    """Runs that go on by themselves, up to `most`, the one whose round ends first at the beginning."""
    answered = (
        select(func.count())
        .where(Receipt.run_id == Run.id, Receipt.round == Run.round)
        .correlate(Run)
        .scalar_subquery()
    )
    query = (
        _LINES.add_columns(Round.phase, Round.selected, Round.deadline_at, answered, _TOTAL)
        .outerjoin(Round, (Round.run_id == Run.id) & (Round.number == Run.round))
        .where(Run.federation_id.in_(federation_ids), Run.status.in_((Status.PREPARING, Status.RUNNING)))
        .order_by(Round.deadline_at.is_(None), Round.deadline_at, Run.id)
        .limit(most)
    )
    with store.read() as session:
        rows = session.execute(query).all()
    lines = [
        UnderWay(_line(*line), phase, accepted, len(selected or ()), deadline_at)
        for *line, phase, selected, deadline_at, accepted, _ in rows
    ]
    return Some(lines, rows[0][-1] if rows else 0)


def stuck_runs(store: Store, federation_ids: Collection[str], start: int = 0, most: int = 50) -> Some[RunLine]:
    """Runs that go on when their coordinator says so, `most` from `start` on: failed, then paused, newest first."""
    stuck = Run.federation_id.in_(federation_ids), Run.status.in_((Status.FAILED, Status.PAUSED))
    query = _LINES.add_columns(_TOTAL).where(*stuck).order_by(Run.status != Status.FAILED, Run.id.desc())
    if not federation_ids:
        return Some([], 0)
    with store.read() as session:
        rows = session.execute(query.offset(start).limit(most)).all()
    return Some([_line(*line) for *line, _ in rows], rows[0][-1] if rows else 0)


def stalled_runs(store: Store, federation_ids: Collection[str]) -> list[Stalled]:
    """Runs under way whose round waits for updates that will not come by themselves, newest first.

    As `Standing.is_stuck` says it of one, of all in the same number of queries. The database names those that may be.
    """
    this_round = Receipt.run_id == Run.id, Receipt.round == Run.round
    refused_one = select(Refusal.id).where(Refusal.run_id == Run.id, Refusal.round == Run.round)
    told = cast(Device.doing, Text)
    gives_up = (
        select(Device.id)
        .join(RunMember, RunMember.member_id == Device.member_id)
        .where(RunMember.run_id == Run.id, Device.revoked_at.is_(None))
        .where(or_(*(told.contains(f'"{word}"') for word in sorted(GIVES_UP))))
    )
    answered = select(func.count()).where(*this_round).correlate(Run).scalar_subquery()
    query = (
        _LINES.add_columns(Run.plan, Round.selected)
        .join(Round, (Round.run_id == Run.id) & (Round.number == Run.round))
        .where(Run.federation_id.in_(federation_ids), Run.status == Status.RUNNING, Round.phase == Phase.COLLECTING)
        .where(or_(refused_one.exists(), gives_up.exists(), answered >= func.json_array_length(Round.selected)))
        .order_by(Run.id.desc())
    )
    receipts = select(Receipt.run_id, Member.name).join(Member, Member.id == Receipt.member_id)
    receipts = receipts.join(Run, (Run.id == Receipt.run_id) & (Run.round == Receipt.round))
    with store.read() as session:
        rows = session.execute(query).all()
        if not rows:
            return []
        accepted: dict[str, set[str]] = {identifier: set() for identifier, *_ in rows}
        for identifier, member in session.execute(receipts.where(Run.id.in_(accepted))):
            accepted[identifier].add(member)
        late = {row[0]: [name for name in row[-1] if name not in accepted[row[0]]] for row in rows}
        waits = awaited(session, store, late, store.clock())
    found = []
    for *columns, plan, selected in rows:
        run = _line(*columns)
        state = RunState(run.id, Phase.COLLECTING, run.round, tuple(selected), GlobalState())
        there, wanted = len(accepted[run.id]), needed(Plan.model_validate(plan), state)
        if cannot_close(there, waits[run.id], wanted):
            found.append(Stalled(run, waits[run.id], there, wanted))
    return found


def refused(store: Store, belongings: Collection[Belonging]) -> list[Refused]:
    """Updates of the members that the person acts for which the round under way refused; the last of each."""
    theirs = _acted_for(belongings)
    if not theirs:
        return []
    answered = select(Receipt.member_id).where(
        Receipt.run_id == Run.id, Receipt.round == Run.round, Receipt.member_id == Refusal.member_id
    )
    query = (
        _LINES.add_columns(Member.name, Refusal.reason)
        .join(Refusal, (Refusal.run_id == Run.id) & (Refusal.round == Run.round))
        .join(Member, Member.id == Refusal.member_id)
        .where(Refusal.member_id.in_(theirs), Run.status == Status.RUNNING, ~answered.exists())
        .order_by(Refusal.id.desc())
    )
    last: dict[tuple[str, str], Refused] = {}
    with store.read() as session:
        for *line, member, reason in session.execute(query):
            found = Refused(_line(*line), member, reason)
            last.setdefault((found.run.id, member), found)
    return list(last.values())


def _acted_for(belongings: Collection[Belonging]) -> list[str]:
    """Identifiers of the members that the person acts for."""
    return [each.member_id for each in belongings if each.member_id is not None]


def without_machine(store: Store, belongings: Collection[Belonging]) -> list[Lacking]:
    """Members that the person acts for, and of which no machine may call."""
    theirs = _acted_for(belongings)
    if not theirs:
        return []
    active = select(Device.id).where(Device.member_id == Member.id, Device.revoked_at.is_(None))
    query = (
        select(Federation.name, Member.name)
        .join(Federation, Federation.id == Member.federation_id)
        .where(Member.id.in_(theirs), Member.removed_at.is_(None), ~active.exists())
        .order_by(Federation.name, Member.name)
    )
    with store.read() as session:
        return [Lacking(federation, member) for federation, member in session.execute(query)]


def asked(store: Store, belongings: Collection[Belonging]) -> list[Asked]:
    """Runs that want the consent of a member that the person acts for; newest first."""
    theirs = _acted_for(belongings)
    if not theirs:
        return []
    query = (
        _LINES.add_columns(Member.name)
        .join(RunMember, RunMember.run_id == Run.id)
        .join(Member, Member.id == RunMember.member_id)
        .where(RunMember.member_id.in_(theirs), RunMember.consent == "asked", Run.round > 0)
        .where(Run.status.in_((Status.RUNNING, Status.PAUSED)))
        .order_by(Run.id.desc())
    )
    with store.read() as session:
        return [Asked(_line(*line), member) for *line, member in session.execute(query)]


_LINES = select(
    Run.id,
    Run.federation_id,
    Federation.name,
    Run.name,
    Run.status,
    Run.round,
    Run.plan["rounds"].as_integer(),
    Run.message,
    Run.created_at,
).join(Federation, Federation.id == Run.federation_id)

_TOTAL = func.count().over()


def _line(*columns: object) -> RunLine:
    identifier, federation_id, federation, name, status, number, rounds, message, created_at = columns
    return RunLine(
        str(identifier),
        str(federation_id),
        str(federation),
        str(name),
        Status(str(status)),
        int(str(number)),
        int(str(rounds)),
        str(message),
        float(str(created_at)),
    )
