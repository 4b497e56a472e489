"""Runs: planned, prepared by a worker, paused, resumed, stopped, and listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedflow.errors import RunError
from fedflow.federation import rounds
from fedflow.federation.rounds import Phase, Status
from fedflow.plan import Plan
from fedflow.server.database.tables import Federation, Job, Member, Round, Run, RunMember
from fedflow.server.errors import Conflict, Forbidden, NotFound, Unprocessable
from fedflow.server.services import (
    audit,
    base_models,
    events,
    files,
    heldout,
    jobs,
    member_names,
    policies,
    registry,
    scores,
)
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.services.imports import Allowed
from fedflow.server.services.run_rows import (
    current_round,
    eligible,
    locked_run,
    membership,
    participants,
    plan_of,
    rules_of,
    state_of,
)
from fedflow.server.store import Store


def create(
    store: Store,
    federation_id: str,
    planned: Plan,
    identifier: str | None = None,
    by: Caller = SERVER,
    allowed: Allowed = Allowed(None, hub=False),  # noqa: B008 - it cannot be changed
    pictures: Path | None = None,
) -> str:
    """Freeze `planned` as a new run of the federation and let a worker prepare it; returns the run's identifier.

    That is `identifier` where one is given, and a run that has it already was made by the same request.

    allowed: what the server's settings allow as base model.
    pictures: the server's folder of held-out pictures.

    Raises:
        NotFound: no such federation.
        Unprocessable: the plan names clients that are no members, several seeds, held-out pictures that are not there,
            or a base model that is not there or that `by` may not take, or the federation's rules forbid it.
        Conflict: the federation is closed.
    """
    if len(planned.seeds) != 1:
        raise Unprocessable(f"a run over the network has one seed, not {len(planned.seeds)}; give one in 'seeds'")
    with store.begin() as session:
        if identifier is not None and session.get(Run, identifier) is not None:
            return identifier
        if session.get(Federation, federation_id) is None:
            raise NotFound(f"there is no federation {federation_id}")
        events.lock(session, federation_id)  # the base model that is pinned may not be deleted meanwhile
        query = select(Member).where(Member.federation_id == federation_id, Member.removed_at.is_(None))
        members = {member.name: member for member in session.scalars(query)}
        planned = member_names.in_plan(planned, members)
        unknown = [name for name in planned.data.clients if name not in members]
        if unknown:
            raise Unprocessable(
                f"data.clients: '{unknown[0]}' is no member of the federation; members are "
                f"{', '.join(sorted(members)) or 'none yet'}"
            )
        for field, sentence in policies.broken(policies.of_open(session, federation_id), planned).items():
            raise Unprocessable(f"{field}: {sentence}")
        heldout.check(store, planned, pictures)
        planned = base_models.pinned(session, store, by, federation_id, planned, allowed)
        run = Run(id=identifier or new_id(), federation_id=federation_id, name=planned.name)
        run.plan = planned.model_dump(mode="json")
        run.status, run.round, run.message, run.created_at = Status.PREPARING, 0, "", store.clock()
        session.add(run)
        session.flush()
        for position, name in enumerate(planned.data.clients):
            row = RunMember(run_id=run.id, member_id=members[name].id, position=position, consent="asked")
            session.add(row)
        jobs.add(session, "prepare", run.id, 0, store.clock())
        events.record(session, store, federation_id, run.id, "run created", name=planned.name)
        audit.record(session, store, by, "run started", "run", run.id, federation_id, name=planned.name)
        return run.id


def plan(store: Store, run_id: str) -> Plan:
    """The frozen plan of a run. Raises NotFound."""
    with store.read() as session:
        run = session.get(Run, run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id}")
        return plan_of(run)


def base_hash(store: Store, run_id: str) -> str | None:
    """What the base model is known by that the run was prepared with."""
    with store.read() as session:
        return session.scalar(select(Run.base_hash).where(Run.id == run_id))


def begin(
    store: Store, run_id: str, *, base: str, base_hash: str, initial: str | None, prepared: dict[str, Any]
) -> None:
    """The worker has prepared the run: note what it starts from, and open round 1. Twice changes nothing."""
    with store.begin() as session:
        run = locked_run(session, run_id)
        if run.status != Status.PREPARING:
            return
        run.base, run.base_hash, run.initial, run.prepared = base, base_hash, initial, prepared
        _move(run, Status.RUNNING)
        run.message = ""
        registry.add_base(session, store, run, base, base_hash)
        files.share(session, run.federation_id, base, initial, *files.listed(store.blobs, base))
        scores.ask(session, store, run, 0)
        if prepared.get("not_scored"):
            told = {"reason": prepared["not_scored"]}
            events.record(session, store, run.federation_id, run.id, "rounds are not scored", **told)
        open_round(session, store, run, 1, rounds.select(eligible(session, run), rules_of(plan_of(run)), _seed(run), 1))


def open_round(session: Session, store: Store, run: Run, number: int, selected: tuple[str, ...]) -> None:
    """Begin to collect updates of the members `selected`."""
    now = store.clock()
    run.round = number
    row = Round(run_id=run.id, number=number, phase=Phase.COLLECTING, selected=list(selected), opened_at=now)
    row.deadline_at = now + plan_of(run).network.deadline_s
    session.add(row)
    events.record(session, store, run.federation_id, run.id, "round opened", round=number, selected=list(selected))
    _fail_without_members(session, store, run)


def fail(store: Store, run_id: str, message: str) -> None:
    """The run cannot go on until its coordinator resumes it; what is committed stays."""
    with store.begin() as session:
        _fail(session, store, locked_run(session, run_id), message)


def fail_left_behind(store: Store) -> None:
    """Fail the runs whose job was given up by a worker that died, or lost the database, before it could say so here."""
    given_up = (
        select(Run.id, Job.error)
        .join(Job, (Job.run_id == Run.id) & (Job.round == Run.round))
        .where(Run.status.in_((Status.PREPARING, Status.RUNNING, Status.PAUSED)))
        .where(Job.kind.in_(jobs.NEEDED), Job.status == jobs.FAILED)
    )
    with store.read() as session:
        found = session.execute(given_up).all()
    for run_id, error in found:
        fail(store, run_id, error or jobs.GAVE_UP)


def _fail(session: Session, store: Store, run: Run, message: str) -> None:
    if run.status in (Status.PREPARING, Status.RUNNING, Status.PAUSED):
        run.status, run.message, run.paused_at = Status.FAILED, message, None
        events.record(session, store, run.federation_id, run.id, "run failed", message=message)


def _fail_without_members(session: Session, store: Store, run: Run) -> None:
    """End what cannot become a round: of fewer updates than `least_updates` nothing is ever joined."""
    message = too_few(session, run)
    if message is not None:
        _fail(session, store, run, message)


def too_few(session: Session, run: Run) -> str | None:
    """Why the members that are left are too few for another round; None where they are not."""
    session.flush()
    left, least = eligible(session, run), plan_of(run).least_updates
    if len(left) >= least:
        return None
    there = f"only {', '.join(left)} is left" if len(left) == 1 else f"{len(left) or 'none'} of its members are left"
    return (
        f"{there}, the others declined or were removed, and fewer than {least} updates are never joined; ask them "
        "again with 'fedflow run ask-again MEMBER', or start a new run"
    )


def note(store: Store, run_id: str, kind: str, /, **facts: object) -> None:
    """Write an event of the run, and change nothing."""
    with store.begin() as session:
        run = session.get_one(Run, run_id)
        events.record(session, store, run.federation_id, run_id, kind, **facts)


def pause(store: Store, run_id: str, by: Caller = SERVER) -> None:
    """Hand out no more work and close no round; updates under way are still taken."""
    _change(store, run_id, Status.PAUSED, by)


def resume(store: Store, run_id: str, by: Caller = SERVER) -> None:
    """Go on: a paused round gets the time back that it waited, one that failed its whole time, a failed job a new try.

    Raises Conflict where there is nothing to resume, or too few members are left.
    """
    with store.begin() as session:
        run = locked_run(session, run_id)
        now = store.clock()
        if run.status == Status.RUNNING:
            raise Conflict(f"run '{run.name}' is running already; 'fedflow run explain' says what it waits for")
        if run.status == Status.PREPARING:  # only the worker's end of that may let it run
            raise Conflict(f"run '{run.name}' is being prepared and begins by itself; there is nothing to resume")
        message = too_few(session, run)
        if message is not None and run.status in (Status.FAILED, Status.PAUSED):
            raise Conflict(message)
        if run.status == Status.FAILED:
            _move(run, Status.PREPARING if run.round == 0 else Status.RUNNING)
            if run.round == 0:
                jobs.add(session, "prepare", run.id, 0, now)
            elif current_round(session, run).phase == Phase.AGGREGATING:
                jobs.add(session, "aggregate", run.id, run.round, now)
            else:  # nobody was asked while it had failed
                row = current_round(session, run)
                row.deadline_at = max(row.deadline_at, now + plan_of(run).network.deadline_s)
        else:
            _move(run, Status.RUNNING)
            if run.paused_at is not None:
                row = current_round(session, run)
                row.deadline_at += now - max(run.paused_at, row.opened_at)
        run.paused_at, run.message = None, ""
        events.record(session, store, run.federation_id, run.id, "run resumed")
        session.flush()
        if run.status == Status.RUNNING and run.round:  # members may have been let back in meanwhile
            state = rounds.fill_up(state_of(session, run), eligible(session, run), rules_of(plan_of(run)))
            current_round(session, run).selected = list(state.selected)
            session.flush()
        _close_if_complete(session, store, run)
        audit.record(session, store, by, "run resumed", "run", run.id, run.federation_id, name=run.name)


def stop(store: Store, run_id: str, by: Caller = SERVER) -> None:
    """End the run for good; committed rounds stay."""
    _change(store, run_id, Status.STOPPED, by)


def close_round(store: Store, run_id: str, by: Caller = SERVER, seen: int | None = None) -> None:
    """Aggregate what there is now.

    seen: the round that the caller wants closed; None closes the one that is under way.

    Raises Conflict where another round is under way, and where too little was accepted in this one yet.
    """
    with store.begin() as session:
        run = locked_run(session, run_id)
        state = state_of(session, run)
        if run.status != Status.RUNNING or state.phase is not Phase.COLLECTING:
            raise Conflict(f"run '{run.name}' is {run.status}, round {run.round} is {state.phase}; nothing to close")
        if seen not in (None, run.round):
            raise Conflict(
                f"round {seen} is not under way, round {run.round} is; look at that one, then close it by its number"
            )
        least = plan_of(run).least_updates
        if len(state.accepted) < least:
            raise Conflict(
                f"round {run.round} has {len(state.accepted) or 'no'} update{'' if len(state.accepted) == 1 else 's'} "
                f"yet, and fewer than {least} are never joined; wait for more, or stop the run"
            )
        close(session, store, run)
        closed = {"name": run.name, "round": run.round}
        audit.record(session, store, by, "round closed", "run", run.id, run.federation_id, **closed)


def close(session: Session, store: Store, run: Run) -> None:
    """Stop collecting and let a worker aggregate; in the caller's transaction."""
    closed, receipts = rounds.close(state_of(session, run))
    row = current_round(session, run)
    row.phase, row.closed_at = closed.phase, store.clock()
    jobs.add(session, "aggregate", run.id, run.round, store.clock())
    names = [receipt.client for receipt in receipts]
    events.record(session, store, run.federation_id, run.id, "round closed", round=run.round, accepted=names)


def consent(store: Store, caller: Caller, run_id: str, accept: bool, num_examples: int, reason: str) -> None:
    """Note the answer of a member's owner. A declined run goes on without that member.

    More pictures than the member may claim are noted, for `explain`, and are no consent.

    Raises Forbidden where the run was not planned with this member, NotFound for a run of another federation, Conflict
    for one that is over, and for too many pictures.
    """
    most = _consent(store, caller, run_id, accept, num_examples, reason)
    if most is not None:
        raise Conflict(
            f"this member may train on at most {most} pictures and has {num_examples}; ask the coordinator to allow "
            "more, or take some out of the folder"
        )


def _consent(store: Store, caller: Caller, run_id: str, accept: bool, num_examples: int, reason: str) -> int | None:
    """Note the answer and return None, or the member's most examples where the answer claims more."""
    with store.begin() as session:
        run = locked_run(session, run_id)
        member_id, member = membership(caller)
        if run.federation_id != caller.federation_id:
            raise NotFound(f"there is no run {run_id}")
        row = session.get(RunMember, (run_id, member_id))
        if row is None:
            raise Forbidden(f"run '{run.name}' was not planned with the member '{member}'")
        if run.status in (Status.DONE, Status.STOPPED):
            raise Conflict(f"run '{run.name}' is {run.status}; there is nothing left to consent to")
        most = session.get_one(Member, member_id).max_examples
        if accept and num_examples > most:
            if row.consent == "asked":
                row.num_examples = num_examples
            return most
        row.consent, row.consent_at = "accepted" if accept else "declined", store.clock()
        row.num_examples = num_examples if accept else None
        told = {"member": member, "num_examples": row.num_examples, "reason": reason}
        events.record(session, store, run.federation_id, run.id, f"consent {row.consent}", **told)
        if not accept:
            without(session, store, run, member)
        about = ("run", run_id, run.federation_id)
        audit.record(session, store, caller, f"consent {row.consent}", *about, name=run.name, **told)
        return None


def ask_again(store: Store, run_id: str, member: str, by: Caller = SERVER) -> None:
    """Ask a member once more that has declined, or was let back in; it takes part from the round under way on.

    Raises NotFound for a member that the run was not planned with, Conflict for one that was removed, or a run that is
    over.
    """
    with store.begin() as session:
        run = locked_run(session, run_id)
        if run.status in (Status.DONE, Status.STOPPED):
            raise Conflict(f"run '{run.name}' is {run.status}; start a new one")
        found = [(row, person) for row, person in participants(session, run) if person.name == member]
        if not found:
            raise NotFound(f"run '{run.name}' was not planned with a member '{member}'")
        row, person = found[0]
        if person.removed_at is not None:
            raise Conflict(f"the member '{member}' was removed; make it a new join code, and let it join, first")
        if row.consent == "declined":
            row.consent, row.consent_at = "asked", None
            session.flush()
        elif run.round == 0 or member in state_of(session, run).selected:
            return
        if run.round and state_of(session, run).phase is Phase.COLLECTING:
            state, current = state_of(session, run), current_round(session, run)
            asked = set(rounds.select(eligible(session, run), rules_of(plan_of(run)), _seed(run), run.round))
            keep = asked | set(state.selected)
            current.selected = [name for name in plan_of(run).data.clients if name in keep]
        events.record(session, store, run.federation_id, run.id, "asked again", member=member)
        told = {"name": run.name, "member": member}
        audit.record(session, store, by, "asked again", "run", run.id, run.federation_id, **told)


def without(session: Session, store: Store, run: Run, member: str) -> None:
    """Go on without a member that declined or was removed; in the caller's transaction."""
    if run.status not in (Status.RUNNING, Status.PAUSED, Status.FAILED) or run.round == 0:
        return
    left = rounds.leave(state_of(session, run), member)
    state = rounds.fill_up(left, eligible(session, run), rules_of(plan_of(run)))
    current_round(session, run).selected = list(state.selected)
    session.flush()
    if state.phase is Phase.COLLECTING:
        _fail_without_members(session, store, run)
    _close_if_complete(session, store, run)


def _close_if_complete(session: Session, store: Store, run: Run) -> None:
    """Close the round of a running run where nobody is missing any more."""
    if run.status != Status.RUNNING or run.round == 0:
        return
    if rounds.may_close(state_of(session, run), rules_of(plan_of(run)), deadline_passed=False):
        close(session, store, run)


def _change(store: Store, run_id: str, status: Status, by: Caller) -> None:
    with store.begin() as session:
        run = locked_run(session, run_id)
        if run.status == status:
            return
        _move(run, status)
        if status is Status.PAUSED:
            run.paused_at = store.clock()
        if status is Status.STOPPED:
            run.finished_at = store.clock()
        events.record(session, store, run.federation_id, run.id, f"run {status}")
        audit.record(session, store, by, f"run {status}", "run", run.id, run.federation_id, name=run.name)


def _move(run: Run, status: Status) -> None:
    try:
        rounds.check_status_move(run.name, Status(run.status), status)
    except RunError as error:
        raise Conflict(str(error)) from None
    run.status = status


def _seed(run: Run) -> int:
    return plan_of(run).seeds[0]
