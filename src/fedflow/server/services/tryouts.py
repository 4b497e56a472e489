"""Try-outs: pictures that a person has drawn with a release, within what one person may ask for; theirs alone.

They wait as jobs for an evaluator, behind the rounds' own evaluations; `tryout_work` is the evaluator's side.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, aliased

from fedflow.server.database.people import Person
from fedflow.server.database.tables import Artifact, Job, Release
from fedflow.server.database.tryouts import Tryout
from fedflow.server.errors import Conflict, NotFound, Unprocessable
from fedflow.server.services import audit, catalogue, jobs
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import Caller
from fedflow.server.services.tryout_request import HIGHEST_SEED, TryoutRequest
from fedflow.server.services.tryout_source import Source, source
from fedflow.server.settings import DAY_S, ServerSettings
from fedflow.server.store import Store

WAITING, RUNNING, DONE, FAILED, CANCELLED, DELETED = "waiting", "running", "done", "failed", "cancelled", "deleted"
UNDER_WAY = (WAITING, RUNNING)


@dataclass(frozen=True)
class Line:
    """A try-out, and how many are drawn before it while it waits."""

    tryout: Tryout
    ahead: int


@dataclass(frozen=True)
class Allowance:
    """What is left to a person: pictures, and try-outs at once; in how many seconds there will be more pictures."""

    pictures: int
    at_once: int
    more_in_s: float | None


@dataclass(frozen=True)
class View:
    """A release as its try-out page shows it.

    `source` is what pictures are drawn with, None where `impossible` says why nothing can be; `lines` are the caller's
    own, newest first. `rounds_first` says that rounds are being measured, which goes before.
    """

    release: Release
    artifact: Artifact
    source: Source | None
    impossible: str
    lines: list[Line]
    allowance: Allowance
    rounds_first: bool


@dataclass(frozen=True)
class Shown:
    """One try-out with its release; `rounds_first` as in View."""

    line: Line
    release: Release
    artifact: Artifact
    rounds_first: bool


def view(
    store: Store, settings: ServerSettings, caller: Caller, release_id: str, before: str = "", limit: int = 50
) -> View:
    """A release with the caller's try-outs of it, before the identifier `before`. Raises NotFound."""
    with store.read() as session:
        release, artifact = catalogue.seen_release(session, caller, release_id)
        impossible, drawn_with = "", None
        try:
            drawn_with = source(session, release, artifact)
        except Conflict as error:
            impossible = str(error)
        own = Tryout.person_id == caller.id, Tryout.release_id == release_id, Tryout.status != DELETED
        query = select(Tryout).where(*own).order_by(Tryout.id.desc()).limit(limit)
        if before:
            query = query.where(Tryout.id < before)
        lines = _lines(session, session.scalars(query).all())
        allowance = _allowance(session, store, settings, caller.id)
        return View(release, artifact, drawn_with, impossible, lines, allowance, rounds_come_first(session))


def own(store: Store, caller: Caller, before: str = "", limit: int = 50) -> list[Shown]:
    """The caller's try-outs of all releases that they still see, newest first, before the identifier `before`."""
    query = (
        select(Tryout, Release, Artifact)
        .join(Release, Release.id == Tryout.release_id)
        .join(Artifact, Artifact.id == Release.artifact_id)
        .where(Tryout.person_id == caller.id, Tryout.status != DELETED)
        .order_by(Tryout.id.desc())
        .limit(limit)
    )
    if before:
        query = query.where(Tryout.id < before)
    with store.read() as session:
        found = session.execute(query.where(catalogue.visible(caller))).all()
        lines, first = _lines(session, [row for row, _, _ in found]), rounds_come_first(session)
    pairs = zip(lines, found, strict=True)
    return [Shown(line, release, artifact, first) for line, (_, release, artifact) in pairs]


def one(store: Store, caller: Caller, tryout_id: str) -> Shown:
    """A try-out of the caller's with its release. Raises NotFound, for another's and an unseen release's too."""
    with store.read() as session:
        row, release, artifact = _own(session, session.get(Tryout, tryout_id), caller, tryout_id)
        [line] = _lines(session, [row])
        return Shown(line, release, artifact, rounds_come_first(session))


def picture(store: Store, caller: Caller, tryout_id: str, number: int) -> tuple[Path, str]:
    """The file and the SHA-256 of a try-out's picture, counted from 1. Raises NotFound."""
    with store.read() as session:
        row, _, _ = _own(session, session.get(Tryout, tryout_id), caller, tryout_id)
    if not 1 <= number <= len(row.pictures):
        raise NotFound(f"there is no picture {number}")
    sha256 = row.pictures[number - 1]
    return store.file(sha256), sha256


def ask(
    store: Store,
    settings: ServerSettings,
    caller: Caller,
    release_id: str,
    wanted: TryoutRequest,
    identifier: str | None = None,
) -> str:
    """Have pictures drawn with a release; returns the try-out's identifier.

    That is `identifier` where one is given, and a try-out of the caller's that has it was made by the same request.

    Raises NotFound; Unprocessable, which names the field, for what is more than the server allows; Conflict where
    nothing can be drawn with the release, or the caller has as much as one person may.
    """
    _check_caps(settings, wanted)
    with store.begin() as session:
        made = None if identifier is None else session.get(Tryout, identifier)
        if made is not None and made.person_id == caller.id:
            return made.id
        release, artifact = catalogue.seen_release(session, caller, release_id)
        source(session, release, artifact)
        _check_limits(session, store, settings, caller.id, wanted.pictures)
        row = Tryout(
            id=new_id() if identifier is None or made is not None else identifier,
            person_id=caller.id,
            release_id=release_id,
            prompt=wanted.prompt,
            negative=wanted.negative_prompt,
            count=wanted.pictures,
            strength=wanted.strength,
            steps=wanted.steps,
            guidance=wanted.guidance,
            seed=secrets.randbelow(HIGHEST_SEED + 1) if wanted.seed is None else wanted.seed,
            size_pixels=wanted.size_pixels,
            attempt=0,
            pictures=[],
        )
        _queue(session, store, row)
        told = {"name": artifact.name, "tag": release.tag, "pictures": row.count}
        audit.record(session, store, caller, "try-out asked for", "tryout", row.id, artifact.federation_id, **told)
        return row.id


def again(store: Store, settings: ServerSettings, caller: Caller, tryout_id: str) -> None:
    """Go on with a try-out that failed or was cancelled; the pictures that are there stay. Raises as `ask`."""
    with store.begin() as session:
        row, release, artifact = _locked(session, caller, tryout_id)
        if row.status not in (FAILED, CANCELLED):
            raise Conflict(f"this try-out is {row.status}; only one that failed or was cancelled is drawn again")
        source(session, release, artifact)
        _check_limits(session, store, settings, caller.id, row.count - len(row.pictures))
        _queue(session, store, row)
        told = {"name": artifact.name, "tag": release.tag, "pictures": row.count - len(row.pictures)}
        audit.record(session, store, caller, "try-out tried again", "tryout", row.id, artifact.federation_id, **told)


def cancel(store: Store, caller: Caller, tryout_id: str) -> None:
    """Draw no more of a try-out; the pictures that are there stay. Raises NotFound; Conflict where it is over."""
    with store.begin() as session:
        row, release, artifact = _locked(session, caller, tryout_id)
        if row.status not in UNDER_WAY:
            raise Conflict("this try-out is over already; there is nothing to cancel")
        end(store, row, CANCELLED)
        session.flush()
        told = {"name": artifact.name, "tag": release.tag}
        audit.record(session, store, caller, "try-out cancelled", "tryout", row.id, artifact.federation_id, **told)


def remove(store: Store, caller: Caller, tryout_id: str) -> None:
    """Take a try-out out, prompt and pictures; one that is under way is cancelled. Raises NotFound.

    The blobs of its pictures go with the next collection that finds them older than a day.
    """
    with store.begin() as session:
        row, release, artifact = _locked(session, caller, tryout_id)
        if row.status in UNDER_WAY:
            end(store, row, CANCELLED)
        row.status, row.prompt, row.negative, row.message, row.pictures = DELETED, "", "", "", []
        session.flush()
        told = {"name": artifact.name, "tag": release.tag}
        audit.record(session, store, caller, "try-out deleted", "tryout", row.id, artifact.federation_id, **told)


def forget(session: Session, person_id: str) -> None:
    """Remove all try-outs of a person, in the caller's transaction; jobs that are left find nothing to do."""
    session.execute(delete(Tryout).where(Tryout.person_id == person_id))


def told(session: Session, person_id: str) -> list[dict[str, Any]]:
    """Everything that is kept of a person's try-outs, as JSON, newest first."""
    query = (
        select(Tryout, Artifact.name, Release.tag)
        .join(Release, Release.id == Tryout.release_id)
        .join(Artifact, Artifact.id == Release.artifact_id)
        .where(Tryout.person_id == person_id)
        .order_by(Tryout.id.desc())
    )
    return [
        {
            "release": f"{name} {tag}",
            "prompt": row.prompt,
            "negative": row.negative,
            "pictures": row.pictures,
            "asked_for": row.count,
            "strength": row.strength,
            "steps": row.steps,
            "guidance": row.guidance,
            "seed": row.seed,
            "size_pixels": row.size_pixels,
            "status": row.status,
            "asked_at": row.asked_at,
        }
        for row, name, tag in session.execute(query)
    ]


def end(store: Store, row: Tryout, status: str, message: str = "") -> None:
    """Note that nothing more is drawn: what was not drawn does not count against the person's day."""
    row.status, row.message, row.finished_at, row.spent = status, message, store.clock(), len(row.pictures)


def subject(row: Tryout) -> str:
    """What the job of a try-out's present attempt is about."""
    return f"{row.id} {row.attempt}"


def rounds_come_first(session: Session) -> bool:
    """Whether an evaluator has rounds to measure, which it does before it draws for people."""
    query = select(Job.id).where(Job.kind.in_(jobs.MEASURING), Job.status.in_((jobs.QUEUED, jobs.RUNNING)))
    return session.scalar(query.limit(1)) is not None


def _lines(session: Session, rows: Sequence[Tryout]) -> list[Line]:
    """Try-outs, each that waits with the number of those that are drawn before it."""
    other = aliased(Tryout)
    before = (other.asked_at < Tryout.asked_at) | ((other.asked_at == Tryout.asked_at) & (other.id < Tryout.id))
    ahead = select(func.count()).select_from(other).where(other.status.in_(UNDER_WAY), before)
    waiting = [row.id for row in rows if row.status == WAITING]  # one person has few of these
    if not waiting:
        return [Line(row, 0) for row in rows]
    found = session.execute(select(Tryout.id, ahead.scalar_subquery()).where(Tryout.id.in_(waiting)))
    known: dict[str, int] = dict(found.all())
    return [Line(row, known.get(row.id, 0)) for row in rows]


def _own(session: Session, row: Tryout | None, caller: Caller, tryout_id: str) -> tuple[Tryout, Release, Artifact]:
    """The try-out with its release, where it is the caller's and they, with this token, still see the release."""
    if row is not None and caller.kind == "person" and row.person_id == caller.id and row.status != DELETED:
        with suppress(NotFound):
            return row, *catalogue.seen_release(session, caller, row.release_id)
    raise NotFound(f"there is no try-out {tryout_id}")


def _locked(session: Session, caller: Caller, tryout_id: str) -> tuple[Tryout, Release, Artifact]:
    """The same, held until the transaction ends."""
    return _own(session, session.get(Tryout, tryout_id, with_for_update=True), caller, tryout_id)


def _queue(session: Session, store: Store, row: Tryout) -> None:
    """Let an evaluator draw what is lacking, as another attempt."""
    row.status, row.message, row.attempt, row.asked_at = WAITING, "", row.attempt + 1, store.clock()
    row.steps_done, row.spent = row.steps * len(row.pictures), row.count
    row.started_at, row.finished_at = None, None
    session.add(row)
    session.flush()
    jobs.add_alone(session, "tryout", subject(row), store.clock())
    session.flush()


def _check_caps(settings: ServerSettings, wanted: TryoutRequest) -> None:
    """Raise Unprocessable for more than this server draws at once."""
    caps = (
        ("pictures", wanted.pictures, settings.tryout_pictures),
        ("steps", wanted.steps, settings.tryout_steps),
        ("size_pixels", wanted.size_pixels or 0, settings.tryout_size_pixels),
    )
    for name, asked, most in caps:
        if asked > most:
            raise Unprocessable(f"{name}: {asked} are asked for, and at most {most} are allowed on this server")


def _check_limits(session: Session, store: Store, settings: ServerSettings, person_id: str, asked: int) -> None:
    """Raise Conflict where the person has as much as one may have; their row is held, so that two requests add up."""
    session.execute(select(Person.id).where(Person.id == person_id).with_for_update())
    left = _allowance(session, store, settings, person_id)
    if left.at_once <= 0:
        raise Conflict(
            f"you have {settings.tryouts_waiting} try-outs waiting or being drawn, which is all that one person may "
            "have; wait until one is done, or cancel one"
        )
    if asked > left.pictures:
        raise Conflict(
            f"{left.pictures} pictures are left of the {settings.tryout_pictures_a_day} that one person may draw in 24 "
            f"hours, and {asked} are asked for; ask for fewer, or come back later"
        )


def _allowance(session: Session, store: Store, settings: ServerSettings, person_id: str) -> Allowance:
    now = store.clock()
    own = Tryout.person_id == person_id
    today = own, Tryout.asked_at > now - DAY_S, Tryout.spent > 0
    spent, oldest = session.execute(
        select(func.coalesce(func.sum(Tryout.spent), 0), func.min(Tryout.asked_at)).where(*today)
    ).one()
    at_once = session.scalar(select(func.count()).where(own, Tryout.status.in_(UNDER_WAY))) or 0
    return Allowance(
        pictures=max(0, settings.tryout_pictures_a_day - int(spent)),
        at_once=max(0, settings.tryouts_waiting - at_once),
        more_in_s=None if oldest is None else max(0.0, oldest + DAY_S - now),
    )
