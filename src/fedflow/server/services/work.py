"""What a participant's device is to do now."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedflow.federation import rounds
from fedflow.federation.protocol import MergedBase, Work
from fedflow.federation.rounds import Phase, RunState, Status
from fedflow.server.database.tables import Round, Run, RunMember
from fedflow.server.services import devices, files, jobs, registry
from fedflow.server.services.identity import Caller
from fedflow.server.services.run_rows import current_round, membership, state_of
from fedflow.server.store import Store

IDLE_POLL_S = 5.0
PREPARING_POLL_S = 1.0
SHORTEST_POLL_S = 0.2
POLL_S_PER_MEMBER = 0.03
"""However many members wait for a round, they ask thirty-three times a second together."""

OVER = (Status.DONE, Status.STOPPED)

_STANDING = {
    Status.PREPARING: ("run '{run.name}' is being prepared by the server", PREPARING_POLL_S),
    Status.FAILED: ("run '{run.name}' has failed: {run.message}; its coordinator can resume it", IDLE_POLL_S),
    Status.PAUSED: ("run '{run.name}' is paused by its coordinator", IDLE_POLL_S),
}
"""Why a run that is not running makes its members wait, and for how long."""


def work_for(store: Store, caller: Caller) -> Work:
    """The next thing for this device: an assignment before a question before waiting.

    Where several runs want the member, the oldest assignment comes first. Raises Forbidden for a person.
    """
    member_id, member = membership(caller)
    devices.seen(store, caller.id)
    with store.read() as session:
        runs = (
            select(Run, RunMember)
            .join(RunMember, RunMember.run_id == Run.id)
            .where(RunMember.member_id == member_id, RunMember.consent != "declined")
        )
        under_way = runs.where(Run.status.not_in(OVER)).order_by(Run.created_at, Run.id)
        answers = [_work(session, store, run, row, member) for run, row in session.execute(under_way).all()]
        for action in ("train", "consent", "wait"):
            for work in answers:
                if work.action == action:
                    return work
        newest = runs.where(Run.status.in_(OVER)).order_by(Run.created_at.desc(), Run.id.desc()).limit(1)
        over = session.execute(newest).one_or_none()
        declined = session.scalar(
            select(Run.name)
            .join(RunMember, RunMember.run_id == Run.id)
            .where(RunMember.member_id == member_id, RunMember.consent == "declined", Run.status.not_in(OVER))
            .limit(1)
        )
        if declined is not None:
            text = f"you declined run '{declined}'; its coordinator can ask again"
            return Work(action="wait", text=text, poll_after_s=IDLE_POLL_S)
        if over is not None:
            return _finished(session, over[0])
    return Work(action="wait", text="no run wants this member yet", poll_after_s=IDLE_POLL_S)


def _work(session: Session, store: Store, run: Run, row: RunMember, member: str) -> Work:
    status = Status(run.status)
    if row.consent == "asked" and status is not Status.PREPARING:
        text = f"run '{run.name}' asks for consent"
        return Work(action="consent", text=text, poll_after_s=SHORTEST_POLL_S, run=run.id)
    if status is not Status.RUNNING:
        text, poll = _STANDING[status]
        return Work(action="wait", text=text.format(run=run), poll_after_s=poll, run=run.id, round=run.round)
    state = state_of(session, run)
    if state.phase is Phase.COLLECTING and member in rounds.missing(state):
        assigned = rounds.assignment(state, member)
        left = max(0.0, current_round(session, run).deadline_at - store.clock())
        return Work(
            action="train",
            text=f"round {run.round} of run '{run.name}'",
            poll_after_s=SHORTEST_POLL_S,
            run=run.id,
            round=assigned.round,
            adapter=assigned.adapter,
            residuals=assigned.residuals,
            residual_bytes=tuple(files.sizes(session, assigned.residuals)),
            merged=_merged(session, run),
            deadline_in_s=left,
        )
    text = _why_waiting(run, state, member)
    poll = max(SHORTEST_POLL_S, POLL_S_PER_MEMBER * len(state.selected))
    return Work(action="wait", text=text, poll_after_s=poll, run=run.id, round=run.round)


def _why_waiting(run: Run, state: RunState, member: str) -> str:
    if state.phase is Phase.AGGREGATING:
        return f"round {run.round} of run '{run.name}' is being aggregated"
    if member not in state.selected:
        return f"round {run.round} of run '{run.name}' goes without this member"
    return f"round {run.round} of run '{run.name}' waits for {', '.join(rounds.missing(state))}"


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
        files=registry.exports_of(session, run.id, run.round),
    )


def _merged(session: Session, run: Run) -> MergedBase | None:
    """The newest base weights with residuals in them, and how many of the run's residuals these are."""
    rows = session.execute(
        select(Round.residual, Round.merged).where(Round.run_id == run.id).order_by(Round.number)
    ).all()
    count, found = 0, None
    for residual, merged in rows:
        count += residual is not None
        if merged is not None:
            found = MergedBase(weights=merged, size_bytes=files.sizes(session, (merged,))[0], count=count)
    return found
