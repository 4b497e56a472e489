"""Models, adapters and releases as lists and pages show them: newest first, in steps that cost the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from fedflow.server.database.people import Person
from fedflow.server.database.tables import Artifact, Federation, Release, Version
from fedflow.server.services import catalogue
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store

MOST_CHILDREN = 12
LAST = "g"
"""Behind every identifier: where a list begins."""


@dataclass(frozen=True)
class Wanted:
    """Which models and adapters: of this kind, federation and visibility, with this text in their name; "" for all."""

    kind: str = ""
    federation_id: str = ""
    text: str = ""
    visibility: str = ""


@dataclass(frozen=True)
class Shown:
    """A model or adapter in a list: its federation's name and its newest version's number."""

    artifact: Artifact
    federation: str
    newest: int | None


@dataclass(frozen=True)
class Given:
    """A release in a list, with what it is one of."""

    release: Release
    artifact: Artifact
    federation: str
    number: int


def artifacts(store: Store, caller: Caller, wanted: Wanted, before: str = "", limit: int = 50) -> list[Shown]:
    """What `caller` sees of it, newest first, older than the identifier `before`."""
    newest = (
        select(func.max(Version.number)).where(Version.artifact_id == Artifact.id).correlate(Artifact).scalar_subquery()
    )
    query = select(Artifact, Federation.name, newest).join(Federation, Federation.id == Artifact.federation_id)
    query = query.where(Artifact.id < (before or LAST)).order_by(Artifact.id.desc()).limit(limit)
    if wanted.kind:
        query = query.where(Artifact.kind == wanted.kind)
    if wanted.federation_id:
        query = query.where(Artifact.federation_id == wanted.federation_id)
    if wanted.visibility:
        query = query.where(Artifact.visibility == wanted.visibility)
    if wanted.text:
        query = query.where(Artifact.name.icontains(wanted.text, autoescape=True))
    with store.read() as session:
        return [Shown(*row) for row in session.execute(query.where(catalogue.visible(caller)))]


def one(store: Store, caller: Caller, artifact_id: str) -> tuple[Artifact, str]:
    """A model or adapter, and its federation's name. Raises NotFound."""
    with store.read() as session:
        artifact = catalogue.seen(session, caller, artifact_id)
        return artifact, session.get_one(Federation, artifact.federation_id).name


def version(store: Store, caller: Caller, version_id: str) -> tuple[Version, Artifact]:
    """A version and what it is one of. Raises NotFound."""
    with store.read() as session:
        return catalogue.seen_version(session, caller, version_id)


def owner(store: Store, artifact: Artifact) -> str | None:
    """The name of a model's or adapter's owner; None where it is its federation's, as what somebody left is."""
    if artifact.owner_id is None:
        return None
    query = select(Person.name).join(Artifact, Artifact.owner_id == Person.id)
    with store.read() as session:
        return session.scalar(query.where(Artifact.id == artifact.id, catalogue.owner_is_there()))


def versions(store: Store, caller: Caller, artifact_id: str, below: int = 0, limit: int = 50) -> list[Version]:
    """Versions, newest first, with numbers below `below`, 0 for all. Raises NotFound."""
    query = select(Version).where(Version.artifact_id == artifact_id).order_by(Version.number.desc()).limit(limit)
    with store.read() as session:
        catalogue.seen(session, caller, artifact_id)
        return list(session.scalars(query.where(Version.number < below) if below else query))


def made_from(store: Store, caller: Caller, version_id: str) -> list[tuple[Version, Artifact]]:
    """The first versions that training went on to from this one: one more than MOST_CHILDREN tells of others.

    Raises NotFound.
    """
    query = select(Version, Artifact).join(Artifact, Artifact.id == Version.artifact_id)
    query = query.where(Version.parent_id == version_id).order_by(Version.id).limit(MOST_CHILDREN + 1)
    with store.read() as session:
        catalogue.seen_version(session, caller, version_id)
        rows = session.execute(query.where(catalogue.visible(caller)))
        return [(version, artifact) for version, artifact in rows]


def releases(
    store: Store, caller: Caller, before: str = "", limit: int = 50, artifact_id: str = "", version_id: str = ""
) -> list[Given]:
    """Releases that `caller` sees, newest first, older than `before`; of one artifact, of one version, or of all."""
    query = (
        select(Release, Artifact, Federation.name, Version.number)
        .join(Artifact, Artifact.id == Release.artifact_id)
        .join(Federation, Federation.id == Artifact.federation_id)
        .join(Version, Version.id == Release.version_id)
        .where(Release.id < (before or LAST))
        .order_by(Release.id.desc())
        .limit(limit)
    )
    if artifact_id:
        query = query.where(Release.artifact_id == artifact_id)
    if version_id:
        query = query.where(Release.version_id == version_id)
    with store.read() as session:
        return [Given(*row) for row in session.execute(query.where(catalogue.visible(caller)))]


def release(store: Store, caller: Caller, release_id: str) -> Given:
    """One release. Raises NotFound."""
    with store.read() as session:
        row, artifact = catalogue.seen_release(session, caller, release_id)
        federation = session.get_one(Federation, artifact.federation_id).name
        return Given(row, artifact, federation, session.get_one(Version, row.version_id).number)


def may_change(store: Store, caller: Caller, artifact: Artifact) -> bool:
    """Whether `caller` may describe, release and delete: its owner, and coordinators of its federation."""
    with store.read() as session:
        return catalogue.may(session, caller, artifact, "coordinator")


def may_prepare(store: Store, caller: Caller, artifact: Artifact) -> bool:
    """Whether `caller` may have its files written: its owner, and participants of its federation."""
    with store.read() as session:
        return catalogue.may(session, caller, artifact, "participant")


def may_download(store: Store, caller: Caller, artifact: Artifact) -> bool:
    """Whether `caller` may have the files that are written of it."""
    with store.read() as session:
        return catalogue.takes_files(session, caller, artifact)


def bases(store: Store, caller: Caller, federation_id: str, limit: int) -> list[tuple[str, str, int]]:
    """Base models of a federation that an adapter may belong to, newest first: version, name and number."""
    query = (
        select(Version.id, Artifact.name, Version.number)
        .join(Artifact, Artifact.id == Version.artifact_id)
        .where(Artifact.federation_id == federation_id, Artifact.kind == "model", Version.content_hash.is_not(None))
        .order_by(Version.id.desc())
        .limit(limit)
    )
    with store.read() as session:
        rows = session.execute(query.where(catalogue.visible(caller)))
        return [(version, name, number) for version, name, number in rows]
