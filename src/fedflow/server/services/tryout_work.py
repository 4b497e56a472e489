"""Try-outs as the evaluator that draws them sees them: begun, gone on with, kept; collected when their time is over."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.orm import Session

from fedflow.server.database.people import Person
from fedflow.server.database.tables import Artifact, Job, Release
from fedflow.server.database.tryouts import Tryout
from fedflow.server.errors import Conflict, NotFound
from fedflow.server.services import catalogue, files, jobs
from fedflow.server.services.identity import Caller
from fedflow.server.services.tryout_source import Source, source
from fedflow.server.services.tryouts import DELETED, DONE, FAILED, RUNNING, UNDER_WAY, WAITING, end, subject
from fedflow.server.settings import DAY_S
from fedflow.server.store import Store

KIND = "tryout"


@dataclass(frozen=True)
class ToDraw:
    """An attempt at a try-out: what to draw with, how, and how many pictures are there already.

    `name` is what the adapter is called in the pictures' settings.
    """

    tryout: Tryout
    source: Source
    name: str


def begin(store: Store, about: str) -> ToDraw | None:
    """Begin or go on with the attempt that a job is about; None where it is over, or another one by now.

    Raises Conflict where nothing can be drawn with the release any more, or whoever asked may not see it any more.
    """
    with store.begin() as session:
        row = _locked(session, about)
        if row is None or row.status not in UNDER_WAY:
            return None
        release, artifact = _seen(session, row)
        found = source(session, release, artifact)
        row.status, row.started_at = RUNNING, row.started_at or store.clock()
        session.flush()
        return ToDraw(row, found, f"{artifact.name}-{release.tag}")


def note(store: Store, about: str, steps_done: int) -> bool:
    """Write how many denoising steps are done; whether the attempt is still wanted."""
    tryout_id, attempt = about.split()
    mine = Tryout.id == tryout_id, Tryout.attempt == int(attempt), Tryout.status == RUNNING
    with store.begin() as session:
        said = update(Tryout).where(*mine).values(steps_done=steps_done).returning(Tryout.id)
        return session.scalar(said) is not None


def keep(store: Store, about: str, number: int, sha256: str) -> bool:
    """Add the picture `number`, counted from 0, whose blob is in the store; whether the attempt goes on.

    The second of the same number changes nothing, and none is added to a try-out that is over.
    """
    with store.begin() as session:
        row = _locked(session, about)
        if row is None or row.status != RUNNING:
            return False
        if len(row.pictures) == number:
            files.record(session, store, sha256, "tryout")
            row.pictures = [*row.pictures, sha256]
            row.steps_done = max(row.steps_done, row.steps * len(row.pictures))
        if len(row.pictures) >= row.count:
            end(store, row, DONE)
        return row.status == RUNNING


def put_back(store: Store, about: str) -> None:
    """Let the attempt wait again: something else goes first."""
    with store.begin() as session:
        row = _locked(session, about)
        if row is not None and row.status == RUNNING:
            row.status = WAITING


def fail(store: Store, about: str, message: str) -> None:
    """Note why nothing more is drawn, for who asked for it."""
    with store.begin() as session:
        row = _locked(session, about)
        if row is not None and row.status in UNDER_WAY:
            end(store, row, FAILED, message)


def collect(store: Store, ttl_s: float) -> int:
    """Remove try-outs that are over for longer than `ttl_s`, and deleted ones that no longer count; returns how many.

    One whose job was given up by a worker that died before it could say so is told as failed.
    """
    now = store.clock()
    old = Tryout.status.not_in((*UNDER_WAY, DELETED)), Tryout.finished_at < now - ttl_s
    uncounted = Tryout.asked_at < now - DAY_S  # until then it counts against its person's day
    with store.begin() as session:
        for row in session.scalars(select(Tryout).where(Tryout.status.in_(UNDER_WAY)).with_for_update()):
            job = jobs.found(session, KIND, subject(row))
            if job is not None and job.status == jobs.FAILED:
                end(store, row, FAILED, job.error or jobs.GAVE_UP)
        removed = delete(Tryout).where(or_(and_(*old), Tryout.status == DELETED), uncounted).returning(Tryout.id)
        gone = session.scalars(removed).all()
        over = Job.kind == KIND, Job.status.in_((jobs.DONE, jobs.FAILED)), Job.created_at < now - max(ttl_s, DAY_S)
        session.execute(delete(Job).where(*over))
        return len(gone)


def _seen(session: Session, row: Tryout) -> tuple[Release, Artifact]:
    """The release, as its person sees it now. Raises Conflict where they do not."""
    person = session.get_one(Person, row.person_id)
    if person.disabled_at is not None or person.deleted_at is not None:
        raise Conflict("the account that asked for it was closed")
    try:
        return catalogue.seen_release(session, Caller("person", person.id, is_admin=person.is_admin), row.release_id)
    except NotFound:
        raise Conflict("you may not see this release any more; ask a coordinator of its federation") from None


def _locked(session: Session, about: str) -> Tryout | None:
    """The try-out that a job is about, held until the transaction ends; None where another attempt is under way."""
    tryout_id, attempt = about.split()
    row = session.get(Tryout, tryout_id, with_for_update=True, populate_existing=True)
    return row if row is not None and row.attempt == int(attempt) else None
