"""Versions given out under a tag, with checksums and signed provenance that others can verify without this server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedflow.federation.provenance import CONTENT_DIGEST, public_key, signed, statement
from fedflow.plan import Plan
from fedflow.server.database.people import Person
from fedflow.server.database.tables import Artifact, Release, Round, Run, Version
from fedflow.server.errors import Conflict, NotFound, Unprocessable
from fedflow.server.services import audit, catalogue, downloads, events, files, shown_counts
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import Caller
from fedflow.server.services.run_facts import LOCAL_DATA_KEYS
from fedflow.server.services.run_rows import plan_of
from fedflow.server.store import Store

PURPOSE = "releases"
"""What the signing key is derived for."""

TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
BUILDER = "urn:fedflow:server"
LONGEST_REASON = 300


def verifying_key(store: Store) -> bytes:
    """The 32 bytes of Ed25519 that this server's releases are verified with."""
    return public_key(store.key(PURPOSE))


def release(store: Store, caller: Caller, version_id: str, tag: str, notes: str, identifier: str | None = None) -> str:
    """Give a version out under `tag`; returns the release's identifier.

    That is `identifier` where one is given, and a release that has it already was made by the same request.

    Raises NotFound, Forbidden; Unprocessable for a tag that is none; Conflict where the tag is taken, or the version's
    files are not written yet.
    """
    if not TAG.fullmatch(tag):
        raise Unprocessable(f"tag: {tag[:80]!r} is none; letters, digits, dots, dashes, at most 40, such as 'v1.0'")
    with store.begin() as session:
        if identifier is not None and session.get(Release, identifier) is not None:
            return identifier
        version, artifact = catalogue.seen_version(session, caller, version_id)
        catalogue.check(session, caller, artifact, "coordinator")
        events.lock(session, artifact.federation_id)  # two of one tag
        taken = select(Release.id).where(Release.artifact_id == artifact.id, Release.tag == tag)
        if session.scalar(taken) is not None:
            raise Conflict(f"'{artifact.name}' has a release '{tag}' already; choose another tag")
        if not version.files:
            raise Conflict(f"version {version.number} of '{artifact.name}' has no files to give out; export it first")
        sizes = files.sizes(session, tuple(version.files.values()))
        given_out = {
            layout: {"sha256": digest, "size_bytes": size, "name": downloads.file_name(artifact, tag, layout)}
            for (layout, digest), size in zip(version.files.items(), sizes, strict=True)
        }
        said = statement(
            {each["name"]: each["sha256"] for each in given_out.values()},
            **_origin(session, version, artifact),
            builder=BUILDER,
        )
        provenance = store.blobs.put(signed(said, store.key(PURPOSE)))
        files.record(session, store, provenance, "provenance")
        row = Release(id=identifier or new_id(), artifact_id=artifact.id, version_id=version.id, tag=tag, notes=notes)
        row.files, row.provenance, row.released_at = given_out, provenance, store.clock()
        row.released_by = _person(caller)
        session.add(row)
        session.flush()
        told = {"name": artifact.name, "number": version.number, "tag": tag, "files": given_out}
        audit.record(session, store, caller, "released", artifact.kind, version.id, artifact.federation_id, **told)
        return row.id


def withdraw(store: Store, caller: Caller, release_id: str, reason: str) -> None:
    """Say that a release shall be used no more, and why; its line and its checksums stay.

    The same reason sent twice changes nothing. Raises NotFound, Forbidden; Unprocessable for a reason that says
    nothing, or is more than a few sentences in one line; Conflict where it was withdrawn for another, which stands.
    """
    reason = reason.strip()
    if not reason:
        raise Unprocessable("reason: say why, so that those who have the files know what to do")
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise Unprocessable(f"reason: at most {LONGEST_REASON} characters, in one line")
    with store.begin() as session:
        row, artifact = catalogue.seen_release(session, caller, release_id)
        catalogue.check(session, caller, artifact, "coordinator")
        session.refresh(row, with_for_update=True)  # two at once: the first one's reason stands
        if row.withdrawn_at is not None:
            if row.withdrawal_reason == reason:
                return
            if not row.withdrawal_reason:
                raise Conflict(f"release '{row.tag}' was withdrawn already, when no reason was asked for")
            raise Conflict(f"release '{row.tag}' was withdrawn already; this reason stands: {row.withdrawal_reason}")
        row.withdrawn_at, row.withdrawal_reason, row.withdrawn_by = store.clock(), reason, _person(caller)
        told = {"name": artifact.name, "tag": row.tag, "reason": reason}
        audit.record(session, store, caller, "withdrawn", "release", row.id, artifact.federation_id, **told)


def listed(store: Store, caller: Caller, artifact_id: str) -> list[Release]:
    """The releases of a model or adapter, newest first. Raises NotFound."""
    with store.read() as session:
        catalogue.seen(session, caller, artifact_id)
        query = select(Release).where(Release.artifact_id == artifact_id)
        return list(session.scalars(query.order_by(Release.released_at.desc(), Release.id.desc())))


def one(store: Store, caller: Caller, release_id: str) -> Release:
    """A release. Raises NotFound."""
    with store.read() as session:
        return catalogue.seen_release(session, caller, release_id)[0]


def names(store: Store, found: Sequence[Release]) -> dict[str | None, str]:
    """What those are called who gave these releases out or withdrew them; none who has no account now."""
    named = {row.released_by for row in found} | {row.withdrawn_by for row in found}
    query = select(Person.id, Person.name).where(Person.id.in_(named - {None}), Person.deleted_at.is_(None))
    with store.read() as session:
        return dict(session.execute(query).all())


def file_of(store: Store, caller: Caller, release_id: str, layout: str) -> tuple[Path, str, str]:
    """A released file: where it lies, what it is called, and its SHA-256. Raises NotFound."""
    with store.read() as session:
        row, _ = catalogue.seen_release(session, caller, release_id)
    if layout not in row.files:
        raise NotFound(f"release '{row.tag}' has no file in the layout {layout!r}; it has {', '.join(row.files)}")
    told = row.files[layout]
    return store.file(told["sha256"], checked=True), told["name"], told["sha256"]


def envelope(store: Store, caller: Caller, release_id: str) -> bytes:
    """The signed provenance of a release. Raises NotFound."""
    with store.read() as session:
        row, _ = catalogue.seen_release(session, caller, release_id)
    return store.file(row.provenance, checked=True).read_bytes()


def _person(caller: Caller) -> str | None:
    return caller.id if caller.kind == "person" else None


def _origin(session: Session, version: Version, artifact: Artifact) -> dict[str, Any]:
    """What the statement says of how the version was made; of its members what they agreed to show."""
    materials: dict[str, tuple[str, str]] = {}
    if version.base_id is not None:
        base = session.get_one(Version, version.base_id)
        materials["base model"] = _known_by(base)
    if version.parent_id is not None and version.parent_id != version.base_id:
        materials["version before"] = _known_by(session.get_one(Version, version.parent_id))
    run = None if version.run_id is None else session.get(Run, version.run_id)
    row = None if run is None else session.get(Round, (run.id, version.round))
    finished = version.created_at if row is None or row.committed_at is None else row.committed_at
    facts = {
        "round": version.round,
        **shown_counts.in_release(session, artifact, version.facts),
        "licence": artifact.licence,
        "trigger_words": artifact.trigger_words,
    }
    return {
        "plan": None if run is None else _told(plan_of(run)),
        "materials": materials,
        "run": None if run is None else run.id,
        "finished": datetime.fromtimestamp(finished, UTC).isoformat(timespec="seconds"),
        "facts": facts,
    }


def _known_by(version: Version) -> tuple[str, str]:
    """What a version is found again by: of a model not one file's SHA-256, but one over its tensors and settings."""
    if version.content_hash is not None:
        return CONTENT_DIGEST, version.content_hash
    return "sha256", version.content


def _told(plan: Plan) -> dict[str, object]:
    """The plan without folders of the coordinator's machine or the server's, and without the members' names."""
    told: dict[str, object] = plan.model_dump(mode="json")
    if PurePath(plan.model).is_absolute():
        told["model"] = PurePath(plan.model).name
    data = plan.data.model_dump(mode="json")
    told["data"] = {key: value for key, value in data.items() if key not in (*LOCAL_DATA_KEYS, "clients")}
    return told
