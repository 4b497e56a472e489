"""A run as its page shows it: the line of rounds, a line for each participant, figures and galleries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session, undefer_group

from fedflow.federation.rounds import Phase, Status
from fedflow.plan import Plan
from fedflow.server.database.tables import Device, Member, Receipt, Refusal, Round, Run, RunMember, Upload
from fedflow.server.errors import NotFound
from fedflow.server.services import jobs, policies, roles
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.services.run_rows import plan_of
from fedflow.server.services.standing import Standing, newer, sending, standing_of
from fedflow.server.store import Sighting, Store

RoundState = Literal["done", "collecting", "aggregating", "to come"]
ParticipantState = Literal[
    "removed", "declined", "not joined", "asked", "refused", "answered", "sending", "training", "holds back", "waits"
]

SETTLED: frozenset[ParticipantState] = frozenset({"removed", "declined", "answered"})
"""Of whom the round under way wants nothing more."""

ENDED = (Status.DONE, Status.STOPPED)
SHOWN = (*jobs.MEASURING, "chart")
"""Kinds of jobs whose results its page shows."""


@dataclass(frozen=True)
class RoundNode:
    """A round on the line of rounds; times count back from now, `report` are the aggregation's figures."""

    number: int
    state: RoundState
    accepted: int = 0
    selected: int = 0
    opened_s: float | None = None
    committed_s: float | None = None
    report: dict[str, float | int | str | None] | None = None


@dataclass(frozen=True)
class ParticipantLine:
    """A member in the run: what it does now, its pictures, its last sign of life, and how far its upload is.

    `seen_s` is how long ago it was heard, by a call or by a byte of its upload; `byte_s` is how long ago the last byte
    of its upload came. `doing` is its own word where it holds back, `reason` why its update was refused. `is_awaited`
    says that the round under way waits for its update.
    """

    member: str
    state: ParticipantState
    num_examples: int | None
    seen_s: float | None
    sent_bytes: int | None = None
    of_bytes: int | None = None
    byte_s: float | None = None
    doing: str | None = None
    reason: str | None = None
    is_awaited: bool = False


@dataclass(frozen=True)
class RunView:
    """A run at this moment. `deadline_s` is how long the round still waits at most.

    `to_measure` models are still to be measured, and `is_over` says that nothing of the run will move any more.
    """

    id: str
    federation_id: str
    plan: Plan
    created_s: float
    finished_s: float | None
    standing: Standing
    rounds: tuple[RoundNode, ...]
    participants: tuple[ParticipantLine, ...]
    deadline_s: float | None
    is_scored: bool
    to_measure: int
    is_over: bool


def view(store: Store, run_id: str, caller: Caller = SERVER) -> RunView:
    """The run as `caller` sees it now, in a number of queries that does not grow with it. Raises NotFound."""
    now = store.clock()
    with store.read() as session:
        run = session.get(Run, run_id, options=[undefer_group("long")])
        if run is None:
            raise NotFound(f"there is no run {run_id}")
        plan, standing = plan_of(run), standing_of(session, store, run, now)
        to_come = jobs.unfinished_by_kind(session, run.id, SHOWN)
        collecting = standing.collecting
        return RunView(
            id=run.id,
            federation_id=run.federation_id,
            plan=plan,
            created_s=max(0.0, now - run.created_at),
            finished_s=None if run.finished_at is None else max(0.0, now - run.finished_at),
            standing=standing,
            rounds=_rounds(session, run, plan, now),
            participants=_participants(
                session, store, run, now, policies.shows_examples(session, caller, run.federation_id)
            ),
            deadline_s=None if collecting is None else collecting.left_s,
            is_scored=not (run.prepared or {}).get("not_scored"),
            to_measure=sum(to_come.get(kind, 0) for kind in jobs.MEASURING),
            is_over=run.status in ENDED and not to_come,
        )


def is_over(store: Store, run_id: str) -> bool:
    """Whether the run has ended, and all of it is measured and drawn. Raises NotFound."""
    with store.read() as session:
        run = session.get(Run, run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id}")
        return run.status in ENDED and not jobs.unfinished(session, run.id, SHOWN)


def federation_of(store: Store, run_id: str) -> str:
    """The federation of a run. Raises NotFound."""
    with store.read() as session:
        found = roles.federation_of(session, "run_id", run_id)
    if found is None:
        raise NotFound(f"there is no run {run_id}")
    return found


def _rounds(session: Session, run: Run, plan: Plan, now: float) -> tuple[RoundNode, ...]:
    counted = select(Receipt.round, func.count()).where(Receipt.run_id == run.id).group_by(Receipt.round)
    accepted: dict[int, int] = dict(session.execute(counted).all())
    rows = session.scalars(select(Round).where(Round.run_id == run.id).order_by(Round.number)).all()
    nodes = [
        RoundNode(
            number=row.number,
            state="done" if row.committed_at is not None else _state(row),
            accepted=accepted.get(row.number, 0),
            selected=len(row.selected),
            opened_s=max(0.0, now - row.opened_at),
            committed_s=None if row.committed_at is None else max(0.0, now - row.committed_at),
            report=row.report,
        )
        for row in rows
    ]
    coming = range(len(nodes) + 1, plan.rounds + 1)
    return (*nodes, *(RoundNode(number, "to come") for number in coming))


def _state(row: Round) -> RoundState:
    return "aggregating" if row.phase == Phase.AGGREGATING else "collecting"


def _participants(session: Session, store: Store, run: Run, now: float, counts: bool) -> tuple[ParticipantLine, ...]:
    row = session.get(Round, (run.id, run.round))
    asked = set(row.selected) if row is not None and row.phase == Phase.COLLECTING else set[str]()
    members = (
        select(RunMember, Member, Receipt.num_examples, Device)
        .join(Member, Member.id == RunMember.member_id)
        .outerjoin(
            Receipt,
            and_(Receipt.run_id == run.id, Receipt.round == run.round, Receipt.member_id == RunMember.member_id),
        )
        .outerjoin(Device, and_(Device.member_id == RunMember.member_id, Device.revoked_at.is_(None)))
        .where(RunMember.run_id == run.id)
        .order_by(RunMember.position)
    )
    refusals = select(Refusal.member_id, Refusal.reason).where(Refusal.run_id == run.id, Refusal.round == run.round)
    refused: dict[str, str] = dict(session.execute(refusals.order_by(Refusal.id)).all())
    sends = sending(session, [run.id], now)
    lines: dict[str, ParticipantLine] = {}
    for own, member, answered, device in session.execute(members):
        seen = None if device is None else store.sightings.newest(device.id, Sighting(device.seen_at, device.doing))
        seen_s = None if seen is None else max(0.0, now - seen.at)
        other = lines.get(member.id)
        if other is not None and (other.seen_s or 0.0) < (seen_s or 0.0):
            continue  # of several devices the one that called last
        doing = None if seen is None else seen.doing.get(run.id)
        upload = sends.get((run.id, member.id))
        byte_s = None if upload is None else max(0.0, now - upload.touched_at)
        state = _participant_state(
            run, own, member, device, answered, doing, upload, refused.get(member.id), member.name in asked
        )
        lines[member.id] = ParticipantLine(
            member=member.name,
            state=state,
            num_examples=(answered if answered is not None else own.num_examples) if counts else None,
            seen_s=newer(seen_s, byte_s),
            sent_bytes=upload.offset_bytes if state == "sending" and upload is not None else None,
            of_bytes=upload.length_bytes if state == "sending" and upload is not None else None,
            byte_s=byte_s if state == "sending" else None,
            is_awaited=member.name in asked and state not in SETTLED,
            doing=doing if state == "holds back" else None,
            reason=refused.get(member.id) if state == "refused" else None,
        )
    return tuple(lines.values())


def _participant_state(  # noqa: PLR0911 - one for each state
    run: Run,
    own: RunMember,
    member: Member,
    device: Device | None,
    answered: int | None,
    doing: str | None,
    upload: Upload | None,
    refused: str | None,
    asked: bool,
) -> ParticipantState:
    if member.removed_at is not None:
        return "removed"
    if own.consent == "declined":
        return "declined"
    if device is None:
        return "not joined"
    if answered is not None and run.round:
        return "answered"
    if own.consent == "asked":
        return "asked"
    is_asked = run.status == Status.RUNNING and asked
    if is_asked and upload is not None:
        return "sending"
    if refused is not None:
        return "refused"
    if not is_asked:
        return "waits"
    if doing == "training":
        return "training"
    return "waits" if doing is None else "holds back"
