"""Base models of runs: what may be one, and those of the registry: found by name, pinned to a version, kept as folders.

A path on the server's machine is for its administrators, since whoever has a run has its base model's files: for others
only the folder of imports is there, and no answer tells what else is. The hub is asked only where the server is set so.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path, PurePath

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from fedflow.plan import REGISTRY, STARTER, Plan
from fedflow.server.database.tables import Artifact, Run, Version
from fedflow.server.errors import Unprocessable
from fedflow.server.services import catalogue, registry
from fedflow.server.services.identity import Caller
from fedflow.server.services.imports import HUB_NAME, Allowed, inside
from fedflow.server.services.run_rows import plan_of
from fedflow.server.store import Store

FOLDER = "models"
"""Folder in the server's, of one folder for each base model that runs have opened, by its list's SHA-256."""


def pinned(session: Session, store: Store, caller: Caller, federation_id: str, planned: Plan, allowed: Allowed) -> Plan:
    """The plan with its base model named for good: the version of one of the registry, the place of a path.

    Raises Unprocessable where the federation has no such model, or none that `caller` may see, for a model that can be
    nowhere, and for one that `caller` may not take.
    """
    if not planned.model.startswith(REGISTRY):
        return planned.model_copy(update={"model": _placed(store, caller, planned.model, allowed)})
    query = _named(federation_id, planned.model).where(catalogue.visible(caller))
    found = session.execute(query).first()
    if found is None:
        raise Unprocessable(f"model: the federation has no model '{planned.model.removeprefix(REGISTRY)[:80]}'")
    row, artifact = found
    return planned.model_copy(update={"model": catalogue.pin(artifact.name, row.number)})


def check(store: Store, caller: Caller, federation_id: str, planned: Plan, allowed: Allowed) -> None:
    """Raise Unprocessable where the plan's base model is none that `pinned` would take."""
    with store.read() as session:
        pinned(session, store, caller, federation_id, planned, allowed)


def version(session: Session, federation_id: str, model: str) -> Version | None:
    """The version that a plan's base model of the registry names; None for a model of another kind, or none."""
    return session.scalars(_named(federation_id, model)).first() if model.startswith(REGISTRY) else None


def content(session: Session, federation_id: str, model: str) -> str | None:
    """The blob that lists the files of such a base model; None as `version`."""
    found = version(session, federation_id, model)
    return None if found is None else found.content


def of_run(store: Store, run_id: str) -> tuple[Plan, str | None]:
    """A run's plan, and the list of its base model's files where that is of the registry."""
    with store.read() as session:
        run = session.get_one(Run, run_id)
        plan = plan_of(run)
        return plan, content(session, run.federation_id, plan.model)


def drop_unused(store: Store) -> None:
    """Remove the folders of base models that are in no registry any more."""
    with store.read() as session:
        known = set(session.scalars(select(Version.content).where(Version.content_hash.is_not(None))))
    for folder in (store.folder / FOLDER).glob("*"):
        if folder.name not in known:
            shutil.rmtree(folder, ignore_errors=True)


def place(store: Store, listed: str) -> Path:
    """Where the folder of a base model is, or will be."""
    return store.folder / FOLDER / listed


def is_of_hub(model: str) -> bool:
    """Whether a run's base model is one of the model hub: no path is written like that (`_placed`)."""
    return HUB_NAME.fullmatch(model) is not None and ".." not in model and not model.endswith(".safetensors")


def _placed(store: Store, caller: Caller, model: str, allowed: Allowed) -> str:
    """What the plan calls a base model that is none of the registry, so that a worker can mistake it for no other.

    Nothing is opened. Workers that share an S3-compatible store are on machines of their own, which nobody can look
    into from here. Raises Unprocessable.
    """
    if model == STARTER:
        return model
    runs_it = caller.kind == "server" or caller.is_admin
    path = os.path.expanduser(model)
    if runs_it and os.path.exists(path):  # False for what cannot be a path
        return os.path.abspath(path) if is_of_hub(model) else model
    if is_of_hub(model):
        if not allowed.hub:
            raise Unprocessable("model: this server takes none from the model hub; give 'starter' or 'registry:NAME'")
        return model
    if runs_it:
        if store.objects is not None:
            return model
        raise Unprocessable(
            f"model: '{model[:80]}' is no folder or file on the server's machine, and no hub name "
            "(OWNER/NAME); give 'starter', 'registry:NAME', or a folder or file that is there"
        )
    if (found := _in_imports(allowed.folder, model)) is None:
        raise Unprocessable(
            "model: give 'starter', 'registry:NAME', or the whole path of a model in the server's folder of imports; "
            "other folders and files are for an administrator of the server"
        )
    return str(found)


def _in_imports(folder: Path | None, model: str) -> Path | None:
    """The file or folder that is meant by a whole path, links followed, where it is in the folder of imports."""
    if folder is None or not PurePath(model).is_absolute():
        return None
    for root in (folder.absolute(), folder.resolve()):
        if PurePath(model).is_relative_to(root):
            with suppress(Unprocessable):
                return inside(folder, PurePath(model).relative_to(root).as_posix())
    return None


def _named(federation_id: str, model: str) -> Select[Version, Artifact]:
    """The version that `registry:NAME/NUMBER` names; of `registry:NAME` the newest."""
    rest = model.removeprefix(REGISTRY)
    name, slash, number = rest.rpartition("/")
    query = (
        select(Version, Artifact)
        .join(Artifact, Artifact.id == Version.artifact_id)
        .where(Artifact.federation_id == federation_id, Artifact.kind == registry.MODEL)
        .where(Version.content_hash.is_not(None))
        .order_by(Version.number.desc())
        .limit(1)
    )
    if slash and number.isdecimal() and len(number) < 10:
        return query.where(Artifact.name == name, Version.number == int(number))
    return query.where(Artifact.name == rest)
