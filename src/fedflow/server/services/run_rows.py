"""Rows of a run read as the round logic's state, inside a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from fedflow.federation import rounds
from fedflow.federation.rounds import GlobalState, Rules, RunState
from fedflow.plan import Plan
from fedflow.server.database.tables import Member, Receipt, Round, Run, RunMember
from fedflow.server.errors import Forbidden, NotFound
from fedflow.server.services.identity import Caller


def locked_run(session: Session, run_id: str) -> Run:
    """The run's row, which no other transaction changes until this one ends. Raises NotFound."""
    run = session.scalar(select(Run).where(Run.id == run_id).with_for_update())
    if run is None:
        raise NotFound(f"there is no run {run_id}")
    return run


def seen_by(session: Session, caller: Caller, run_id: str) -> Run:
    """The run's row. Raises NotFound, for a device of another federation too."""
    run = session.get(Run, run_id)
    if run is None or (caller.kind == "device" and run.federation_id != caller.federation_id):
        raise NotFound(f"there is no run {run_id}")
    return run


def membership(caller: Caller) -> tuple[str, str]:
    """Identifier and name of the member whose device is calling. Raises Forbidden for a person."""
    if caller.member_id is None or caller.member is None:
        raise Forbidden("this is for a participant's device; join with 'fedflow join'")
    return caller.member_id, caller.member


def plan_of(run: Run) -> Plan:
    """The run's frozen plan."""
    return Plan.model_validate(run.plan)


def rules_of(plan: Plan) -> Rules:
    """What the rounds need of a plan; without a quorum a round wants all that it asks for."""
    wanted = plan.clients_per_round or len(plan.data.clients)
    network = plan.network
    return Rules(plan.rounds, wanted, network.quorum or wanted, network.over_selection, plan.least_updates)


def participants(session: Session, run: Run) -> Sequence[Row[RunMember, Member]]:
    """The members that the run was planned with, in the federation's order."""
    query = (
        select(RunMember, Member)
        .join(Member, Member.id == RunMember.member_id)
        .where(RunMember.run_id == run.id)
        .order_by(RunMember.position)
    )
    return session.execute(query).all()


def eligible(session: Session, run: Run) -> tuple[str, ...]:
    """Names of the members that may be selected: neither removed nor declined."""
    return tuple(
        member.name
        for row, member in participants(session, run)
        if member.removed_at is None and row.consent != "declined"
    )


def current_round(session: Session, run: Run) -> Round:
    """The row of the round that the run is in; there is one as soon as the run is prepared."""
    row = session.get(Round, (run.id, run.round))
    if row is None:
        raise NotFound(f"run '{run.name}' has not begun a round yet")
    return row


def receipts_of(session: Session, run: Run, number: int) -> dict[str, rounds.Receipt]:
    """The accepted updates of a round, by their members' names."""
    query = (
        select(Member.name, Receipt.sha256, Receipt.num_examples)
        .join(Member, Member.id == Receipt.member_id)
        .where(Receipt.run_id == run.id, Receipt.round == number)
    )
    return {name: rounds.Receipt(name, number, sha256, count) for name, sha256, count in session.execute(query)}


def model_before(session: Session, run: Run, number: int) -> GlobalState:
    """The joint model that round `number` starts from."""
    query = (
        select(Round.adapter, Round.residual)
        .where(Round.run_id == run.id, Round.number < number)
        .order_by(Round.number)
    )
    adapter, residuals = run.initial, []
    for after, residual in session.execute(query):
        adapter = after
        if residual is not None:
            residuals.append(residual)
    return GlobalState(adapter, tuple(residuals))


def state_of(session: Session, run: Run) -> RunState:
    """The run as the round logic knows it."""
    row = current_round(session, run)
    accepted = receipts_of(session, run, run.round)
    model = model_before(session, run, run.round)
    if row.committed_at is not None:
        residuals = model.residuals if row.residual is None else (*model.residuals, row.residual)
        model = GlobalState(row.adapter, residuals)
    return RunState(run.id, rounds.Phase(row.phase), run.round, tuple(row.selected), model, accepted)
