"""Rounds committed by the worker, and rounds that the clock closes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select

from fedflow.federation import rounds
from fedflow.federation.jobs import Committed
from fedflow.federation.rounds import GlobalState, Phase, Status
from fedflow.plan import Plan
from fedflow.server.database.tables import Round, Run
from fedflow.server.services import events, files
from fedflow.server.services.run_rows import (
    current_round,
    eligible,
    locked_run,
    plan_of,
    rules_of,
    state_of,
)
from fedflow.server.services.runs import close, open_round
from fedflow.server.store import Store


@dataclass(frozen=True)
class RoundToJoin:
    """What aggregation needs: the plan, the receipts in the federation's order, the model before the round."""

    plan: Plan
    receipts: tuple[rounds.Receipt, ...]
    before: GlobalState


def round_to_join(store: Store, run_id: str, number: int) -> RoundToJoin | None:
    """The closed round `number`; None where it is not the one that waits for aggregation."""
    with store.read() as session:
        run = session.get(Run, run_id)
        if run is None or run.round != number or run.status == Status.STOPPED:
            return None
        state = state_of(session, run)
        if state.phase is not Phase.AGGREGATING:
            return None
        receipts = tuple(state.accepted[client] for client in state.selected if client in state.accepted)
        return RoundToJoin(plan_of(run), receipts, state.model)


def commit(store: Store, run_id: str, number: int, committed: Committed) -> bool:
    """Commit a round whose aggregate is in the store, and open the next one; in one transaction.

    False where the round is committed already, or the run was stopped meanwhile: then nothing changes.
    """
    with store.begin() as session:
        run = locked_run(session, run_id)
        if run.round != number or run.status in (Status.STOPPED, Status.DONE):
            return False
        state, plan = state_of(session, run), plan_of(run)
        if state.phase is not Phase.AGGREGATING:
            return False
        for digest, kind in ((committed.adapter, "adapter"), (committed.residual, "residual")):
            if digest is not None:
                files.record(session, store, digest, kind)
        after = rounds.commit(
            state, eligible(session, run), rules_of(plan), plan.seeds[0], committed.adapter, committed.residual
        )
        row = current_round(session, run)
        row.adapter, row.residual, row.committed_at = committed.adapter, committed.residual, store.clock()
        row.phase, row.report = Phase.DONE, _report(committed)
        session.flush()
        told = {"round": number, "adapter": committed.adapter, "residual": committed.residual, **_report(committed)}
        events.record(session, store, run.federation_id, run.id, "round committed", **told)
        if after.phase is Phase.DONE:
            rounds.check_status_move(run.name, Status(run.status), Status.DONE)
            run.status, run.finished_at = Status.DONE, store.clock()
            events.record(session, store, run.federation_id, run.id, "run done")
        else:
            open_round(session, store, run, after.round, after.selected)
        return True


def tick(store: Store) -> None:
    """Close the rounds whose deadline has passed with a quorum; give those without one their time again."""
    now = store.clock()
    with store.read() as session:
        query = (
            select(Round.run_id)
            .join(Run, Run.id == Round.run_id)
            .where(Run.status == Status.RUNNING, Run.round == Round.number, Round.phase == Phase.COLLECTING)
            .where(or_(Round.deadline_at <= now, Round.opened_at > now))
        )
        due = list(session.scalars(query))
    for run_id in due:
        with store.begin() as session:
            run = locked_run(session, run_id)
            row = current_round(session, run)
            network = plan_of(run).network
            if row.opened_at > now:  # the clock went back since: the round's time begins anew, and not in a day
                row.opened_at, row.deadline_at = now, now + network.deadline_s
            if run.status != Status.RUNNING or row.phase != Phase.COLLECTING or row.deadline_at + network.grace_s > now:
                continue
            state = state_of(session, run)
            if rounds.may_close(state, rules_of(plan_of(run)), deadline_passed=True):
                close(session, store, run)
                continue
            row.deadline_at = now + network.deadline_s
            late = list(rounds.missing(state))
            events.record(session, store, run.federation_id, run.id, "deadline moved", round=run.round, missing=late)


def _report(committed: Committed) -> dict[str, Any]:
    return {
        "bytes_up": committed.bytes_up,
        "bytes_down": committed.bytes_down,
        "exact_error": committed.exact_error,
        **committed.report,
    }
