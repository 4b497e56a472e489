"""Base models of runs that come from the registry: found by name, pinned to a version, and kept open as folders."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from fedflow.plan import HUB_NAME, REGISTRY, STARTER, Plan
from fedflow.server.database.tables import Artifact, Run, Version
from fedflow.server.errors import Unprocessable
from fedflow.server.services import catalogue, registry
from fedflow.server.services.identity import Caller
from fedflow.server.services.run_rows import plan_of
from fedflow.server.store import Store

FOLDER = "models"
"""Folder in the server's, of one folder for each base model that runs have opened, by its list's SHA-256."""


def pinned(session: Session, store: Store, caller: Caller, federation_id: str, planned: Plan) -> Plan:
    """The plan with the version of its base model in it, where that is one of the registry.

    Raises Unprocessable where the federation has no such model, or none that `caller` may see, and for a model that can
    be nowhere.
    """
    if not planned.model.startswith(REGISTRY):
        if not _may_be_there(store, planned.model):
            raise Unprocessable(
                f"model: '{planned.model[:80]}' is no folder or file on the server's machine, and no hub name "
                "(OWNER/NAME); give 'starter', 'registry:NAME', or a folder or file that is there"
            )
        return planned
    query = _named(federation_id, planned.model).where(catalogue.visible(session, caller))
    found = session.execute(query).first()
    if found is None:
        raise Unprocessable(f"model: the federation has no model '{planned.model.removeprefix(REGISTRY)[:80]}'")
    row, artifact = found
    return planned.model_copy(update={"model": catalogue.pin(artifact.name, row.number)})


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


def _may_be_there(store: Store, model: str) -> bool:
    """Whether a worker may find the model, as far as that is known without opening it.

    Workers that share an S3-compatible store are on machines of their own, which nobody can look into from here.
    """
    if model == STARTER or store.objects is not None:
        return True
    if HUB_NAME.fullmatch(model) and not model.endswith(".safetensors"):
        return True
    return os.path.exists(os.path.expanduser(model))  # False for what cannot be a path


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
