"""Versions as other tools open them: which layouts a version has, which a worker can write, and which it writes now."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedflow.federation.protocol import WholeLayout
from fedflow.federation.rounds import GlobalState
from fedflow.server.database.tables import Artifact, Job, Run, Version
from fedflow.server.errors import Conflict, NotFound
from fedflow.server.services import audit, catalogue, events, files, jobs, registry
from fedflow.server.services.identity import Caller
from fedflow.server.services.run_rows import model_before
from fedflow.server.store import Store

State = Literal["ready", "absent", "waiting", "running", "failed", "impossible"]
WHOLE = get_args(WholeLayout)
SUFFIXES = {"merged": "zip"}
NAME_BYTES = 180
"""Of an artifact's name in its files' names: file systems take 255 for a whole one."""


@dataclass(frozen=True)
class Download:
    """A layout of a version.

    state: 'ready' has `sha256`, `size_bytes` and the file's `name`; 'absent' can be asked for; 'waiting' and 'running'
        are a worker's; 'failed' and 'impossible' say why in `message`.
    """

    layout: str
    state: State
    name: str
    sha256: str | None = None
    size_bytes: int | None = None
    message: str = ""


@dataclass(frozen=True)
class ToWrite:
    """What a whole model is made of: the list of its base's files, and what is laid over it.

    Residuals are folded in, then the adapter; of a whole model that a run has trained, `weights` take the UNet's place.
    """

    base: str
    model: GlobalState
    weights: str | None
    title: str


def listed(store: Store, caller: Caller, version_id: str) -> list[Download]:
    """All layouts of a version, and how far each is. Raises NotFound."""
    with store.read() as session:
        version, artifact = catalogue.seen_version(session, caller, version_id)
        return _downloads(session, version, artifact)


def ask(store: Store, caller: Caller, version_id: str, layout: str) -> Download:
    """Let a worker write the version in a layout, where that is not done yet; a failed one is tried again.

    Raises NotFound for a version or a layout that is not there, Conflict for one that cannot be.
    """
    with store.begin() as session:
        version, artifact = catalogue.seen_version(session, caller, version_id)
        found = _one(_downloads(session, version, artifact), version, layout)
        if found.state == "impossible":
            raise Conflict(found.message)
        if found.state in ("absent", "failed"):
            if layout in WHOLE:
                jobs.add_alone(session, "download", f"{version.id} {layout}", store.clock())
            elif version.run_id is not None and version.round is not None:
                jobs.add(session, "export", version.run_id, version.round, store.clock())
            session.flush()
            told = {"name": artifact.name, "number": version.number, "layout": layout}
            about = artifact.kind, version.id, artifact.federation_id
            audit.record(session, store, caller, "download asked for", *about, **told)
        return _one(_downloads(session, version, artifact), version, layout)


def file_of(store: Store, caller: Caller, version_id: str, layout: str) -> tuple[Path, str, str]:
    """A written file: where it lies, what it is called, and its SHA-256. Raises NotFound where it is not written."""
    with store.read() as session:
        version, artifact = catalogue.seen_version(session, caller, version_id)
        found = _one(_downloads(session, version, artifact), version, layout)
    if found.sha256 is None:
        raise NotFound(f"version {version.number} of '{artifact.name}' is not written in the layout {layout!r} yet")
    return store.file(found.sha256), found.name, found.sha256


def to_write(store: Store, version_id: str, layout: str) -> ToWrite | None:
    """What a worker needs to write a whole model; None where it is written already, or the version is gone."""
    with store.read() as session:
        version = session.get(Version, version_id)
        if version is None or layout in version.files:
            return None
        artifact = session.get_one(Artifact, version.artifact_id)
        title = f"{artifact.name}, version {version.number}"
        if version.content_hash is not None:
            return ToWrite(version.content, GlobalState(None, ()), None, title)
        if version.base_id is None:
            raise Conflict(_no_base(version, artifact))
        base = session.get_one(Version, version.base_id).content
        if version.run_id is None:
            return ToWrite(base, GlobalState(version.content, ()), None, title)
        run = session.get_one(Run, version.run_id)
        model = model_before(session, run, (version.round or 0) + 1)
        if artifact.kind == registry.MODEL:
            return ToWrite(base, GlobalState(None, ()), version.content, title)
        return ToWrite(base, model, None, title)


def keep(store: Store, version_id: str, layout: str, sha256: str) -> None:
    """Note a file of a version, whose blob is in the store; the version may be gone by now."""
    with store.begin() as session:
        version = session.get(Version, version_id, with_for_update=True)
        if version is None:
            return
        files.record(session, store, sha256, "export")
        version.files = version.files | {layout: sha256}
        artifact = session.get_one(Artifact, version.artifact_id)
        session.flush()
        told = {"name": artifact.name, "number": version.number, "layout": layout}
        events.record(session, store, artifact.federation_id, version.run_id, "written", **told)


def file_name(artifact: Artifact, tag: str, layout: str) -> str:
    """What a file of an artifact is called, whatever the artifact's name holds: letters of every script stay.

    Where what tells it from others is no letter, or too long, a piece of the artifact's identifier tells it.
    """
    given = unicodedata.normalize("NFC", artifact.name)
    kept = "".join(each if each in "._-" or unicodedata.category(each)[0] in "LMN" else " " for each in given)
    whole = "-".join(kept.split()).strip("-.")
    plain = whole.encode()[:NAME_BYTES].decode(errors="ignore") or artifact.kind
    is_told = plain == whole and {each for each in given if not each.isascii() and not each.isspace()} <= {*kept}
    piece = "" if is_told else f"-{artifact.id[-8:]}"
    return f"{plain}{piece}-{tag}.{layout}.{SUFFIXES.get(layout, 'safetensors')}"


def _one(found: Sequence[Download], version: Version, layout: str) -> Download:
    for each in found:
        if each.layout == layout:
            return each
    known = ", ".join(each.layout for each in found)
    raise NotFound(f"version {version.number} has no layout {layout!r}; there are {known}")


def _downloads(session: Session, version: Version, artifact: Artifact) -> list[Download]:
    own: tuple[str, ...]
    if version.content_hash is not None:
        own = ()
    else:
        own = ("unet",) if artifact.kind == registry.MODEL else ("diffusers", "kohya")
    sizes = dict(zip(version.files, files.sizes(session, tuple(version.files.values())), strict=True))
    found = []
    for layout in (*own, *WHOLE):
        name = file_name(artifact, f"v{version.number}", layout)
        if layout in version.files:
            found.append(Download(layout, "ready", name, version.files[layout], sizes[layout]))
        elif layout in WHOLE and version.content_hash is None and version.base_id is None:
            found.append(Download(layout, "impossible", name, message=_no_base(version, artifact)))
        else:
            state, message = _state(_job(session, version, layout))
            found.append(Download(layout, state, name, message=message))
    return found


def _job(session: Session, version: Version, layout: str) -> Job | None:
    if layout in WHOLE:
        return jobs.found(session, "download", f"{version.id} {layout}")
    if version.run_id is None:
        return None
    query = select(Job).where(Job.run_id == version.run_id, Job.kind == "export", Job.round == version.round)
    return session.scalar(query.limit(1))


def _state(job: Job | None) -> tuple[State, str]:
    if job is None or job.status == jobs.DONE:  # done, and its file is gone: taken out of a back-up, say
        return "absent", ""
    if job.status == jobs.FAILED:
        return "failed", job.error or jobs.GAVE_UP
    return ("running" if job.status == jobs.RUNNING else "waiting"), job.error or ""


def _no_base(version: Version, artifact: Artifact) -> str:
    return (
        f"version {version.number} of '{artifact.name}' names no base model that it could be merged into; import it "
        "again with one"
    )
