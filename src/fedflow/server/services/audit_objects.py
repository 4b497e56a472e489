"""What entries of the audit log speak of, as far as it is still there and the reader may see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, select, true

from fedflow.server.database.people import AuditEntry, Person
from fedflow.server.database.tables import Artifact, Device, Federation, Member, Release, Run, Version
from fedflow.server.services import catalogue, roles
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store

Kind = Literal["run", "federation", "member", "artifact", "version", "release", "person"]


@dataclass(frozen=True)
class Object:
    """Something that has a page: what it is, its identifier there, and its name. A person who is gone `is_closed`."""

    kind: Kind
    id: str
    name: str
    is_closed: bool = False


def found(store: Store, caller: Caller, entries: Iterable[AuditEntry]) -> dict[str, Object]:
    """By the identifiers of what `entries` speak of: what is there of it. One question for each kind among them."""
    asked: dict[str, set[str]] = {}
    for entry in entries:
        asked.setdefault(entry.object_kind, set()).add(entry.object_id)
    told: dict[str, Object] = {}
    with store.read() as session:
        for kinds, kind, key, query in _questions(caller):
            identifiers = set[str]().union(*(asked.get(each, ()) for each in kinds))
            if identifiers:
                for identifier, *of_page in session.execute(query.where(key.in_(identifiers))):
                    told[identifier] = Object(kind, *of_page)
    return told


def _questions(caller: Caller) -> list[tuple[tuple[str, ...], Kind, Any, Any]]:
    """What entries call it, what kind of page it has, and the query: its identifier, that of its page, its name.

    An entry of a model or adapter names it, or one of its versions; a device stands on the page of its member.
    """
    theirs, seen, made = roles.federations_asked(caller), catalogue.visible(caller), ("model", "adapter")
    versions = select(Version.id, Version.id, Artifact.name).join(Artifact, Artifact.id == Version.artifact_id)
    releases = select(Release.id, Release.id, Artifact.name).join(Artifact, Artifact.id == Release.artifact_id)
    devices = select(Device.id, Member.id, Device.name).join(Member, Member.id == Device.member_id)
    people = select(Person.id, Person.id, Person.name, Person.deleted_at.is_not(None))

    def inside(table: type[Run | Member]) -> ColumnElement[bool]:
        return true() if theirs is None else table.federation_id.in_(theirs)

    return [
        (("run",), "run", Run.id, select(Run.id, Run.id, Run.name).where(inside(Run))),
        (("federation",), "federation", Federation.id, select(Federation.id, Federation.id, Federation.name)),
        (("member",), "member", Member.id, select(Member.id, Member.id, Member.name).where(inside(Member))),
        (("device",), "member", Device.id, devices.where(inside(Member))),
        (made, "artifact", Artifact.id, select(Artifact.id, Artifact.id, Artifact.name).where(seen)),
        (made, "version", Version.id, versions.where(seen)),
        (("release",), "release", Release.id, releases.where(seen)),
        (("person",), "person", Person.id, people),
    ]
