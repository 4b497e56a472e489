"""Jobs for workers: each is a row, done once whatever happens, leased to the worker that is at it.

The queue carries the job's identifier only, as a hint that there is something to do. What a job is, whether it was
done, and whose it is stands in the row; a sweep puts what nobody is at into the queue again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.orm import Session

from fedflow.server.database.inserts import insert
from fedflow.server.database.tables import Artifact, Import, Job, Run, Version
from fedflow.server.errors import Conflict, NotFound
from fedflow.server.services import audit
from fedflow.server.services.identifiers import ID_LENGTH, new_id
from fedflow.server.services.identity import Caller
from fedflow.server.store import MOST_SKEW_S, Store

ROUNDS = ("prepare", "aggregate", "export", "merge")
"""Kinds of jobs that a federation's rounds are made of."""

EVALUATION = ("evaluate", "chart", "import", "download", "tryout", "verify")
"""Kinds of jobs that may take longer, and that no round waits for."""

NEEDED = ("prepare", "aggregate")
"""Kinds of jobs without which a run cannot go on."""

MEASURING = ("evaluate",)
"""Kinds of jobs that go before what people have drawn for themselves."""

QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"
ALONE = ("evaluate", "chart", "export", "merge", "download", "verify")
"""Kinds of jobs that can be tried again by themselves; with the others goes a run, or an import."""

GAVE_UP = "the worker gave up; its log says more"
"""What is told of a job's error that is not told itself, or that nobody has noted."""

MOST_GIVEN_UP = 50
LEASE_S = 10.0
MOST_ERRORS = 5
MOST_DEATHS = 20
"""After so many deaths of workers at one job it is given up: it may want more memory than there is."""

MOST_DEATHS_ASIDE = 3
"""The same for what one person asked for: each death holds up the rounds' own evaluations."""


class GivesWay(Exception):  # noqa: N818 - nothing went wrong
    """A job stops on its way, so that others go first; it is gone on with afterwards."""


@dataclass(frozen=True)
class GivenUp:
    """A job that ended in an error too often, with the last one; `run_id` where it belongs to a run.

    `subject` is whose model was to be measured, or what was to be imported or downloaded by its name; else empty.
    """

    id: str
    kind: str
    run_id: str | None
    run: str | None
    round: int
    subject: str
    error: str
    created_at: float
    may_be_tried: bool


def add(session: Session, kind: str, run_id: str, round_number: int, now: float, subject: str = "") -> Job:
    """The job of this kind for this round, made where it is not there yet, put back where it had failed.

    `subject` is whose model an evaluation is of.
    """
    key = " ".join(filter(None, (kind, run_id, str(round_number), subject)))
    return _add(session, key, kind, run_id, round_number, now, subject)


def add_alone(session: Session, kind: str, subject: str, now: float) -> Job:
    """As `add`, for a job that belongs to no run: `subject` says what it is about. One that was done is done again."""
    job = _add(session, f"{kind} {subject}", kind, None, 0, now, subject)
    if job.status == DONE:
        _put_back(job, now)
    return job


def found(session: Session, kind: str, subject: str) -> Job | None:
    """The job that `add_alone` has made."""
    return session.scalar(select(Job).where(Job.key == f"{kind} {subject}"))


def _add(session: Session, key: str, kind: str, run_id: str | None, round_number: int, now: float, subject: str) -> Job:
    about = {"key": key, "kind": kind, "run_id": run_id, "round": round_number, "subject": subject}
    fresh = {"id": new_id(), **about, "status": QUEUED, "attempts": 0, "errors": 0, "created_at": now}
    session.flush()
    session.execute(insert(session, Job).values(fresh).on_conflict_do_nothing())  # two may ask at once
    job = session.scalars(select(Job).where(Job.key == key).with_for_update()).one()
    if job.status == FAILED:
        _put_back(job, now)
    return job


def _put_back(job: Job, now: float) -> None:
    """Let it wait as one that is asked for now: for how long the oldest has waited is what tells that workers lack."""
    job.status, job.attempts, job.errors, job.error, job.created_at = QUEUED, 0, 0, None, now


def lease(job: Job, worker: str, now: float) -> None:
    """Give a job that was just added to `worker` before any other can take it; in the caller's transaction."""
    job.status, job.worker, job.leased_until = RUNNING, worker, now + LEASE_S


def claim(store: Store, job_id: str, worker: str) -> Job | None:
    """Lease a job to `worker`; None where it is done, given up, or another worker's for now."""
    now = store.clock()
    with store.begin() as session:
        job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
        if job is None or job.status in (DONE, FAILED):
            return None
        if job.status == RUNNING and job.worker != worker and _holds(job.leased_until, now):
            return None
        job.status, job.worker, job.leased_until = RUNNING, worker, now + LEASE_S
        job.attempts += 1
        session.flush()
        session.expunge(job)
        return job


def _holds(leased_until: float | None, now: float) -> bool:
    """Whether a lease holds; one far beyond its length was given before the clock went back."""
    return leased_until is not None and now < leased_until <= now + LEASE_S + MOST_SKEW_S


def renew(store: Store, job_id: str, worker: str) -> None:
    """Prolong the lease, unless the job is another's by now: then both do it, and the first result counts."""
    with store.begin() as session:
        job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
        if job is None or job.worker != worker or job.status != RUNNING:
            return
        job.leased_until = store.clock() + LEASE_S


def has_died_too_often(job: Job) -> bool:
    """Whether workers died so often at a claimed job that it is given up."""
    most = MOST_DEATHS_ASIDE if job.kind == "tryout" else MOST_DEATHS
    return job.attempts - job.errors > most


def finish(store: Store, job_id: str) -> None:
    """The job's result is stored."""
    with store.begin() as session:
        job = session.get(Job, job_id)
        if job is not None:
            job.status, job.finished_at, job.leased_until, job.error = DONE, store.clock(), None, None


def put_back(store: Store, job_id: str, worker: str) -> None:
    """Let the job wait again as if `worker` had not begun it, unless it is another's by now."""
    with store.begin() as session:
        job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
        if job is not None and job.status == RUNNING and job.worker == worker:
            job.status, job.leased_until, job.attempts = QUEUED, None, job.attempts - 1


def leave(store: Store, worker: str) -> None:
    """Put back the jobs of a worker that ends as it was told to: no death of it at them is counted."""
    mine = Job.status == RUNNING, Job.worker == worker
    with store.begin() as session:
        session.execute(update(Job).where(*mine).values(status=QUEUED, leased_until=None, attempts=Job.attempts - 1))


def fail(store: Store, job_id: str, worker: str, error: str, *, give_up: bool) -> bool:
    """Note an error; the sweep tries the job again, unless it is given up, now or after some errors: then True.

    Nothing is noted where the job is another worker's by now, or done.
    """
    with store.begin() as session:
        job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
        if job is None or job.status != RUNNING or job.worker != worker:
            return False
        job.error, job.errors, job.leased_until = error, job.errors + 1, None
        given_up = give_up or job.errors >= MOST_ERRORS
        job.status = FAILED if given_up else QUEUED
        return given_up


def try_again(store: Store, job_id: str, by: Caller) -> None:
    """Put a job that was given up back into the queue.

    Raises NotFound where there is no such job, Conflict where it was not given up, or a run has to go on with it.
    """
    with store.begin() as session:
        job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
        if job is None:
            raise NotFound(f"there is no job {job_id}")
        if job.status != FAILED:
            raise Conflict("the job was not given up; it is done, or will be")
        if job.kind not in ALONE:
            raise Conflict("a run waits for this job; go on with the run on its page")
        _put_back(job, store.clock())
        run = session.get(Run, job.run_id) if job.run_id is not None else None
        told = {"name": None if run is None else run.name, "kind": job.kind, "number": job.round}
        audit.record(session, store, by, "job tried again", "job", job_id, None, **told)


def given_up(store: Store) -> list[GivenUp]:
    """The jobs that were given up, newest first."""
    query = (
        select(Job, Run.id, Run.name, func.coalesce(Import.name, Artifact.name))
        .outerjoin(Run, Run.id == Job.run_id)
        .outerjoin(Import, and_(Job.kind == "import", Import.id == Job.subject))
        .outerjoin(Version, and_(Job.kind == "download", Version.id == func.substr(Job.subject, 1, ID_LENGTH)))
        .outerjoin(Artifact, Artifact.id == Version.artifact_id)
        .where(Job.status == FAILED)
        .order_by(Job.id.desc())
        .limit(MOST_GIVEN_UP)
    )
    with store.read() as session:
        return [
            GivenUp(
                job.id,
                job.kind,
                run_id,
                run,
                job.round,
                name or (job.subject if job.kind in MEASURING else ""),
                job.error or "",
                job.created_at,
                job.kind in ALONE,
            )
            for job, run_id, run, name in session.execute(query)
        ]


def unfinished(session: Session, run_id: str, kinds: Collection[str]) -> int:
    """How many jobs of these kinds a run still has to come."""
    query = select(func.count()).where(Job.run_id == run_id, Job.kind.in_(kinds), Job.status.in_((QUEUED, RUNNING)))
    return session.scalar(query) or 0


def unfinished_by_kind(session: Session, run_id: str, kinds: Collection[str]) -> dict[str, int]:
    """The same kind by kind; those of which there are none are not in it."""
    query = (
        select(Job.kind, func.count())
        .where(Job.run_id == run_id, Job.kind.in_(kinds), Job.status.in_((QUEUED, RUNNING)))
        .group_by(Job.kind)
    )
    return {kind: count for kind, count in session.execute(query)}  # noqa: C416


def unfinished_of(session: Session, run_ids: Collection[str], kinds: Collection[str]) -> dict[str, int]:
    """The same for several runs at once; those that have none are not in it."""
    query = (
        select(Job.run_id, func.count())
        .where(Job.run_id.in_(run_ids), Job.kind.in_(kinds), Job.status.in_((QUEUED, RUNNING)))
        .group_by(Job.run_id)
    )
    return {run_id: count for run_id, count in session.execute(query) if run_id is not None}


def release(store: Store, host: str, is_alive: Callable[[int], bool]) -> None:
    """Put back the jobs of workers of this machine that are no more; those of others wait for their lease's end.

    A worker is called HOST-PROCESS.
    """
    with store.begin() as session:
        for job in session.scalars(select(Job).where(Job.status == RUNNING).with_for_update()):
            machine, _, process = (job.worker or "").rpartition("-")
            if machine == host and process.isdecimal() and not is_alive(int(process)):
                job.status, job.leased_until = QUEUED, None


def waiting(store: Store, kinds: Collection[str]) -> list[str]:
    """Identifiers of the jobs of these kinds that nobody is at, by sort, then fewest errors, then oldest.

    To measure a model takes minutes and a run has many, so what people wait for goes before it. Try-outs come last:
    they stop where a model waits to be measured, and sent before it they would keep it from the queue for ever.
    """
    now = store.clock()
    with store.read() as session:
        ended = ~Job.leased_until.between(
            now, now + LEASE_S + MOST_SKEW_S
        )  # one of tomorrow's is of a clock that went back
        query = (
            select(Job.id)
            .where(Job.kind.in_(kinds), or_(Job.status == QUEUED, (Job.status == RUNNING) & ended))
            .order_by(
                case((Job.kind == "tryout", 2), (Job.kind.in_(MEASURING), 1), else_=0), Job.errors, Job.created_at
            )
        )
        return list(session.scalars(query))
