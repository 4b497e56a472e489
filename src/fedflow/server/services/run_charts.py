"""A run's charts: the figures that they are drawn from, and the drawings as a worker has made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedflow.server.database.tables import Member, Receipt, Run, Score
from fedflow.server.services import events, files, jobs
from fedflow.server.services.run_rows import locked_run, plan_of
from fedflow.server.store import Store


@dataclass(frozen=True)
class Loss:
    """The mean loss of a member's training in its last quarter, by its own word, and on how many pictures."""

    member: str
    round: int
    loss: float
    num_examples: int


HIGHEST_LOSS = 1e6
"""What a member may say of its loss; more would flatten everybody else's line."""


@dataclass(frozen=True)
class Figures:
    """What the charts of a run show; `members` in the plan's order, `scores` in no order."""

    members: tuple[str, ...]
    losses: tuple[Loss, ...]
    scores: tuple[Score, ...]


def mean(losses: Sequence[Loss]) -> float:
    """Their mean by pictures."""
    return sum(each.loss * each.num_examples for each in losses) / sum(each.num_examples for each in losses)


def is_told(loss: float) -> bool:
    """Whether a loss is one that is shown."""
    return 0.0 <= loss <= HIGHEST_LOSS


def ask(session: Session, store: Store, run: Run, number: int, subject: str = "") -> None:
    """Have the charts drawn anew, as there is a new figure of `subject` in round `number`; in the caller's
    transaction."""
    jobs.add(session, "chart", run.id, number, store.clock(), subject)


def figures(store: Store, run_id: str) -> Figures | None:
    """The figures that there are; None where the run is gone."""
    receipts = (
        select(Member.name, Receipt.round, Receipt.metrics, Receipt.num_examples)
        .join(Member, Member.id == Receipt.member_id)
        .where(Receipt.run_id == run_id)
        .order_by(Receipt.round)
    )
    with store.read() as session:
        run = session.get(Run, run_id)
        if run is None:
            return None
        losses = tuple(
            Loss(name, number, metrics["last_loss"], count)
            for name, number, metrics, count in session.execute(receipts)
            if "last_loss" in metrics
        )
        found = session.scalars(select(Score).where(Score.run_id == run_id)).all()
        return Figures(plan_of(run).data.clients, losses, tuple(found))


def keep(store: Store, run_id: str, drawings: Mapping[str, str]) -> None:
    """Note the drawings, blobs by what they show, in the place of the older ones."""
    with store.begin() as session:
        run = locked_run(session, run_id)
        for digest in drawings.values():
            files.record(session, store, digest, "chart")
        files.share(session, run.federation_id, *drawings.values())
        run.charts = dict(drawings)
        events.record(session, store, run.federation_id, run_id, "charts drawn")


def drawn(store: Store, run_id: str) -> dict[str, str]:
    """The drawings of a run, SVG by what they show; empty before the first round."""
    with store.read() as session:
        charts = session.scalar(select(Run.charts).where(Run.id == run_id)) or {}
    return {measure: store.file(digest, checked=True).read_text() for measure, digest in charts.items()}
