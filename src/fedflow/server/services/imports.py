"""Models and adapters brought in from elsewhere: asked for by people, carried out by a worker.

What comes in is looked at by the worker before it is anything: safetensors alone, names, shapes and values checked. The
server fetches no address that a person gives: a name on the model hub is all, and only where the server is set so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fedflow.federation.rounds import Status
from fedflow.server.database.people import Person
from fedflow.server.database.tables import Artifact, Federation, Import, Run, Version
from fedflow.server.errors import Conflict, Forbidden, NotFound, Unprocessable
from fedflow.server.services import audit, catalogue, events, files, jobs, registry, roles, uploads
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store

Source = Literal["upload", "folder", "hub", "machine"]
Phase = Literal["waiting", "fetching", "checking", "storing", "done", "failed"]
UNDER_WAY = ("waiting", "fetching", "checking", "storing")
MOST_UNDER_WAY = 20
"""Imports of a federation that are not over."""

HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")
LONGEST_NAME = 80
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Wanted:
    """What somebody wants to bring in: a model or an adapter, what it shall be called, and from where.

    place: of a folder the path inside the server's folder of imports, of the hub OWNER/NAME, of an upload what the file
        was called, of the machine a path.
    base_id: the version of a model that an adapter belongs to, or whose settings a single checkpoint takes.
    """

    kind: Literal["model", "adapter"]
    name: str
    source: Source
    place: str
    base_id: str | None = None


@dataclass(frozen=True)
class Allowed:
    """What the server's settings allow: a folder to import from, if any, and names on the hub."""

    folder: Path | None
    hub: bool


def ask(
    store: Store, caller: Caller, federation_id: str, wanted: Wanted, allowed: Allowed, identifier: str | None = None
) -> str:
    """Have something brought in by a worker; returns the import's identifier.

    That is `identifier` where one is given, and an import that has it already was asked for by the same request.

    Raises NotFound, Forbidden, Conflict; Unprocessable, which names the field, for what cannot be brought in.
    """
    _check(caller, wanted, allowed)
    with store.begin() as session:
        if identifier is not None and session.get(Import, identifier) is not None:
            return identifier
        row = _added(session, store, caller, federation_id, wanted, identifier)
        jobs.add_alone(session, "import", row.id, store.clock())
        _note(session, store, caller, row)
        return row.id


def hand_in(
    store: Store,
    caller: Caller,
    federation_id: str,
    wanted: Wanted,
    upload_id: str,
    sha256: str,
    identifier: str | None = None,
) -> str:
    """As `ask`, for a file that the caller has uploaded; it becomes a blob, and then the row that refers to it.

    Raises what `ask` and `uploads.taken` raise.
    """
    _check(caller, wanted, Allowed(None, hub=False))
    with store.read() as session:
        if identifier is not None and session.get(Import, identifier) is not None:
            return identifier
        _check_place(session, caller, federation_id, wanted)
    with uploads.taken(store, caller, upload_id, sha256) as path:
        store.blobs.adopt(path, sha256)
        with store.begin() as session:
            files.record(session, store, sha256, "import")
            row = _added(session, store, caller, federation_id, wanted, identifier)
            row.content = sha256
            jobs.add_alone(session, "import", row.id, store.clock())
            _note(session, store, caller, row)
            return row.id


def check_may_upload(store: Store, caller: Caller) -> None:
    """Raise Forbidden where the caller could hand no upload in: who may import acts for a member at least."""
    with store.read() as session:
        theirs = roles.federations_of(session, caller)
        if theirs is not None and not any(
            roles.is_at_least(roles.role(session, caller, each), "participant") for each in theirs
        ):
            raise Forbidden("this is for a participant of a federation; ask its administrator for the role")


def check_name(name: str) -> None:
    """Raise Unprocessable where nothing that is brought in may be called so."""
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise Unprocessable(f"name: give 1 to {LONGEST_NAME} letters in one line")


def of_machine(store: Store, caller: Caller, federation_id: str, wanted: Wanted, worker: str) -> tuple[str, str]:
    """An import that whoever runs the server carries out at once, as the worker `worker`; its identifier and its job's.

    Raises as `ask`.
    """
    check_name(wanted.name)
    with store.begin() as session:
        row = _added(session, store, caller, federation_id, wanted, None)
        job = jobs.add_alone(session, "import", row.id, store.clock())
        jobs.lease(job, worker, store.clock())  # no other worker takes it
        _note(session, store, caller, row)
        return row.id, job.id


def listed(store: Store, caller: Caller, federation_id: str, before: str = "", limit: int = 50) -> list[Import]:
    """Imports of a federation, newest first, before the identifier `before`: the caller's own, of a coordinator all."""
    query = select(Import).where(Import.federation_id == federation_id)
    if before:
        query = query.where(Import.id < before)
    with store.read() as session:
        own = roles.role(session, caller, federation_id)
        if not roles.is_at_least(own, "coordinator"):
            query = query.where(Import.asked_by == caller.id)
        return list(session.scalars(query.order_by(Import.id.desc()).limit(limit)))


def one(store: Store, caller: Caller, import_id: str) -> Import:
    """An import, how far it is and why it failed. Raises NotFound for another's, except for a coordinator."""
    with store.read() as session:
        return _seen(session, caller, import_id)


def try_again(store: Store, caller: Caller, import_id: str) -> None:
    """Let a failed import be tried once more. Raises NotFound; Conflict where it has not failed."""
    with store.begin() as session:
        row = _seen(session, caller, import_id)
        if row.phase != "failed":
            raise Conflict(f"the import of '{row.name}' has not failed; it is {row.phase}")
        row.phase, row.message, row.finished_at = "waiting", "", None
        jobs.add_alone(session, "import", row.id, store.clock())
        _note(session, store, caller, row)


# The worker's side.


def begin(store: Store, import_id: str) -> tuple[Import, Version | None] | None:
    """The import, and its base model's version where it names one; None where there is nothing left to do."""
    with store.read() as session:
        row = session.get(Import, import_id)
        if row is None or row.phase == "done":
            return None
        return row, None if row.base_id is None else session.get_one(Version, row.base_id)


def move(store: Store, import_id: str, phase: Phase) -> None:
    """Note how far an import is."""
    with store.begin() as session:
        session.execute(update(Import).where(Import.id == import_id).values(phase=phase, message=""))


def fail(store: Store, import_id: str, message: str) -> None:
    """Note why an import failed, for who asked for it."""
    with store.begin() as session:
        row = session.get(Import, import_id, with_for_update=True)
        if row is not None and row.phase != "done":
            row.phase, row.message, row.finished_at = "failed", message, store.clock()
            told = {"name": row.name, "message": message}
            events.record(session, store, row.federation_id, None, "import failed", **told)


def fail_left_behind(store: Store) -> None:
    """Fail the imports whose job was given up by a worker that could not say so here any more."""
    with store.read() as session:
        pending = session.scalars(select(Import.id).where(Import.phase.not_in(("done", "failed")))).all()
        found = {import_id: jobs.found(session, "import", import_id) for import_id in pending}
    for import_id, job in found.items():
        if job is not None and job.status == jobs.FAILED:
            fail(store, import_id, job.error or jobs.GAVE_UP)


def keep(
    store: Store,
    import_id: str,
    *,
    content: str,
    content_hash: str | None,
    facts: Mapping[str, object],
    layouts: Mapping[str, str],
    trigger_words: tuple[str, ...],
) -> None:
    """Make a version of what came in, whose blobs are in the store. Twice changes nothing.

    Raises Conflict where the federation has a model of these weights already, or where the name became another's
    while it was brought in.
    """
    with store.begin() as session:
        row = session.get(Import, import_id, with_for_update=True)
        if row is None or row.phase == "done":
            return
        artifact = registry.artifact_of(session, store, row.federation_id, row.kind, row.name)
        if content_hash is not None:
            _refuse_twice(session, row, content_hash)
        is_new = session.scalar(select(Version.id).where(Version.artifact_id == artifact.id).limit(1)) is None
        if not is_new and not _may_go_on(session, row, artifact):
            raise Conflict(f"'{row.name}' became another's while this came in; import it under another name")
        if is_new:
            artifact.owner_id, artifact.trigger_words = row.asked_by, list(trigger_words)
        version = registry.add(session, store, artifact, content=content, content_hash=content_hash, facts=facts)
        version.files = dict(layouts)
        version.base_id = version.parent_id = row.base_id if row.kind == registry.ADAPTER else None
        for digest in layouts.values():
            files.record(session, store, digest, "export")
        row.phase, row.message, row.finished_at, row.version_id = "done", "", store.clock(), version.id
        row.content = None  # what it was made of is in the version; the upload goes
        session.flush()
        told = {"name": row.name, "number": version.number, "artifact": artifact.kind}
        events.record(session, store, row.federation_id, None, "imported", **told)


def _may_go_on(session: Session, row: Import, artifact: Artifact) -> bool:
    """Whether who asked for the import may still add a version to what has its name; the machine's operator may."""
    if row.asked_by is None:
        return True
    person = session.get_one(Person, row.asked_by)
    return catalogue.may(session, Caller("person", person.id, is_admin=person.is_admin), artifact, "coordinator")


def _refuse_twice(session: Session, row: Import, content_hash: str) -> None:
    query = (
        select(Version.number, Artifact)
        .join(Artifact, Artifact.id == Version.artifact_id)
        .where(Artifact.federation_id == row.federation_id, Version.content_hash == content_hash)
    )
    known = session.execute(query.limit(1)).one_or_none()
    if known is None:
        return
    number, artifact = known
    if artifact.visibility == "private" and artifact.owner_id != row.asked_by:
        raise Conflict("these weights are here already, as a model that is private; ask a coordinator")
    raise Conflict(f"these weights are here already, as version {number} of '{artifact.name}'; take that one")


def _seen(session: Session, caller: Caller, import_id: str) -> Import:
    row = session.get(Import, import_id)
    if row is not None and (caller.kind != "person" or row.asked_by != caller.id):
        own = roles.role(session, caller, row.federation_id)
        row = row if roles.is_at_least(own, "coordinator") else None
    if row is None:
        raise NotFound(f"there is no import {import_id}")
    return row


def _added(
    session: Session, store: Store, caller: Caller, federation_id: str, wanted: Wanted, identifier: str | None
) -> Import:
    events.lock(session, federation_id)
    _check_place(session, caller, federation_id, wanted)
    under_way = select(Import.id).where(Import.federation_id == federation_id, Import.phase.in_(UNDER_WAY))
    if len(session.scalars(under_way.limit(MOST_UNDER_WAY)).all()) >= MOST_UNDER_WAY:
        raise Conflict(f"{MOST_UNDER_WAY} imports are under way in this federation; wait until one is done")
    row = Import(
        id=identifier or new_id(),
        federation_id=federation_id,
        asked_by=caller.id if caller.kind == "person" else None,
        kind=wanted.kind,
        name=wanted.name,
        source=wanted.source,
        place=wanted.place,
        base_id=wanted.base_id,
        phase="waiting",
        message="",
        created_at=store.clock(),
    )
    session.add(row)
    session.flush()
    return row


def _check_place(session: Session, caller: Caller, federation_id: str, wanted: Wanted) -> None:
    """Raise where the federation, the base model or the name is not one that `caller` may use."""
    if session.get(Federation, federation_id) is None:
        raise NotFound(f"there is no federation {federation_id}")
    if wanted.base_id is not None:
        base, model = catalogue.seen_version(session, caller, wanted.base_id)
        if model.federation_id != federation_id or model.kind != registry.MODEL or base.content_hash is None:
            raise Unprocessable("base: is no base model of this federation; import the model first")
    if wanted.source == "hub" and not roles.is_at_least(roles.role(session, caller, federation_id), "coordinator"):
        raise Forbidden("only a coordinator may import from the model hub; upload the file instead")
    artifact = registry.named(session, federation_id, wanted.kind, wanted.name)
    if artifact is not None:  # another version of it
        seen = select(Artifact.id).where(Artifact.id == artifact.id, catalogue.visible(caller))
        if session.scalar(seen) is None:
            raise Conflict("name: is taken in this federation; choose another")
        catalogue.check(session, caller, artifact, "coordinator")
    under_way = Run.federation_id == federation_id, Run.status.not_in((Status.DONE, Status.STOPPED))
    if session.scalar(select(Run.id).where(*under_way, Run.name == wanted.name).limit(1)) is not None:
        raise Conflict(f"name: run '{wanted.name}' is under way, and what it makes is called so; give another name")


def _check(caller: Caller, wanted: Wanted, allowed: Allowed) -> None:
    """Raise where the server does not allow this caller to bring something in from there."""
    check_name(wanted.name)
    if wanted.source == "machine":
        raise Forbidden("this is for whoever runs the server: 'fedflow server import'")
    if wanted.source == "folder":
        if not caller.is_admin:
            raise Forbidden("only an administrator of the server may import from its folder; upload the file instead")
        inside(allowed.folder, wanted.place)
    if wanted.source == "hub":
        if not allowed.hub:
            raise Forbidden("this server takes nothing from the model hub; upload the file instead")
        if not HUB_NAME.fullmatch(wanted.place) or ".." in wanted.place:
            raise Unprocessable(f"place: {wanted.place[:SHOWN_CHARACTERS]!r} is no name on the hub; give OWNER/NAME")


def inside(folder: Path | None, place: str) -> Path:
    """The file or folder at `place` in the server's folder of imports.

    Raises Unprocessable where there is none, or it lies outside, links followed; nothing outside is told apart.
    """
    if folder is None:
        raise Unprocessable("place: this server has no folder to import from; start it with --imports FOLDER")
    root, path = folder.resolve(), PurePosixPath(place)
    if place and not path.is_absolute() and ".." not in path.parts and "\0" not in place:
        found = (root / path).resolve()
        if found != root and found.is_relative_to(root) and found.exists():
            return found
    raise Unprocessable(f"place: {place[:SHOWN_CHARACTERS]!r} is not in the server's folder of imports; check the name")


def _note(session: Session, store: Store, caller: Caller, row: Import) -> None:
    told = {"name": row.name, "kind": row.kind, "source": row.source, "place": row.place}
    audit.record(session, store, caller, "import asked for", "import", row.id, row.federation_id, **told)
