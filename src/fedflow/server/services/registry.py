"""Models and adapters of a federation: names, versions, and where each version comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count
from pathlib import PurePath
from typing import get_args

from sqlalchemy import and_, func, literal, or_, select
from sqlalchemy.orm import Session

from fedflow.federation.jobs import Committed
from fedflow.federation.protocol import Layout
from fedflow.federation.rounds import Receipt
from fedflow.plan import REGISTRY, STARTER, Plan
from fedflow.server.database.tables import Artifact, Run, Version
from fedflow.server.errors import Conflict, NotFound
from fedflow.server.services import catalogue, events, files, jobs, shown_counts
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import Caller
from fedflow.server.services.run_rows import plan_of
from fedflow.server.store import Store

MODEL, ADAPTER = "model", "adapter"

LONGEST_LINEAGE = 10_000

STARTER_LICENCE = "Apache-2.0"
STARTER_CARD = """A small Stable Diffusion for pictures of 64 x 64 pixels, which comes with FedFlow.

Its weights were trained on drawings of two open sets, also mirrored, scaled, moved and recoloured:

- [Noto Emoji](https://github.com/googlefonts/noto-emoji) by Google, Apache License 2.0
- [Twemoji](https://github.com/jdecked/twemoji) by Twitter and other contributors, CC BY 4.0
"""
"""What NOTICE says of the starter: whose pictures it was trained on, and under which licences these stand."""


def add_base(session: Session, store: Store, run: Run, base: str, base_hash: str) -> Version:
    """The base model's version, made where the federation has none of this content hash, in this transaction.

    What somebody brought in counts where the plan names it: its owner decides who sees it.
    """
    planned = plan_of(run).model
    events.lock(session, run.federation_id)
    known = _base_of(session, run.federation_id, base_hash)
    if known is not None and (planned.startswith(REGISTRY) or _artifact(session, known).owner_id is None):
        return known
    name = base_name(planned)
    artifact = federations_own(session, store, run.federation_id, MODEL, name)
    version = add(session, store, artifact, content=base, content_hash=base_hash, facts={"from": name})
    if planned == STARTER and version.number == 1:
        artifact.licence, artifact.card = STARTER_LICENCE, STARTER_CARD
    return version


def base_name(planned: str) -> str:
    """What a plan's base model is called here: of a path the last part, as folders are nobody else's business."""
    if not PurePath(planned).is_absolute():
        return planned
    return _beside_starter(PurePath(planned).name, "folder")


def _beside_starter(name: str, what: str) -> str:
    """What a model is called that is not the starter, whose name stands for its licence and card."""
    return f"{name} ({what})" if name == STARTER else name


def add_round(
    session: Session, store: Store, run: Run, number: int, receipts: Sequence[Receipt], committed: Committed
) -> Version:
    """What a committed round made, as the next version of the run's model or adapter; in the caller's transaction."""
    plan = plan_of(run)
    assert run.base_hash is not None  # noqa: S101 - a run with a round is prepared
    base = _base_of(session, run.federation_id, run.base_hash)
    before = session.scalar(select(Version).where(Version.run_id == run.id, Version.round == number - 1))
    facts = {
        "rounds": plan.rounds,
        "method": plan.method,
        "weighting": plan.weighting,
        "members": {receipt.client: receipt.num_examples for receipt in receipts},
        **_shape(plan),
    }
    events.lock(session, run.federation_id)
    own = None if before is None else _artifact(session, before)
    if own is None or own.owner_id is not None:
        kind, name = (ADAPTER, run.name) if plan.trains_adapter else (MODEL, _beside_starter(run.name, "run"))
        own = federations_own(session, store, run.federation_id, kind, name)
    parent = before or base
    version = add(session, store, own, content=committed.adapter, facts=facts, run_id=run.id, round=number)
    version.parent_id = None if parent is None else parent.id
    version.base_id = None if base is None else base.id
    return version


def add_files(store: Store, run_id: str, number: int, exports: Mapping[Layout, str]) -> None:
    """Note exports, blobs by layout, of what a round made. Raises NotFound where the round is not committed."""
    with store.begin() as session:
        version = _version_of(session, run_id, number)
        version.files = version.files | dict(exports)
        run = session.get_one(Run, run_id)
        for digest in exports.values():
            files.record(session, store, digest, "export")
        files.share(session, run.federation_id, *exports.values())
        events.record(session, store, run.federation_id, run_id, "exported", round=number, layouts=sorted(exports))


def ask_export(store: Store, caller: Caller, version_id: str) -> Version:
    """Let a worker write the version as other tools open it, where that is not done yet.

    Raises NotFound, and Conflict for a base model: its files are there as they are.
    """
    with store.begin() as session:
        version, artifact = catalogue.seen_version(session, caller, version_id)
        if version.content_hash is not None:
            raise Conflict("this is a base model, whose files are there as they are; there is nothing to export")
        if version.run_id is not None and version.round is not None and not _of_its_own(version.files):
            jobs.add(session, "export", version.run_id, version.round, store.clock())
            session.flush()
        _limit_facts(session, caller, [(version, artifact)])
        return version


def last_exports(session: Session, run_ids: Collection[str]) -> dict[str, dict[Layout, str]]:
    """Exports of what each run's present round made, blobs by layout; none before that round is committed."""
    query = (
        select(Version.run_id, Version.files)
        .join(Run, and_(Run.id == Version.run_id, Run.round == Version.round))
        .where(Run.id.in_(run_ids))
    )
    return {run_id: _of_its_own(made) for run_id, made in session.execute(query)}


def _of_its_own(made: Mapping[str, str]) -> dict[Layout, str]:
    """A version's files but for those that hold its base model too."""
    layouts: tuple[Layout, ...] = get_args(Layout)
    return {layout: made[layout] for layout in layouts if layout in made}


def artifacts(store: Store, caller: Caller, kind: str, after: str, limit: int) -> list[Artifact]:
    """Models or adapters that `caller` may see, oldest first, after the identifier `after`."""
    query = select(Artifact).where(Artifact.kind == kind, Artifact.id > after).order_by(Artifact.id).limit(limit)
    with store.read() as session:
        return list(session.scalars(query.where(catalogue.visible(caller))))


def versions(store: Store, caller: Caller, artifact_id: str, after: int, limit: int) -> list[Version]:
    """Versions with numbers above `after`, oldest first, with the facts that `caller` may see.

    Raises NotFound where the caller may see no such artifact.
    """
    with store.read() as session:
        artifact = catalogue.seen(session, caller, artifact_id)
        query = select(Version).where(Version.artifact_id == artifact_id, Version.number > after)
        found = list(session.scalars(query.order_by(Version.number).limit(limit)))
        _limit_facts(session, caller, [(version, artifact) for version in found])
        return found


def made_by(store: Store, run_id: str) -> str | None:
    """The newest version that a run has made; None before the first."""
    query = select(Version.id).where(Version.run_id == run_id).order_by(Version.number.desc()).limit(1)
    with store.read() as session:
        return session.scalar(query)


def lineage(store: Store, caller: Caller, version_id: str) -> list[tuple[Version, Artifact]]:
    """The version, what it was trained from, and so on back to a base model, with the facts that `caller` may see.

    Raises NotFound.
    """
    return lineage_ends(store, caller, version_id, LONGEST_LINEAGE)[0]


def lineage_ends(
    store: Store, caller: Caller, version_id: str, near: int
) -> tuple[list[tuple[Version, Artifact]], int]:
    """As `lineage`, of a long one the version, the `near` before it, and where it begins; and how many are before it.

    Raises NotFound.
    """
    own = select(Version.id, Version.parent_id, literal(0).label("depth")).where(Version.id == version_id)
    chain = own.cte(recursive=True)
    older = select(Version.id, Version.parent_id, chain.c.depth + 1).join(chain, Version.id == chain.c.parent_id)
    chain = chain.union_all(older.where(chain.c.depth < LONGEST_LINEAGE))
    before = select(func.max(chain.c.depth)).scalar_subquery()
    query = (
        select(Version, Artifact, before)
        .join(chain, chain.c.id == Version.id)
        .join(Artifact, Artifact.id == Version.artifact_id)
        .where(or_(chain.c.depth <= near, chain.c.depth == before))
        .order_by(chain.c.depth)
    )
    with store.read() as session:
        catalogue.seen_version(session, caller, version_id)
        rows = session.execute(query.where(catalogue.visible(caller))).all()
        found = [(version, artifact) for version, artifact, _ in rows]
        _limit_facts(session, caller, found)
        return found, rows[0][2]


def _limit_facts(session: Session, caller: Caller, found: Sequence[tuple[Version, Artifact]]) -> None:
    """Leave the facts that `caller` may see in rows that are only looked at."""
    told = shown_counts.told_to(session, caller, found)
    for (version, _), facts in zip(found, told, strict=True):
        session.expunge(version)
        version.facts = facts


def _shape(plan: Plan) -> dict[str, object]:
    trigger = {"trigger": plan.data.trigger} if plan.data.trigger else {}
    return trigger | ({"rank": plan.lora.rank, "alpha": plan.lora.alpha} if plan.trains_adapter else {})


def _version_of(session: Session, run_id: str, number: int) -> Version:
    version = session.scalar(select(Version).where(Version.run_id == run_id, Version.round == number).with_for_update())
    if version is None:
        raise NotFound(f"run {run_id} has not committed round {number}")
    return version


def _base_of(session: Session, federation_id: str, base_hash: str) -> Version | None:
    """A version of these weights, of what nobody owns before what somebody brought in."""
    query = (
        select(Version)
        .join(Artifact, Artifact.id == Version.artifact_id)
        .where(Artifact.federation_id == federation_id, Version.content_hash == base_hash)
        .order_by(Artifact.owner_id.is_not(None), Version.id)
    )
    return session.scalar(query.limit(1))


def _artifact(session: Session, version: Version) -> Artifact:
    return session.get_one(Artifact, version.artifact_id)


def federations_own(session: Session, store: Store, federation_id: str, kind: str, name: str) -> Artifact:
    """The federation's own artifact of that name, which nobody owns, for what its runs make and use.

    Where somebody's has the name, it is called 'NAME (run)', else 'NAME (run 2)' and so on: the owner of a model or
    adapter decides who sees it and what is given out, and a run's result is not theirs to decide about. Made and held
    as by `artifact_of`.
    """
    for called in own_names(name):
        found = artifact_of(session, store, federation_id, kind, called)
        if found.owner_id is None:
            return found
    raise AssertionError("names do not end")


def own_names(name: str) -> Iterator[str]:
    """What the federation's own model or adapter may be called, in the order in which the names are tried."""
    yield name
    yield f"{name} (run)"
    yield from (f"{name} (run {number})" for number in count(2))


def artifact_of(session: Session, store: Store, federation_id: str, kind: str, name: str) -> Artifact:
    """The artifact of that name, made where there is none, and locked until the transaction ends."""
    events.lock(session, federation_id)  # two runs of one name would make it twice
    found = named(session, federation_id, kind, name)
    if found is None:
        found = Artifact(id=new_id(), federation_id=federation_id, kind=kind, name=name, created_at=store.clock())
        session.add(found)
        session.flush()
    return found


def named(session: Session, federation_id: str, kind: str, name: str) -> Artifact | None:
    """The artifact of that name, whoever owns it; None where there is none."""
    mine = Artifact.federation_id == federation_id, Artifact.kind == kind, Artifact.name == name
    return session.scalar(select(Artifact).where(*mine))


def add(
    session: Session,
    store: Store,
    artifact: Artifact,
    *,
    content: str,
    facts: Mapping[str, object],
    content_hash: str | None = None,
    run_id: str | None = None,
    round: int | None = None,  # noqa: A002 - the column's name
) -> Version:
    """The artifact's next version, in the caller's transaction, which holds the artifact (`artifact_of`)."""
    last = session.scalar(select(func.max(Version.number)).where(Version.artifact_id == artifact.id))
    version = Version(
        id=new_id(),
        artifact_id=artifact.id,
        number=(last or 0) + 1,
        content=content,
        content_hash=content_hash,
        run_id=run_id,
        round=round,
        facts=dict(facts),
        files={},
        created_at=store.clock(),
    )
    session.add(version)
    session.flush()
    return version
