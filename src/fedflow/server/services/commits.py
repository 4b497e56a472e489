"""Rounds committed by the worker, and rounds that the clock closes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from fedflow.federation import rounds
from fedflow.federation.jobs import Committed
from fedflow.federation.rounds import GlobalState, Phase, Status
from fedflow.plan import Plan
from fedflow.server.database.tables import Round, Run
from fedflow.server.services import events, files, jobs, registry, run_charts, scores
from fedflow.server.services.run_rows import (
    current_round,
    eligible,
    locked_run,
    model_before,
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
        files.share(session, run.federation_id, committed.adapter, committed.residual)
        after = rounds.commit(
            state, eligible(session, run), rules_of(plan), plan.seeds[0], committed.adapter, committed.residual
        )
        row = current_round(session, run)
        row.adapter, row.residual, row.committed_at = committed.adapter, committed.residual, store.clock()
        row.phase, row.report = Phase.DONE, _report(committed)
        session.flush()
        told = {"round": number, "adapter": committed.adapter, "residual": committed.residual, **_report(committed)}
        events.record(session, store, run.federation_id, run.id, "round committed", **told)
        receipts = [state.accepted[client] for client in state.selected if client in state.accepted]
        registry.add_round(session, store, run, number, receipts, committed)
        run_charts.ask(session, store, run, number)  # the losses are there; scores take longer, and ask again
        scores.ask(session, store, run, number, tuple(receipt.client for receipt in receipts))
        if after.phase is not Phase.DONE and _merge_is_due(session, run, after.model):
            jobs.add(session, "merge", run.id, number, store.clock())
        if run.status == Status.FAILED:  # by another worker, which was wrong
            run.status, run.message = Status.RUNNING, ""
        if after.phase is Phase.DONE:
            rounds.check_status_move(run.name, Status(run.status), Status.DONE)
            run.status, run.finished_at, run.paused_at = Status.DONE, store.clock(), None
            events.record(session, store, run.federation_id, run.id, "run done")
            jobs.add(session, "export", run.id, number, store.clock())
        else:
            open_round(session, store, run, after.round, after.selected)
        return True


@dataclass(frozen=True)
class ToExport:
    """What a round left, as an export needs it; `resolution` is the base model's, in pixels."""

    plan: Plan
    model: GlobalState
    resolution: int


def to_export(store: Store, run_id: str, number: int) -> ToExport:
    """The joint model after a committed round."""
    with store.read() as session:
        run = session.get_one(Run, run_id)
        resolution = (run.prepared or {}).get("resolution", 0)
        return ToExport(plan_of(run), model_before(session, run, number + 1), resolution)


def to_merge(store: Store, run_id: str, number: int) -> tuple[Plan, tuple[str, ...]] | None:
    """Plan and residuals up to round `number`; None where a later round is merged, or the run takes no more updates."""
    with store.read() as session:
        run = session.get(Run, run_id)
        if run is None or run.status not in (Status.RUNNING, Status.PAUSED):
            return None
        query = select(Round.number).where(Round.run_id == run_id, Round.number >= number, Round.merged.is_not(None))
        if session.scalar(query.limit(1)) is not None:
            return None
        return plan_of(run), model_before(session, run, number + 1).residuals


def keep_merged(store: Store, run_id: str, number: int, merged: str) -> None:
    """Note the merged base weights after round `number`; earlier ones are dropped."""
    with store.begin() as session:
        run = locked_run(session, run_id)
        files.record(session, store, merged, "merged")
        files.share(session, run.federation_id, merged)
        for row in session.scalars(select(Round).where(Round.run_id == run_id, Round.number <= number)):
            row.merged = merged if row.number == number else None
        events.record(session, store, run.federation_id, run_id, "residuals merged", round=number)


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


def _merge_is_due(session: Session, run: Run, model: GlobalState) -> bool:
    """Whether the base weights with all residuals in them are smaller than those together."""
    merged_bytes = (run.prepared or {}).get("merged_bytes")
    return merged_bytes is not None and sum(files.sizes(session, model.residuals)) > merged_bytes


def _report(committed: Committed) -> dict[str, Any]:
    return {
        "bytes_up": committed.bytes_up,
        "bytes_down": committed.bytes_down,
        "exact_error": committed.exact_error,
        **committed.report,
    }
