"""Whose example counts are shown to whom: in the registry's lineage, and in what a release says of itself.

Inside a federation its members see each other's counts, unless its rules hide them from viewers. Beyond it a member is
named, with its count, only where it has said so itself: a person who acts for it, or its machine as it joined. The
others are counted alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedflow.server.database.people import Role
from fedflow.server.database.tables import Artifact, Member, Version
from fedflow.server.errors import Forbidden, NotFound
from fedflow.server.services import audit, policies, roles
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store

MEMBERS, OTHERS = "members", "other_members"
"""Facts of a version: example counts by member, and how many members are not named."""


def are_shown(store: Store, member_id: str) -> bool:
    """Whether a member's name and counts are shown beyond its federation. Raises NotFound."""
    with store.read() as session:
        return _member(session, member_id).shows_counts


def may_agree(store: Store, caller: Caller, member_id: str) -> bool:
    """Whether `caller` may say that they are shown: who acts for the member. Raises NotFound."""
    with store.read() as session:
        return _may_agree(session, caller, _member(session, member_id))


def show(store: Store, caller: Caller, member_id: str, *, shown: bool) -> None:
    """Say whether a member's name and counts are shown beyond its federation, from now on.

    Raises NotFound; Forbidden for who may not: see `may_agree`; a coordinator may hide them at any time.
    """
    with store.begin() as session:
        member = _member(session, member_id)
        coordinates = roles.is_at_least(roles.role(session, caller, member.federation_id), "coordinator")
        if not _may_agree(session, caller, member) and (shown or not coordinates):
            raise Forbidden(f"this is for who acts for '{member.name}'; ask them")
        if member.shows_counts == shown:
            return
        note(session, store, caller, member, shown=shown)


def note(session: Session, store: Store, caller: Caller, member: Member, *, shown: bool) -> None:
    """Note what the member has said by `caller`, in the caller's transaction."""
    member.shows_counts = shown
    session.flush()
    told = {"member": member.name, "shown": shown}
    audit.record(session, store, caller, "counts shown changed", "member", member.id, member.federation_id, **told)


def told_to(session: Session, caller: Caller, found: Sequence[tuple[Version, Artifact]]) -> list[dict[str, Any]]:
    """The facts of versions as `caller` may see them, in their order; three queries for each federation among them."""
    limits: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
    told = []
    for version, artifact in found:
        if MEMBERS not in version.facts:
            told.append(version.facts)
            continue
        if artifact.federation_id not in limits:
            limits[artifact.federation_id] = _limit(session, caller, artifact.federation_id)
        told.append(limits[artifact.federation_id](version.facts))
    return told


def in_release(session: Session, artifact: Artifact, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a release says of the members: how many, their examples where all agreed, and those that did by name."""
    members: dict[str, int] = facts.get(MEMBERS, {})
    agreeing = _agreeing(session, artifact.federation_id)
    named = {name: count for name, count in members.items() if name in agreeing}
    return {
        "members": len(members),
        "examples": sum(members.values()) if len(named) == len(members) else None,
        "members_shown": named,
    }


def _limit(session: Session, caller: Caller, federation_id: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What `caller` is told of facts in which members of the federation stand."""
    if not _is_inside(session, caller, federation_id):
        agreeing = _agreeing(session, federation_id)
        return lambda facts: _only(facts, agreeing)
    if policies.shows_examples(session, caller, federation_id):
        return lambda facts: facts
    return lambda facts: {**facts, MEMBERS: dict.fromkeys(facts[MEMBERS])}


def _is_inside(session: Session, caller: Caller, federation_id: str) -> bool:
    if caller.kind == "device":
        return caller.federation_id == federation_id
    return roles.role(session, caller, federation_id) is not None


def _only(facts: Mapping[str, Any], agreeing: frozenset[str]) -> dict[str, Any]:
    named = {name: count for name, count in facts[MEMBERS].items() if name in agreeing}
    return {**facts, MEMBERS: named, OTHERS: len(facts[MEMBERS]) - len(named)}


def _agreeing(session: Session, federation_id: str) -> frozenset[str]:
    query = select(Member.name).where(Member.federation_id == federation_id, Member.shows_counts)
    return frozenset(session.scalars(query))


def _may_agree(session: Session, caller: Caller, member: Member) -> bool:
    own = select(Role.person_id).where(Role.member_id == member.id, Role.role == "participant")
    return caller.id in session.scalars(own).all()


def _member(session: Session, member_id: str) -> Member:
    member = session.get(Member, member_id)
    if member is None:
        raise NotFound(f"there is no member {member_id}")
    return member
