"""What people may do in a federation: one role each, of four that hold one another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from fedflow.server.database.people import Person, Role, RoleName
from fedflow.server.database.tables import Artifact, Device, Federation, Import, Member, Run, Version
from fedflow.server.errors import Forbidden, NotFound
from fedflow.server.reading import remembered
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store

ROLES: tuple[RoleName, ...] = get_args(RoleName)

FEDERATION_OF: dict[str, Select[str]] = {
    "federation_id": select(Federation.id),
    "run_id": select(Run.federation_id),
    "member_id": select(Member.federation_id),
    "device_id": select(Member.federation_id).join(Device, Device.member_id == Member.id),
    "artifact_id": select(Artifact.federation_id),
    "import_id": select(Import.federation_id),
    "version_id": select(Artifact.federation_id).join(Version, Version.artifact_id == Artifact.id),
}
"""How the federation is found that a part of an address belongs to."""

KEY_OF = {
    "federation_id": Federation.id,
    "run_id": Run.id,
    "member_id": Member.id,
    "device_id": Device.id,
    "artifact_id": Artifact.id,
    "import_id": Import.id,
    "version_id": Version.id,
}


@dataclass(frozen=True)
class Holder:
    """A person with a role in a federation; `member` is the member that a participant acts for."""

    person_id: str
    name: str
    email: str | None
    role: RoleName
    member_id: str | None
    member: str | None


@dataclass(frozen=True)
class Belonging:
    """A federation and what a person is in it; `member_id` is the member that a participant acts for."""

    federation_id: str
    federation: str
    role: RoleName
    member_id: str | None
    closed: bool


def is_at_least(own: RoleName | None, least: RoleName) -> bool:
    """Whether a role holds another one."""
    return own is not None and ROLES.index(own) >= ROLES.index(least)


def role_in(store: Store, caller: Caller, federation_id: str) -> RoleName | None:
    """What `caller` is in the federation; None for nothing. The server's administrators are administrators of all."""
    with store.read() as session:
        return role(session, caller, federation_id)


def require(store: Store, caller: Caller, part: str, identifier: str, least: RoleName) -> str:
    """Return the federation of the thing that `part` of an address names, where `caller` is at least `least` in it.

    Raises NotFound where there is no such thing, or none that the caller may know of, and Forbidden where their role
    is too small.
    """
    with store.read() as session:
        federation_id = federation_of(session, part, identifier)
        own = None if federation_id is None else role(session, caller, federation_id)
    if federation_id is None or own is None:
        raise NotFound(f"there is no {part.removesuffix('_id')} {identifier}")
    if not is_at_least(own, least):
        raise Forbidden(f"this is for a {least}, and your role here is {own}; ask the federation's administrator")
    return federation_id


def federation_of(session: Session, part: str, identifier: str) -> str | None:
    """The federation of what `part` of an address names; None where there is no such thing."""
    query = FEDERATION_OF[part].where(KEY_OF[part] == identifier)
    return remembered(session, (part, identifier), lambda: session.scalar(query))


def federations_of(session: Session, caller: Caller) -> list[str] | None:
    """Identifiers of the federations that `caller` may look into; None for all."""
    theirs = federations_asked(caller)
    return theirs if theirs is None or isinstance(theirs, list) else list(session.scalars(theirs))


def federations_asked(caller: Caller) -> list[str] | Select[str] | None:
    """The same for the IN of a query: identifiers, or what asks for them."""
    if caller.kind == "device":
        return [caller.federation_id or ""]
    if caller.kind == "server" or caller.is_admin:
        return None if caller.federation_id is None else [caller.federation_id]
    query = select(Role.federation_id).where(Role.person_id == caller.id)
    return query if caller.federation_id is None else query.where(Role.federation_id == caller.federation_id)


def belongings(store: Store, caller: Caller) -> list[Belonging]:
    """The federations of a person by name; of an administrator of the server all of them."""
    own = Role.person_id == caller.id
    query = (
        select(Federation.id, Federation.name, Role.role, Role.member_id, Federation.closed_at)
        .outerjoin(Role, (Role.federation_id == Federation.id) & own)
        .order_by(Federation.name, Federation.id)
    )
    with store.read() as session:
        found = session.execute(query if caller.is_admin else query.where(own))
        return [
            Belonging(identifier, name, "administrator" if caller.is_admin else role, member_id, closed_at is not None)
            for identifier, name, role, member_id, closed_at in found
        ]


def holders(store: Store, federation_id: str) -> list[Holder]:
    """The people of a federation with their roles and addresses, by name."""
    query = (
        select(Person.id, Person.name, Person.email, Role.role, Role.member_id, Member.name)
        .join(Role, Role.person_id == Person.id)
        .outerjoin(Member, Member.id == Role.member_id)
        .where(Role.federation_id == federation_id)
        .order_by(Person.name, Person.id)
    )
    with store.read() as session:
        return [Holder(*row) for row in session.execute(query)]


def holders_seen_by(store: Store, caller: Caller, federation_id: str) -> list[Holder]:
    """The same as `caller` may see them: addresses, which people sign in with, are for its coordinators."""
    found = holders(store, federation_id)
    if is_at_least(role_in(store, caller, federation_id), "coordinator"):
        return found
    return [each if each.person_id == caller.id else replace(each, email=None) for each in found]


def role(session: Session, caller: Caller, federation_id: str) -> RoleName | None:
    """What `caller` is in the federation, within the caller's transaction; None for nothing."""
    if caller.federation_id not in (None, federation_id):
        return None
    if caller.kind == "server" or caller.is_admin:
        return "administrator"
    query = select(Role.role).where(Role.person_id == caller.id, Role.federation_id == federation_id)
    return remembered(session, (Role, caller.id, federation_id), lambda: session.scalar(query))
