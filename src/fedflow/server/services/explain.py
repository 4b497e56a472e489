"""Why a run is not moving, in plain words: whom it waits for, since when, until when, and what happens then."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.orm import Session

from fedflow.federation import rounds
from fedflow.federation.rounds import Phase, RunState, Status
from fedflow.plan import Plan
from fedflow.server.database.tables import Device, Job, Member, Refusal, Round, Run, RunMember
from fedflow.server.errors import NotFound
from fedflow.server.services.run_rows import current_round, plan_of, rules_of, state_of
from fedflow.server.store import Store

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400

DOING = {
    "training": "it trains",
    "hours": "its owner lets it train at other hours",
    "memory": "its machine lacks the memory now",
    "policy": "its owner's policy does not allow this run any more",
    "failed": "its training came to no usable update, and it goes without this round",
    "refused": "its update was refused",
}

MACHINES = (
    select(Member.id, Member.name, RunMember.consent, Device.seen_at, Device.doing)
    .join(RunMember, RunMember.member_id == Member.id)
    .outerjoin(Device, and_(Device.member_id == Member.id, Device.revoked_at.is_(None)))
    .where(RunMember.run_id == bindparam("run"))
    .order_by(RunMember.position, Device.seen_at)
)
"""A run's members with their devices; of several the one that called last comes last."""

_STANDING = {
    Status.DONE: "Run '{run.name}' is done: all {run.round} rounds are committed.",
    Status.STOPPED: "Run '{run.name}' was stopped in round {run.round}; what was committed stays.",
    Status.FAILED: (
        "Run '{run.name}' failed in round {run.round}: {run.message}. What was committed stays; mend the cause and "
        "go on with 'fedflow run resume {run.id}'."
    ),
}


def explain(store: Store, run_id: str) -> str:
    """One paragraph. Raises NotFound where there is no such run."""
    with store.read() as session:
        run = session.get(Run, run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id}")
        now, status = store.clock(), Status(run.status)
        if status in _STANDING:
            return _STANDING[status].format(run=run)
        if status is Status.PREPARING:
            return f"Run '{run.name}' is being prepared. {_job(session, run, 'prepare', now)}"
        state, row, plan = state_of(session, run), current_round(session, run), plan_of(run)
        if state.phase is Phase.AGGREGATING:
            closed = f"Round {run.round} of {plan.rounds} was closed with {len(state.accepted)} updates"
            return f"{closed} {_ago(row.closed_at, now)}. {_job(session, run, 'aggregate', now)}"
        if status is Status.PAUSED:
            return (
                f"Run '{run.name}' was paused by its coordinator {_ago(run.paused_at, now)}, in round {run.round}: "
                f"{_there(state)}{_whom(_waits(session, run, state, now))} "
                f"Nothing is handed out until 'fedflow run resume {run.id}'."
            )
        return _collecting(session, run, plan, row, state, now)


def _collecting(session: Session, run: Run, plan: Plan, row: Round, state: RunState, now: float) -> str:
    rules = rules_of(plan)
    removed_or_declined = (
        select(Member.name, Member.removed_at)
        .join(RunMember, RunMember.member_id == Member.id)
        .where(RunMember.run_id == run.id, or_(Member.removed_at.is_not(None), RunMember.consent == "declined"))
        .order_by(RunMember.position)
    )
    gone = [
        f"{name} {'has declined' if removed_at is None else 'was removed'}"
        for name, removed_at in session.execute(removed_or_declined)
    ]
    without = f" {', '.join(gone)}." if gone else ""
    head = f"Round {run.round} of {plan.rounds} began {_ago(row.opened_at, now)}; {_there(state)}{without}"
    waits = _waits(session, run, state, now)
    if not waits and rounds.may_close(state, rules, deadline_passed=False):
        return f"{head} It is about to be closed."
    if not waits:
        needed = max(plan.network.quorum or rounds.enough(state, rules), plan.least_updates)
        return (
            f"{head} All have answered whom it asked, and it wants {needed} updates; ask another member with "
            f"'fedflow run ask-again MEMBER', or 'fedflow run stop {run.id}'."
        )
    network = plan.network
    left = _span(max(0.0, row.deadline_at + network.grace_s - now))
    needed = max(network.quorum or rounds.enough(state, rules), plan.least_updates)
    if len(state.accepted) >= needed:
        then = f"In {left} it closes without those who have not answered, as the quorum of {needed} is there."
    else:
        then = (
            f"In {left} is its deadline: with {needed} updates it closes then, with fewer it waits another "
            f"{_span(network.deadline_s)}."
        )
        if len(state.accepted) >= plan.least_updates:
            then += f" 'fedflow run close-round {run.id}' closes it now."
    return f"{head}{_whom(waits)} {then}"


def _there(state: RunState) -> str:
    return f"{len(state.accepted)} of {len(state.selected)} updates are in."


def _whom(waits: list[str]) -> str:
    return f" It waits for {', '.join(waits)}." if waits else ""


def _waits(session: Session, run: Run, state: RunState, now: float) -> list[str]:
    """Those who have not answered, each with what is known of it."""
    late = set(rounds.missing(state))
    query = select(Refusal.member_id, Refusal.reason).where(Refusal.run_id == run.id, Refusal.round == run.round)
    refused = {member_id: reason for member_id, reason in session.execute(query.order_by(Refusal.id))}  # noqa: C416
    lines = {
        member_id: f"{name} ({_doing(run.id, consent, seen_at, doing, refused.get(member_id), now)})"
        for member_id, name, consent, seen_at, doing in session.execute(MACHINES, {"run": run.id})
        if name in late
    }
    return list(lines.values())


def _doing(
    run: str, consent: str, seen_at: float | None, doing: dict[str, str] | None, refused: str | None, now: float
) -> str:
    if seen_at is None:
        return "no device has joined yet"
    last = f"last seen {_ago(seen_at, now)}"
    if refused is not None:
        return f"{last}; its update was refused: {refused}"
    if doing and run in doing:
        return f"{last}; {DOING[doing[run]]}"
    if doing and "training" in doing.values():
        return f"{last}; it trains for another run"
    return f"asked for consent, {last}" if consent == "asked" else last


def _job(session: Session, run: Run, kind: str, now: float) -> str:
    job = session.scalar(select(Job).where(Job.run_id == run.id, Job.kind == kind, Job.round == run.round))
    if job is None:
        return "A worker takes it up next."
    trouble = f" The last attempt failed: {job.error}." if job.error else ""
    if job.status == "running" and job.leased_until is not None and job.leased_until > now:
        return f"Worker {job.worker} is at it, attempt {job.attempts}.{trouble}"
    if job.worker is not None and job.status == "running":
        return f"Worker {job.worker} died at it; another takes it up within seconds, if one runs.{trouble}"
    return f"It waits for a worker; if none runs, start one with 'fedflow server worker'.{trouble}"


def _ago(at: float | None, now: float) -> str:
    return "at an unknown time" if at is None else f"{_span(max(0.0, now - at))} ago"


def _span(seconds: float) -> str:
    for unit_s, name in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds:.0f} s"
