"""Evaluation: which models of a run are drawn with and measured, and the figures and pictures that came of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from fedflow.federation.jobs import DrawJob
from fedflow.federation.rounds import Status
from fedflow.plan import AGGREGATED, BASE, Plan
from fedflow.server.database.tables import Job, Member, Receipt, Run, Score
from fedflow.server.services import events, files, jobs, policies, run_charts
from fedflow.server.services.heldout import HELDOUT
from fedflow.server.services.identity import Caller
from fedflow.server.services.run_rows import model_before, plan_of, seen_by
from fedflow.server.store import Store

MOST_STEPS = 2**53

SCRATCH = "evaluation"
"""Folder in the server's, of one folder for each run that is being measured."""


@dataclass(frozen=True)
class ToScore:
    """A model that waits to be measured: what to draw with, and the pictures and optimiser steps behind it."""

    plan: Plan
    drawing: DrawJob
    num_examples: int
    steps: int


@dataclass(frozen=True)
class Measured:
    """What a drawing gave: figures, and blobs of its features and of the gallery's pictures, one per prompt.

    `kid_floor` is the KID of one half of the held-out pictures against the other, None where they are too few.
    `extractor` and `resize` say what measured it, `num_heldout` against how many pictures.
    """

    fid: float
    kid: float
    fid_low: float
    fid_high: float
    kid_low: float
    kid_high: float
    kid_floor: float | None
    kid_floor_low: float | None
    kid_floor_high: float | None
    extractor: str
    resize: str
    num_heldout: int
    features: str
    prompts: list[str]
    gallery: list[str]
    seconds: float


def ask(session: Session, store: Store, run: Run, number: int, clients: tuple[str, ...] = ()) -> None:
    """Have the model after round `number` measured, and the updates of `clients` where the plan wants that; in the
    caller's transaction. Nothing happens where the run's rounds are not scored."""
    if not (run.prepared or {}).get("scored"):
        return
    now = store.clock()
    jobs.add(session, "evaluate", run.id, number, now, AGGREGATED if number else BASE)
    if plan_of(run).evaluation.clients:
        for client in clients:
            jobs.add(session, "evaluate", run.id, number, now, client)


def to_score(store: Store, job: Job) -> ToScore | None:
    """What an evaluation is of; None where it was measured already or its run was stopped."""
    with store.read() as session:
        run = session.get(Run, job.run)
        if run is None or run.status == Status.STOPPED or _scored(session, run.id, job.round, job.subject):
            return None
        plan = plan_of(run)
        examples, steps = _behind(session, run, job.round)
        if job.subject == BASE:
            return ToScore(plan, DrawJob(plan.seeds[0], BASE, 0, None, ()), 0, 0)
        if job.subject == AGGREGATED:
            model = model_before(session, run, job.round + 1)
            drawing = DrawJob(plan.seeds[0], AGGREGATED, job.round, model.adapter, model.residuals)
            return ToScore(plan, drawing, sum(examples.values()), sum(steps.values()))
        model = model_before(session, run, job.round)
        query = select(Receipt.sha256).join(Member, Member.id == Receipt.member_id)
        update = session.scalar(
            query.where(Receipt.run_id == run.id, Receipt.round == job.round, Member.name == job.subject)
        )
        drawing = DrawJob(plan.seeds[0], job.subject, job.round, update, model.residuals)
        return ToScore(plan, drawing, examples[job.subject], steps[job.subject])


def keep(store: Store, run_id: str, asked: ToScore, measured: Measured) -> None:
    """Write a measurement whose blobs are in the store. The second of the same model changes nothing."""
    drawing = asked.drawing
    with store.begin() as session:
        if _scored(session, run_id, drawing.round, drawing.who):
            return
        run = session.get_one(Run, run_id)
        files.record(session, store, measured.features, "features")
        for picture in measured.gallery:
            files.record(session, store, picture, "picture")
        files.share(session, run.federation_id, *measured.gallery)
        session.add(
            Score(
                run_id=run_id,
                round=drawing.round,
                who=drawing.who,
                num_examples=asked.num_examples,
                steps=asked.steps,
                scored_at=store.clock(),
                **vars(measured),
            )
        )
        session.flush()
        told = {"round": drawing.round, "model": drawing.who, "fid": measured.fid, "kid": measured.kid}
        run_charts.ask(session, store, run, drawing.round, drawing.who)
        events.record(session, store, run.federation_id, run_id, "scored", **told)


def drop_scratch(store: Store) -> None:
    """Remove what evaluations of runs wrote on their way that are over and wholly measured."""
    for folder in (store.folder / SCRATCH).glob("*"):
        with store.read() as session:
            run = session.get(Run, folder.name)
            over = run is None or run.status in (Status.DONE, Status.STOPPED)
            needed = not over or jobs.unfinished(session, folder.name, jobs.EVALUATION) > 0
        if not needed:
            shutil.rmtree(folder, ignore_errors=True)


def listed(store: Store, caller: Caller, run_id: str) -> list[Score]:
    """All figures of a run, by round; base first, aggregated last. Raises NotFound, for another federation's too.

    Of single members there are no pictures where the federation's rules want none shown; examples and steps are 0 where
    `caller` is not told them.
    """
    with store.read() as session:
        run = seen_by(session, caller, run_id)
        order = (BASE, *plan_of(run).data.clients, AGGREGATED)
        found = session.scalars(select(Score).where(Score.run_id == run_id)).all()
        shows_pictures = policies.of(session, run.federation_id).visibility.member_galleries
        shows_examples = policies.shows_examples(session, caller, run.federation_id)
        for score in found:
            session.expunge(score)  # nothing of what follows is written
    for score in found:
        if score.who in (BASE, AGGREGATED):
            continue
        if not shows_pictures:
            score.gallery = []
        if not shows_examples:
            score.num_examples = score.steps = 0
    return sorted(found, key=lambda score: (score.round, order.index(score.who)))


def to_come(store: Store, run_id: str, number: int) -> list[str]:
    """Whose models of round `number` are still to be measured, in the order of their jobs."""
    is_scored = exists().where(Score.run_id == run_id, Score.round == number, Score.who == Job.subject)
    query = select(Job.subject).where(Job.run_id == run_id, Job.kind == "evaluate", Job.round == number, ~is_scored)
    with store.read() as session:
        return list(session.scalars(query.where(Job.status.in_((jobs.QUEUED, jobs.RUNNING))).order_by(Job.id)))


def not_measured(store: Store, run_id: str) -> tuple[str, ...]:
    """Why models of a run have no figures: a reason for each that failed, newest first; one where none is measured.

    Members are told what is wrong with the held-out pictures. Other errors may name places on the server's machine, and
    are for those who look after it.
    """
    query = select(Job.error).where(Job.run_id == run_id, Job.kind == "evaluate", Job.status == jobs.FAILED)
    with store.read() as session:
        reason = (session.get_one(Run, run_id).prepared or {}).get("not_scored")
        found = [error or "" for error in session.scalars(query.order_by(Job.id.desc()))]
    return (reason,) if reason else tuple(error if error.startswith(HELDOUT) else jobs.GAVE_UP for error in found)


def _scored(session: Session, run_id: str, number: int, who: str) -> bool:
    return session.get(Score, (run_id, number, who)) is not None


def _behind(session: Session, run: Run, number: int) -> tuple[dict[str, int], dict[str, int]]:
    """Each member's last example count and its optimiser steps, over its updates up to round `number`."""
    examples: dict[str, int] = {}
    steps: dict[str, int] = {}
    query = (
        select(Receipt, Member.name)
        .join(Member, Member.id == Receipt.member_id)
        .where(Receipt.run_id == run.id, Receipt.round <= number)
        .order_by(Receipt.round)
    )
    for receipt, name in session.execute(query):
        examples[name] = receipt.num_examples
        told = receipt.metrics.get("steps", 0.0)
        steps[name] = steps.get(name, 0) + int(min(max(told, 0.0), MOST_STEPS))
    return examples, steps
