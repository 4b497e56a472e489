"""Runs as their members and coordinators see them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer_group

from fedflow.federation.protocol import BaseFile, Layout, RoundLine, RunFacts
from fedflow.federation.rounds import Phase, Status
from fedflow.server.database.tables import Member, Receipt, Round, Run, Version
from fedflow.server.services import jobs, policies, registry, roles, run_charts
from fedflow.server.services.identity import Caller
from fedflow.server.services.run_charts import Loss
from fedflow.server.services.run_rows import plan_of, seen_by
from fedflow.server.store import Store

LOCAL_DATA_KEYS = ("root", "heldout")
"""Settings that name folders of the coordinator's machine, which are nobody else's business."""


LEAST_FOR_A_MEAN = 3
"""Of so many members' losses the mean is told: from that of two each would know the other's."""

MOST_SECONDS = 1e9
"""What a member may say of its training's time; more is no time."""


def listed(store: Store, caller: Caller, after: str, limit: int) -> list[RunFacts]:
    """Runs that `caller` may see, oldest first, after the identifier `after`."""
    query = select(Run).where(Run.id > after).order_by(Run.id).limit(limit)
    with store.read() as session:
        theirs = roles.federations_of(session, caller)
        if theirs is not None:
            query = query.where(Run.federation_id.in_(theirs))
        return _facts(session, store, session.scalars(query.options(undefer_group("long"))).all())


def facts(store: Store, caller: Caller, run_id: str) -> RunFacts:
    """A run as its members see it. Raises NotFound, for a run of another federation too."""
    with store.read() as session:
        [found] = _facts(session, store, [seen_by(session, caller, run_id)])
        return found


def rounds_of(store: Store, caller: Caller, run_id: str, after: int, limit: int) -> list[RoundLine]:
    """The run's rounds with numbers above `after`. Raises NotFound, for a run of another federation too."""
    with store.read() as session:
        run = seen_by(session, caller, run_id)
        query = select(Round).where(Round.run_id == run_id, Round.number > after).order_by(Round.number).limit(limit)
        rows = session.scalars(query).all()
        counts = policies.shows_examples(session, caller, run.federation_id)
        accepted: dict[int, dict[str, int | None]] = {row.number: {} for row in rows}
        seconds = dict.fromkeys(accepted, 0.0)
        losses: dict[int, list[Loss]] = {number: [] for number in accepted}
        receipts = (
            select(Receipt, Member.name)
            .join(Member, Member.id == Receipt.member_id)
            .where(Receipt.run_id == run_id, Receipt.round.in_(accepted))
            .order_by(Receipt.received_at)
        )
        for receipt, name in session.execute(receipts):
            accepted[receipt.round][name] = receipt.num_examples if counts else None
            last_loss = receipt.metrics.get("last_loss", -1.0)
            if run_charts.is_told(last_loss):
                losses[receipt.round].append(Loss(name, receipt.round, last_loss, receipt.num_examples))
            seconds[receipt.round] += min(max(receipt.metrics.get("seconds", 0.0), 0.0), MOST_SECONDS)
        made = select(Version).where(Version.run_id == run_id, Version.round.in_(accepted))
        versions = {version.round: version for version in session.scalars(made)}
        now = store.clock()
        return [
            RoundLine(
                number=row.number,
                phase=row.phase,
                selected=tuple(row.selected),
                accepted=accepted[row.number],
                deadline_in_s=row.deadline_at - now if row.phase == Phase.COLLECTING else 0.0,
                adapter=row.adapter,
                residual=row.residual,
                seconds=seconds[row.number],
                loss=_mean(losses[row.number]) if row.phase != Phase.COLLECTING else None,
                report=row.report,
                version=versions[row.number].id if row.number in versions else None,
                files=versions[row.number].files if row.number in versions else {},
            )
            for row in rows
        ]


def _mean(losses: list[Loss]) -> float | None:
    return run_charts.mean(losses) if len(losses) >= LEAST_FOR_A_MEAN else None


def _facts(session: Session, store: Store, runs: Sequence[Run]) -> list[RunFacts]:
    """Runs as they are told, in a number of queries that does not grow with theirs."""
    to_come = jobs.unfinished_of(session, [run.id for run in runs], ("evaluate", "export"))
    exports = registry.last_exports(session, [run.id for run in runs if run.status == Status.DONE])
    bases = {base: _base_files(store, base) for base in {run.base for run in runs}}
    return [_told(run, store.clock(), bases[run.base], to_come.get(run.id, 0), exports.get(run.id, {})) for run in runs]


def _told(
    run: Run, now: float, base_files: tuple[BaseFile, ...], jobs_to_come: int, exports: dict[Layout, str]
) -> RunFacts:
    plan = plan_of(run)
    prepared = run.prepared or {"tensors": {}, "upload_bytes": 0}
    told = plan.model_dump(mode="json")
    told["data"] = {key: value for key, value in told["data"].items() if key not in LOCAL_DATA_KEYS}
    return RunFacts(
        id=run.id,
        federation_id=run.federation_id,
        name=run.name,
        status=run.status,
        round=run.round,
        rounds=plan.rounds,
        plan=told,
        members=plan.data.clients,
        base_hash=run.base_hash,
        base_files=base_files,
        tensors={name: tuple(shape) for name, shape in prepared["tensors"].items()},
        upload_bytes=prepared["upload_bytes"],
        age_s=max(0.0, now - run.created_at),
        seconds=max(0.0, (run.finished_at or now) - run.created_at),
        jobs_to_come=jobs_to_come,
        files=exports,
        message=run.message,
    )


def _base_files(store: Store, base: str | None) -> tuple[BaseFile, ...]:
    """The files of a run's base model; none before it is prepared."""
    if base is None:
        return ()
    listed: Sequence[dict[str, Any]] = json.loads(store.blobs.get(base).read_bytes())
    return tuple(BaseFile.model_validate(entry) for entry in listed)
