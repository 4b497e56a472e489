"""What is known of a run before its start: its base model's shapes, its members' pictures and pace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session, undefer

from fedflow.errors import FedFlowError
from fedflow.federation.estimates import BaseShapes, Estimate, Lying, estimate, shapes_of, shapes_of_files
from fedflow.plan import REGISTRY, STARTER, Plan
from fedflow.server.database.tables import Artifact, Member, Receipt, Run, RunMember, Version
from fedflow.server.services import base_models, catalogue
from fedflow.server.services.identity import Caller
from fedflow.server.services.registry import MODEL, base_name
from fedflow.server.services.run_rows import plan_of
from fedflow.server.store import Store
from fedflow.shipped import starter_folder
from fedflow.storage import BlobStore

MOST_ROWS = 2000
"""Answers of before that are looked at."""

LEAST_PACE, MOST_PACE = 1e6, 1e17
"""Floating-point operations a second that a member's own figures may come to; others are not believed."""

MOST_MODELS = 500
"""Base models that one is shown to choose from."""


@dataclass(frozen=True)
class Known:
    """A federation's members, with how many pictures each told last, and its floating-point operations a second."""

    members: tuple[str, ...]
    num_examples: Mapping[str, int]
    flops_s: Mapping[str, float]


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
    last_first = (Receipt.received_at.desc(), Receipt.round.desc())
    nth = func.row_number().over(partition_by=Receipt.member_id, order_by=last_first)
    of_here = select(Receipt.run_id, Receipt.metrics, Member.name, nth.label("nth"))
    newest = of_here.join(Member, Member.id == Receipt.member_id).where(*here).subquery()
    paces = select(newest.c.name, newest.c.metrics, Run).join(Run, Run.id == newest.c.run_id).where(newest.c.nth == 1)
    trained: list[tuple[str, Mapping[str, float], Plan]] = []
    with store.read() as session:
        members = tuple(session.scalars(select(Member.name).where(*here).order_by(Member.created_at, Member.id)))
        examples: dict[str, int] = {}
        for name, count in session.execute(told):
            examples.setdefault(name, count or 0)
        for name, metrics, run in session.execute(paces.options(undefer(Run.plan))):
            trained.append((name, metrics, plan_of(run)))
        contents = {model: _content(session, federation_id, model) for model in {plan.model for _, _, plan in trained}}
    opened = {model: _shapes(store, model, content) for model, content in contents.items()}
    flops_s: dict[str, float] = {}
    for name, metrics, plan in trained:
        shapes, seconds = opened[plan.model], metrics.get("seconds", 0.0)
        if shapes is not None and seconds > 0:
            pace = metrics.get("steps", 0.0) * shapes.step_flops(plan) / seconds
            if LEAST_PACE <= pace <= MOST_PACE:
                flops_s[name] = pace
    return Known(members, examples, flops_s)


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
        return list(session.scalars(query.where(catalogue.visible(caller))))


def estimated(store: Store, federation_id: str, plan: Plan, told: Known) -> Estimate | None:
    """What the plan will cost; None where its base model was never opened here, so that its shapes are not known."""
    with store.read() as session:
        content = _content(session, federation_id, plan.model)
    shapes = _shapes(store, plan.model, content)
    return None if shapes is None else estimate(plan, shapes, told.num_examples, told.flops_s)


def _shapes(store: Store, model: str, content: str | None) -> BaseShapes | None:
    """Of what `_content` has found. None where it was never opened here, the store is away, or it is something else.

    It may ask the store of files, so no session is open meanwhile, and no connection is held.
    """
    try:
        if model == STARTER:
            return _starter()
        if content is None:
            return None
        store.rest()
        return _listed(store.blobs, content)
    except FedFlowError:  # the run's start will say what it is
        return None


@lru_cache(maxsize=1)
def _starter() -> BaseShapes:
    return shapes_of(starter_folder())


def _content(session: Session, federation_id: str, model: str) -> str | None:
    """The list of a base model's files; None where it was never opened here, and for what comes with FedFlow."""
    if model == STARTER:
        return None
    if model.startswith(REGISTRY):
        return base_models.content(session, federation_id, model)
    query = (
        select(Version.content)
        .join(Artifact, Artifact.id == Version.artifact_id)
        .where(Artifact.federation_id == federation_id, Artifact.kind == MODEL, Artifact.name == base_name(model))
        .where(Artifact.owner_id.is_(None))  # what somebody brought in is named as the registry's
        .where(Version.content_hash.is_not(None))
        .order_by(Version.number.desc())
        .limit(1)
    )
    return session.scalar(query)


@lru_cache(maxsize=16)
def _listed(blobs: BlobStore, content: str) -> BaseShapes:
    """By headers alone; a blob never changes."""
    listed = json.loads(blobs.get(content).read_bytes())
    return shapes_of_files(
        {each["path"]: Lying(each["size_bytes"], partial(blobs.part, each["sha256"])) for each in listed}
    )
