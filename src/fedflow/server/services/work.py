"""What a participant's device is to do now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import and_, bindparam, select
from sqlalchemy.orm import Session

from fedflow.federation import rounds
from fedflow.federation.protocol import MergedBase, Told, Work
from fedflow.federation.rounds import Phase, Status
from fedflow.server.database.tables import Member, Receipt, Round, Run, RunMember
from fedflow.server.services import devices, files, jobs
from fedflow.server.services.identity import Caller
from fedflow.server.services.run_rows import membership, state_of
from fedflow.server.store import Store

IDLE_POLL_S = 5.0
PREPARING_POLL_S = 1.0
SHORTEST_POLL_S = 0.2
POLL_S_PER_MEMBER = 0.05
"""However many members wait for a round, they ask twenty times a second together."""

WAITED_PER_POLL = 60
"""Who has waited long asks more seldom: it learns of the next round within a sixtieth of what it has waited."""

MOST_NAMES = 5

URGENCY = ("train", "consent", "wait")
"""What comes first where several runs want a member; of the same, what is to be asked for again soonest."""

OVER = (Status.DONE, Status.STOPPED)

UNDER_WAY = (
    select(
        Run.id,
        Run.name,
        Run.status,
        Run.round,
        Run.message,
        RunMember.consent,
        Round.phase,
        Round.selected,
        Round.opened_at,
        Round.deadline_at,
        Round.closed_at,
        Receipt.sha256.label("answer"),
        Receipt.received_at,
    )
    .join(RunMember, RunMember.run_id == Run.id)
    .outerjoin(Round, and_(Round.run_id == Run.id, Round.number == Run.round))
    .outerjoin(
        Receipt,
        and_(Receipt.run_id == Run.id, Receipt.round == Run.round, Receipt.member_id == RunMember.member_id),
    )
    .where(RunMember.member_id == bindparam("member"), Run.status.not_in(OVER))
    .order_by(Run.created_at, Run.id)
)
"""A member's runs that are not over, each with the member's own line of it. Written once, as everybody polls."""

ANSWERED = (
    select(Member.name)
    .join(Receipt, Receipt.member_id == Member.id)
    .where(Receipt.run_id == bindparam("run"), Receipt.round == bindparam("round"))
)

_STANDING = {
    Status.PREPARING: ("run '{run.name}' is being prepared by the server", PREPARING_POLL_S),
    Status.FAILED: ("run '{run.name}' has failed: {run.message}; its coordinator can resume it", IDLE_POLL_S),
    Status.PAUSED: ("run '{run.name}' is paused by its coordinator", IDLE_POLL_S),
}
"""Why a run that is not running makes its members wait, and for how long."""


def work_for(store: Store, caller: Caller, told: tuple[Told, ...] = ()) -> Work:
    """The next thing for this device: an assignment before a question before waiting.

    `told` is what it does with the assignments that it has; the coordinator learns it from `explain`. What it trains
    for comes first as long as it is wanted, and what it holds back from does not come again.

    Where several runs want the member, the oldest assignment comes first. Raises Forbidden for a person.
    """
    member_id, member = membership(caller)
    at = next((each for each in told if each.doing == "training"), None)
    with store.read() as session:
        lines = session.execute(UNDER_WAY, {"member": member_id}).all()
        work = _next(session, store, lines, caller, told, at)
        if at is not None:
            work = work.model_copy(update={"unwanted": _unwanted(session, lines, member, at)})
    if at is None and work.action == "train" and work.run is not None:  # it is told of itself only later
        told = (*told, Told("training", work.run, work.round))
    devices.seen(store, caller.id, told)
    return work


def _next(
    session: Session, store: Store, lines: Sequence[Any], caller: Caller, told: tuple[Told, ...], at: Told | None
) -> Work:
    member_id, member = membership(caller)
    held = {(each.run, each.round) for each in told if each.doing != "training"}
    asked = [line for line in lines if line.consent != "declined"]
    if at is not None:
        asked.sort(key=lambda line: (line.id, line.round) != (at.run, at.round))
    answers = [_work(session, store, line, member, held) for line in asked]
    if answers:
        return min(answers, key=lambda each: (URGENCY.index(each.action), each.poll_after_s))
    newest = (
        select(Run)
        .join(RunMember, RunMember.run_id == Run.id)
        .where(RunMember.member_id == member_id, RunMember.consent != "declined", Run.status.in_(OVER))
        .order_by(Run.created_at.desc(), Run.id.desc())
        .limit(1)
    )
    over = session.scalar(newest)
    if over is not None:
        return _finished(session, over)
    for line in lines:
        text = f"you declined run '{line.name}'; its coordinator can ask again"
        return Work(action="wait", text=text, poll_after_s=IDLE_POLL_S)
    return Work(action="wait", text="no run wants this member yet", poll_after_s=IDLE_POLL_S)


def _unwanted(session: Session, lines: Sequence[Any], member: str, at: Told) -> str | None:
    """Why an update that a device of the member trains would not count any more; None where it would."""
    line = next((line for line in lines if line.id == at.run), None)
    if line is None:
        run = session.get(Run, at.run)
        return "there is no such run" if run is None else f"the run is {run.status}"
    if line.consent == "declined":
        return "the run was declined"
    if line.round != at.round or line.phase != Phase.COLLECTING:
        return f"round {at.round} is over"
    if line.answer is not None:
        return f"another device of '{member}' has sent its update for round {at.round}"
    return None if member in line.selected else f"round {at.round} goes without this member"


def _work(session: Session, store: Store, line: Any, member: str, held: Collection[tuple[str, int]]) -> Work:
    status = Status(line.status)
    # Before its first round there is nothing to be told of what would leave; one that has failed may never go on.
    if line.consent == "asked" and line.round > 0 and status is not Status.FAILED:
        text = f"run '{line.name}' asks for consent"
        return Work(action="consent", text=text, poll_after_s=SHORTEST_POLL_S, run=line.id)
    if status is not Status.RUNNING:
        text, poll = _STANDING[status]
        return Work(action="wait", text=text.format(run=line), poll_after_s=poll, run=line.id, round=line.round)
    if line.phase == Phase.COLLECTING and member in line.selected and line.answer is None:
        if (line.id, line.round) in held:
            text = f"round {line.round} of run '{line.name}' is held back by this machine"
            return Work(action="wait", text=text, poll_after_s=IDLE_POLL_S, run=line.id, round=line.round)
        return _assigned(session, store, line, member)
    text, since = _why_waiting(session, line, member)
    waited_s = max(0.0, store.clock() - since)
    least = max(SHORTEST_POLL_S, POLL_S_PER_MEMBER * len(line.selected))
    poll = max(least, min(IDLE_POLL_S, waited_s / WAITED_PER_POLL))
    return Work(action="wait", text=text, poll_after_s=poll, run=line.id, round=line.round)


def _assigned(session: Session, store: Store, line: Any, member: str) -> Work:
    assigned = rounds.assignment(state_of(session, session.get_one(Run, line.id)), member)
    return Work(
        action="train",
        text=f"round {assigned.round} of run '{line.name}'",
        poll_after_s=SHORTEST_POLL_S,
        run=line.id,
        round=assigned.round,
        adapter=assigned.adapter,
        residuals=assigned.residuals,
        residual_bytes=tuple(files.sizes(session, assigned.residuals)),
        merged=_merged(session, line.id) if assigned.residuals else None,
        deadline_in_s=max(0.0, line.deadline_at - store.clock()),
    )


def _why_waiting(session: Session, line: Any, member: str) -> tuple[str, float]:
    """The reason, and since when it is one."""
    where = f"round {line.round} of run '{line.name}'"
    if line.phase != Phase.COLLECTING:
        return f"{where} is being aggregated", line.closed_at
    if member not in line.selected:
        return f"{where} goes without this member", line.opened_at
    answered = set(session.scalars(ANSWERED, {"run": line.id, "round": line.round}))
    missing = [name for name in line.selected if name not in answered]
    more = f" and {len(missing) - MOST_NAMES} more" if len(missing) > MOST_NAMES else ""
    return f"{where} waits for {', '.join(missing[:MOST_NAMES])}{more}", line.received_at


def _finished(session: Session, run: Run) -> Work:
    if run.status == Status.DONE and jobs.unfinished(session, run.id, ("export",)):
        text = f"run '{run.name}' is done; its joint model is being written"
        return Work(action="wait", text=text, poll_after_s=SHORTEST_POLL_S, run=run.id, round=run.round)
    return Work(
        action="finished",
        text=f"run '{run.name}' is {'done' if run.status == Status.DONE else 'stopped'}",
        poll_after_s=IDLE_POLL_S,
        run=run.id,
        round=run.round,
    )


def _merged(session: Session, run_id: str) -> MergedBase | None:
    """The newest base weights with residuals in them, and how many of the run's residuals these are."""
    rows = session.execute(
        select(Round.residual, Round.merged).where(Round.run_id == run_id).order_by(Round.number)
    ).all()
    count, found = 0, None
    for residual, merged in rows:
        count += residual is not None
        if merged is not None:
            found = MergedBase(weights=merged, size_bytes=files.sizes(session, (merged,))[0], count=count)
    return found
