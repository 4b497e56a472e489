"""What is said of models and adapters: who owns and sees them, licence, card and trigger words; and taking them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from sqlalchemy import ColumnElement, and_, or_, select, true, update
from sqlalchemy.orm import Session

from fedflow.federation.rounds import Status
from fedflow.plan import REGISTRY
from fedflow.server.database.people import Person, Role, RoleName
from fedflow.server.database.tables import Artifact, Import, Release, Run, Version
from fedflow.server.errors import Conflict, Forbidden, NotFound, Unprocessable
from fedflow.server.reading import remembered
from fedflow.server.services import audit, events, files, roles
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store

Visibility = Literal["private", "federation", "public"]


@dataclass(frozen=True)
class Description:
    """What people say of a model or adapter. `licence` is an SPDX identifier or a few words, `card` Markdown."""

    visibility: Visibility
    licence: str = ""
    card: str = ""
    trigger_words: tuple[str, ...] = ()


def visible(caller: Caller) -> ColumnElement[bool]:
    """Which artifacts `caller` may see: their own and their federations', and everybody's.

    A private one without an owner who belongs to the federation is its coordinators' to see, so that it is not lost.
    """
    return _visible(Caller(caller.kind, caller.id, caller.federation_id, is_admin=caller.is_admin))


@lru_cache(maxsize=1024)
def _visible(caller: Caller) -> ColumnElement[bool]:
    """Made once for who asks: a page asks ten times, and to put the condition together takes longer than to ask."""
    theirs = roles.federations_asked(caller)
    if theirs is None:
        return true()
    everybodys = Artifact.visibility == "public"
    inside = [Artifact.visibility != "private"]
    if caller.kind == "person":
        coordinates = true() if caller.is_admin else _coordinated_by(caller.id)
        inside += [Artifact.owner_id == caller.id, and_(coordinates, ~owner_is_there())]
    return or_(everybodys, and_(Artifact.federation_id.in_(theirs), or_(*inside)))


def owner_is_there() -> ColumnElement[bool]:
    """Whether an artifact has an owner who belongs to its federation; the server's administrators belong to all."""
    role = select(Role.person_id).where(
        Role.person_id == Artifact.owner_id, Role.federation_id == Artifact.federation_id
    )
    admin = select(Person.id).where(Person.id == Artifact.owner_id, Person.is_admin)
    return or_(role.correlate(Artifact).exists(), admin.correlate(Artifact).exists())


def _coordinated_by(person_id: str) -> ColumnElement[bool]:
    least = roles.ROLES.index("coordinator")
    theirs = select(Role.federation_id).where(Role.person_id == person_id, Role.role.in_(roles.ROLES[least:]))
    return Artifact.federation_id.in_(theirs)


def seen(session: Session, caller: Caller, artifact_id: str) -> Artifact:
    """The artifact. Raises NotFound where there is none, or none that `caller` may see."""
    query = select(Artifact).where(Artifact.id == artifact_id, visible(caller))
    found = remembered(session, (Artifact, caller.id, artifact_id), lambda: session.scalar(query))
    if found is None:
        raise NotFound(f"there is no model or adapter {artifact_id}")
    return found


def seen_version(session: Session, caller: Caller, version_id: str) -> tuple[Version, Artifact]:
    """A version and what it is one of. Raises NotFound as `seen`."""
    query = select(Version, Artifact).join(Artifact, Artifact.id == Version.artifact_id)
    query = query.where(Version.id == version_id, visible(caller))
    found = remembered(session, (Version, caller.id, version_id), lambda: session.execute(query).one_or_none())
    if found is None:
        raise NotFound(f"there is no version {version_id}")
    return found[0], found[1]


def seen_release(session: Session, caller: Caller, release_id: str) -> tuple[Release, Artifact]:
    """A release and what it is one of. Raises NotFound as `seen`."""
    query = select(Release, Artifact).join(Artifact, Artifact.id == Release.artifact_id)
    query = query.where(Release.id == release_id, visible(caller))
    found = remembered(session, (Release, caller.id, release_id), lambda: session.execute(query).one_or_none())
    if found is None:
        raise NotFound(f"there is no release {release_id}")
    return found[0], found[1]


FOUND_BY: dict[str, Callable[[Session, Caller, str], Artifact]] = {
    "artifact_id": seen,
    "version_id": lambda session, caller, identifier: seen_version(session, caller, identifier)[1],
    "release_id": lambda session, caller, identifier: seen_release(session, caller, identifier)[1],
}
"""How the model or adapter is found that a part of an address belongs to."""


def may(session: Session, caller: Caller, artifact: Artifact, least: RoleName) -> bool:
    """Whether `caller`, who sees the artifact, is `least` in its federation, or belongs to it and is the owner."""
    if least == "viewer":
        return True
    own = roles.role(session, caller, artifact.federation_id)
    is_owner = own is not None and caller.kind == "person" and artifact.owner_id == caller.id
    return is_owner or roles.is_at_least(own, least)


def check(session: Session, caller: Caller, artifact: Artifact, least: RoleName) -> None:
    """Raise Forbidden where `caller` may not, as `may` says."""
    if not may(session, caller, artifact, least):
        raise Forbidden(f"this is for the owner of '{artifact.name}' and for a {least} of its federation; ask them")


def takes_files(session: Session, caller: Caller, artifact: Artifact) -> bool:
    """Whether `caller`, who sees the artifact, may have its files: of a public one everybody may."""
    return artifact.visibility == "public" or may(session, caller, artifact, "participant")


def require_files(store: Store, caller: Caller, part: str, identifier: str) -> None:
    """As `require`, of who may have its files."""
    with store.read() as session:
        artifact = FOUND_BY[part](session, caller, identifier)
        if artifact.visibility != "public":
            check(session, caller, artifact, "participant")


def require(store: Store, caller: Caller, part: str, identifier: str, least: RoleName) -> None:
    """As `roles.require`, of what `artifact_id`, `version_id` or `release_id` in an address names."""
    with store.read() as session:
        check(session, caller, FOUND_BY[part](session, caller, identifier), least)


def pin(name: str, number: int) -> str:
    """What a plan calls a version of a base model."""
    return f"{REGISTRY}{name}/{number}"


def one(store: Store, caller: Caller, artifact_id: str) -> Artifact:
    """A model or adapter with what is said of it. Raises NotFound."""
    with store.read() as session:
        return seen(session, caller, artifact_id)


def describe(store: Store, caller: Caller, artifact_id: str, said: Description) -> None:
    """Write what is said of a model or adapter.

    Raises NotFound, Forbidden, and Unprocessable where nobody would see it any more: what runs made has no owner.
    """
    with store.begin() as session:
        artifact = seen(session, caller, artifact_id)
        check(session, caller, artifact, "coordinator")
        if said.visibility == "private" and artifact.owner_id is None:
            raise Unprocessable("visibility: nobody owns this, so nobody would see it; show it to the federation")
        before = artifact.visibility
        artifact.visibility, artifact.licence, artifact.card = said.visibility, said.licence, said.card
        artifact.trigger_words = list(said.trigger_words)
        told = {"name": artifact.name, "visibility": said.visibility, "before": before, "licence": said.licence}
        audit.record(
            session, store, caller, "description changed", artifact.kind, artifact.id, artifact.federation_id, **told
        )


def delete_version(store: Store, caller: Caller, version_id: str) -> bool:
    """Take a version out; its blobs go a day later where nothing else refers to them.

    Gives whether other versions are left: with the last one its model or adapter goes too.

    Raises NotFound, Forbidden, and Conflict that names what depends on it: another version, a run, a release.
    """
    with store.begin() as session:
        version, artifact = seen_version(session, caller, version_id)
        check(session, caller, artifact, "coordinator")
        events.lock(session, artifact.federation_id)  # a run, a release or an import may begin to need it right now
        _check_unused(session, caller, version, artifact)
        told = {"name": artifact.name, "number": version.number, "content": version.content}
        for column in (Import.base_id, Import.version_id):  # what was brought in, or not, keeps its line
            session.execute(update(Import).where(column == version.id).values({column: None}))
        files.stay_a_day(session, store, files.of_version(store, version))
        session.delete(version)
        session.flush()
        others = session.scalar(select(Version.id).where(Version.artifact_id == artifact.id).limit(1)) is not None
        if not others:
            session.delete(artifact)
            session.flush()
        audit.record(
            session, store, caller, "version deleted", artifact.kind, version_id, artifact.federation_id, **told
        )
        return others


def _check_unused(session: Session, caller: Caller, version: Version, artifact: Artifact) -> None:
    """Raise Conflict where something would lose what it was made from, or what it names."""
    what = f"version {version.number} of '{artifact.name}'"
    query = select(Version.number, Artifact.name, visible(caller)).join(Artifact)
    query = query.where(Version.id != version.id, _made_from(version))
    child = session.execute(query.limit(1)).one_or_none()
    if child is not None and child[2]:
        raise Conflict(f"version {child[0]} of '{child[1]}' was made from {what}; delete that one first")
    if child is not None:
        raise Conflict(f"something private was made from {what}; it stays while that is there")
    tag = session.scalar(select(Release.tag).where(Release.version_id == version.id).limit(1))
    if tag is not None:
        raise Conflict(f"{what} is released as '{tag}'; what was given out stays, so that others can check it")
    coming = Import.base_id == version.id, Import.phase.not_in(("done", "failed"))
    name = session.scalar(select(Import.name).where(*coming).limit(1))
    if name is not None:
        raise Conflict(f"the import of '{name}' goes on with {what}; wait until it is done")
    if version.run_id is None:
        mine = and_(
            Run.federation_id == artifact.federation_id,
            or_(
                Run.base_hash == version.content_hash,
                Run.plan["model"].as_string() == pin(artifact.name, version.number),  # not prepared yet
            ),
        )
    else:
        mine = Run.id == version.run_id
    run = session.scalar(select(Run.name).where(mine, Run.status.not_in((Status.DONE, Status.STOPPED))).limit(1))
    if run is not None:
        raise Conflict(f"run '{run}' goes on with {what}; stop it first")


def _made_from(version: Version) -> ColumnElement[bool]:
    return or_(Version.parent_id == version.id, Version.base_id == version.id)
