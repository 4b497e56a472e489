"""Jobs of the worker: what is asked for, how far it is, and what became of it. The row is what counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session
from uuid_utils import uuid7

from fedflow.client.database.tables import Job
from fedflow.client.store import Store
from fedflow.errors import MistakeError

QUEUED, RUNNING, PAUSED, DONE, FAILED, DIED, STOPPED, REFUSED, ASIDE = STATUS = (
    "queued", "running", "paused", "done", "failed", "died", "stopped", "refused", "aside",
)  # fmt: skip
"""`died`: its worker ended while it was at it; it can be resumed, as what is paused, failed or stopped can.

`refused`: it failed, and would fail again however often it is tried. `aside`: it did not end well, and its owner wants
no more of it.
"""

RESUMABLE = frozenset({PAUSED, FAILED, DIED, STOPPED})
WENT_WRONG = frozenset({FAILED, DIED, REFUSED})
OVER = frozenset({DONE, REFUSED, ASIDE})
"""Nobody goes on with what is so."""
PAUSE, STOP = "pause", "stop"
ROUND = "round"
"""The kind of job that is no queue's: a round of a federation, which goes on by itself."""
INCOMING = "incoming"
"""Where files that came through the browser lie until a job has taken them in."""
ARCHIVE, UPLOAD = KEPT = "archive", "upload"
"""What a job's `asked` calls the file that is kept for it there: a zip of pictures, a model."""


def new_id() -> str:
    """An identifier that sorts by time."""
    return str(uuid7())


def add(session: Session, kind: str, title: str, asked: dict[str, Any], of: int, now: float) -> Job:
    """Ask for `of` pieces of work, in the caller's transaction."""
    job = Job(
        id=new_id(), kind=kind, title=title, asked=asked, status=QUEUED, done=0, of=of, message="",
        created_at=now, changed_at=now,
    )  # fmt: skip
    session.add(job)
    return job


def one(store: Store, job_id: str) -> Job | None:
    """The job; None where there is none."""
    with store.read() as session:
        return session.get(Job, job_id)


def listed(store: Store, limit: int, before: str = "") -> list[Job]:
    """The newest jobs, newest first; those before the job `before` where it is named."""
    query = select(Job).order_by(Job.id.desc()).limit(limit)
    with store.read() as session:
        return list(session.scalars(query.where(Job.id < before) if before else query))


def newest(store: Store, kind: str) -> Job | None:
    """The newest job of a kind; None where there was none."""
    with store.read() as session:
        return session.scalar(select(Job).where(Job.kind == kind).order_by(Job.id.desc()).limit(1))


def under_way(store: Store, kinds: Collection[str] = ()) -> list[Job]:
    """Jobs that run or wait, in the order in which they are done; all kinds where none is named."""
    query = select(Job).where(Job.status.in_((QUEUED, RUNNING))).order_by(Job.status.desc(), Job.id)
    with store.read() as session:
        return list(session.scalars(query.where(Job.kind.in_(kinds)) if kinds else query))


def last_failed(store: Store, kinds: Collection[str], dataset_id: str) -> Job | None:
    """The newest job of these kinds about a dataset, where it has failed or died; None where it has not."""
    query = select(Job).where(Job.kind.in_(kinds), Job.asked["dataset"].as_string() == dataset_id)
    with store.read() as session:
        job = session.scalar(query.order_by(Job.id.desc()).limit(1))
        return job if job is not None and job.status in WENT_WRONG else None


def going_on(store: Store, kind: str, dataset_id: str) -> list[Job]:
    """Jobs of a kind about a dataset that are not over, oldest first."""
    query = select(Job).where(Job.kind == kind, Job.asked["dataset"].as_string() == dataset_id)
    with store.read() as session:
        return list(session.scalars(query.where(Job.status.not_in(OVER)).order_by(Job.id)))


def refused(store: Store, kind: str) -> list[Job]:
    """Jobs of a kind that were refused, newest first."""
    query = select(Job).where(Job.kind == kind, Job.status == REFUSED).order_by(Job.id.desc())
    with store.read() as session:
        return list(session.scalars(query))


def waiting(store: Store) -> list[str]:
    """Identifiers of the jobs that nobody is at, oldest first; rounds, which their participant does, left out."""
    query = select(Job.id).where(Job.status == QUEUED, Job.kind != ROUND).order_by(Job.id)
    with store.read() as session:
        return list(session.scalars(query))


def news(store: Store) -> float:
    """When a job changed last; 0 where there is none."""
    with store.read() as session:
        return session.scalar(select(func.max(Job.changed_at))) or 0.0


def claim(store: Store, job_id: str) -> Job | None:
    """Begin a job that waits; None where it does no longer."""
    with store.begin() as session:
        job = session.get(Job, job_id)
        if job is None or job.status != QUEUED:
            return None
        now = store.clock()
        job.status, job.wanted, job.message = RUNNING, None, ""
        job.began_at, job.ended_at, job.changed_at = now, None, now
        job.paced_from = job.paced_at = None
        return job


def note(store: Store, job_id: str, done: int, of: int | None = None) -> str | None:
    """Write how far a job is, and of how much where only that tells; gives what its owner wants of it meanwhile:
    'pause', 'stop', or None to go on."""
    with store.begin() as session:
        job = session.get_one(Job, job_id)
        job.done, job.of, job.changed_at = done, job.of if of is None else of, store.clock()
        if done and job.paced_from is None:
            job.paced_from, job.paced_at = done, job.changed_at
        return job.wanted


def wanted(store: Store, job_id: str) -> str | None:
    """What the owner wants of a job, as `note` gives it."""
    with store.read() as session:
        return session.scalar(select(Job.wanted).where(Job.id == job_id))


def end(store: Store, job_id: str, status: str, message: str = "") -> None:
    """A job is over, or paused; `message` says why where it did not end well."""
    with store.begin() as session:
        job = session.get(Job, job_id)
        if job is None:
            return
        now = store.clock()
        job.status, job.message, job.wanted = status, message, None
        job.ended_at = job.changed_at = now


def want(store: Store, job_id: str, what: str) -> None:
    """Have a job paused or stopped. One that waits is so at once, one that runs at its next step.

    One that is paused can be stopped, but for a round, which goes on by itself; what is kept of it stays.

    Raises MistakeError where it neither waits nor runs nor is paused.
    """
    with store.begin() as session:
        job = session.get(Job, job_id)
        stands = {QUEUED} if job is None or what == PAUSE or job.kind == ROUND else {QUEUED, PAUSED}
        if job is None or job.status not in {RUNNING} | stands:
            raise MistakeError("it is over already")
        now = store.clock()
        if job.status in stands:
            job.status = PAUSED if what == PAUSE else STOPPED
            job.ended_at = now
        else:
            job.wanted = what
        job.changed_at = now


def resume(store: Store, job_id: str) -> None:
    """Put a job back into the queue. Raises MistakeError where it runs, waits or is done."""
    with store.begin() as session:
        job = session.get(Job, job_id)
        if job is None or job.status not in RESUMABLE or job.kind == ROUND:
            raise MistakeError("there is nothing to resume")
        job.status, job.wanted, job.message = QUEUED, None, ""
        job.ended_at, job.changed_at = None, store.clock()


def put_aside(store: Store, job_id: str) -> None:
    """Have a job that did not end well out of the way: it is resumed no more, and asks for nothing.

    A file that is kept for it goes.

    Raises MistakeError where it runs, waits or is done, and for a round, which its participant goes on with.
    """
    with store.begin() as session:
        job = session.get(Job, job_id)
        if job is None or job.status not in WENT_WRONG | {STOPPED} or job.kind == ROUND:
            raise MistakeError("there is nothing to put aside")
        job.status, job.changed_at = ASIDE, store.clock()
    drop_kept(store, [job])


def put_aside_all(session: Session, dataset_id: str, now: float) -> list[Job]:
    """The same for all jobs about a dataset that is taken out: none of them could be done any more.

    Gives them, whose files are the caller's to drop once the transaction has ended.
    """
    about = Job.asked["dataset"].as_string() == dataset_id
    found = list(session.scalars(select(Job).where(about, Job.status.in_(RESUMABLE | {QUEUED}))))
    for job in found:
        job.status, job.changed_at = ASIDE, now
    return found


def drop_kept(store: Store, some: Iterable[Job]) -> None:
    """Remove the files that are kept for these jobs."""
    for name in (job.asked[key] for job in some for key in KEPT if key in job.asked):
        (store.folder / INCOMING / Path(name).name).unlink(missing_ok=True)


def note_handed_in(
    store: Store, membership_id: str, run_id: str, number: int, losses: tuple[float, float], *, is_taken: bool
) -> None:
    """What a round's training made has come to its server, which takes it or refuses it for good.

    `losses` are the training's at first and at the end, as the server was told them.
    """
    asked = Job.asked
    query = (
        select(Job)
        .where(Job.kind == ROUND, asked["membership"].as_string() == membership_id)
        .where(asked["run"].as_string() == run_id, asked["round"].as_integer() == number)
        .order_by(Job.id.desc())
        .limit(1)
    )
    with store.begin() as session:
        job = session.scalar(query)
        if job is not None:
            job.asked, job.changed_at = {**job.asked, "is_taken": is_taken, "losses": list(losses)}, store.clock()


def rounds_of(store: Store, membership_id: str, run_id: str) -> list[Job]:
    """Trainings for a run's rounds, oldest first."""
    asked = Job.asked
    query = select(Job).where(Job.kind == ROUND, asked["membership"].as_string() == membership_id)
    with store.read() as session:
        return list(session.scalars(query.where(asked["run"].as_string() == run_id).order_by(Job.id)))


def bury(store: Store) -> list[Job]:
    """Tell all jobs as died that run, and forget rounds that waited for their turn, as they come anew.

    A worker does so before its first job: it is the only one then. Gives the rounds that died.
    """
    now = store.clock()
    with store.begin() as session:
        rounds = list(session.scalars(select(Job).where(Job.status == RUNNING, Job.kind == ROUND)))
        session.execute(delete(Job).where(Job.status == QUEUED, Job.kind == ROUND))
        lost = update(Job).where(Job.status == RUNNING)
        session.execute(lost.values(status=DIED, wanted=None, ended_at=now, changed_at=now))
    return rounds
