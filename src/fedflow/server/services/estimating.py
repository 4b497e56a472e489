"""What is known of a run before its start: its base model's shapes, its members' pictures and pace."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from fedflow.errors import FedFlowError
from fedflow.federation.estimates import BaseShapes, Estimate, estimate, shapes_of, shapes_of_files
from fedflow.plan import REGISTRY, STARTER, Plan
from fedflow.server.database.tables import Artifact, Member, Receipt, RunMember, Version
from fedflow.server.services import base_models, catalogue
from fedflow.server.services.identity import Caller
from fedflow.server.services.registry import MODEL
from fedflow.server.store import Store

MOST_ROWS = 2000
"""Answers of before that are looked at."""

MOST_MODELS = 500
"""Base models that one is shown to choose from."""


@dataclass(frozen=True)
class Known:
    """A federation's members, with how many pictures each told last, and its seconds for an optimiser step."""

    members: tuple[str, ...]
    num_examples: Mapping[str, int]
    step_s: Mapping[str, float]


def known(store: Store, federation_id: str) -> Known:
    """The federation's members as they are now, in the order they joined."""
    here = (Member.federation_id == federation_id, Member.removed_at.is_(None))
    told = (
        select(Member.name, RunMember.num_examples)
        .join(RunMember, RunMember.member_id == Member.id)
        .where(*here, RunMember.num_examples.is_not(None))
        .order_by(RunMember.consent_at.desc())
        .limit(MOST_ROWS)
    )
    paces = (
        select(Member.name, Receipt.metrics)
        .join(Receipt, Receipt.member_id == Member.id)
        .where(*here)
        .order_by(Receipt.received_at.desc())
        .limit(MOST_ROWS)
    )
    with store.read() as session:
        members = tuple(session.scalars(select(Member.name).where(*here).order_by(Member.created_at, Member.id)))
        examples: dict[str, int] = {}
        for name, count in session.execute(told):
            examples.setdefault(name, count or 0)
        step_s: dict[str, float] = {}
        for name, metrics in session.execute(paces):
            steps, seconds = metrics.get("steps", 0.0), metrics.get("seconds", 0.0)
            if steps >= 1 and seconds > 0:
                step_s.setdefault(name, seconds / steps)
    return Known(members, examples, step_s)


def base_model_names(store: Store, caller: Caller, federation_id: str) -> list[str]:
    """Names of the base models that a run of the federation may start from by `registry:NAME`, as `caller` sees them.

    The one that comes with FedFlow is not among them.
    """
    is_usable = exists().where(Version.artifact_id == Artifact.id, Version.content_hash.is_not(None))
    query = (
        select(Artifact.name)
        .where(Artifact.federation_id == federation_id, Artifact.kind == MODEL, Artifact.name != STARTER, is_usable)
        .order_by(Artifact.name)
        .limit(MOST_MODELS)
    )
    with store.read() as session:
        return list(session.scalars(query.where(catalogue.visible(session, caller))))


def estimated(store: Store, federation_id: str, plan: Plan, told: Known) -> Estimate | None:
    """What the plan will cost; None where its base model was never opened here, so that its shapes are not known."""
    with store.read() as session:
        try:
            shapes = _shapes(session, store, federation_id, plan.model)
        except FedFlowError:  # the store is away, or the folder holds something else: the run's start will say so
            return None
    return None if shapes is None else estimate(plan, shapes, told.num_examples, told.step_s)


def _shapes(session: Session, store: Store, federation_id: str, model: str) -> BaseShapes | None:
    if model == STARTER:
        return shapes_of(Path(str(importlib.resources.files("fedflow") / "data" / STARTER)))
    if model.startswith(REGISTRY):
        return _listed(store, base_models.content(session, federation_id, model))
    name = PurePath(model).name if PurePath(model).is_absolute() else model
    query = (
        select(Version.content)
        .join(Artifact, Artifact.id == Version.artifact_id)
        .where(Artifact.federation_id == federation_id, Artifact.kind == MODEL, Artifact.name == name)
        .where(Artifact.owner_id.is_(None))  # what somebody brought in is named as the registry's
        .where(Version.content_hash.is_not(None))
        .order_by(Version.number.desc())
        .limit(1)
    )
    return _listed(store, session.scalar(query))


def _listed(store: Store, content: str | None) -> BaseShapes | None:
    if content is None:
        return None
    listed = json.loads(store.blobs.get(content).read_bytes())
    return shapes_of_files({each["path"]: store.blobs.local(each["sha256"]) for each in listed})
