"""Roles given, changed and taken: by whoever administers the federation, or by an invitation that is taken up."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedflow.server.database.people import Person, Role, RoleName
from fedflow.server.database.tables import Federation, Member
from fedflow.server.errors import Conflict, NotFound, Unprocessable
from fedflow.server.services import audit, member_names, policies, roles
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store


def give(
    store: Store, caller: Caller, federation_id: str, person_id: str, given: RoleName, member: str | None = None
) -> None:
    """Make a person of the federation something else. A participant's role names the `member` that they act for.

    Raises NotFound where the person has no role there (they come by invitation), Unprocessable where role and member do
    not fit, Conflict where nobody would be left to administer the federation.
    """
    if (given == "participant") != (member is not None):
        raise Unprocessable("member: a participant's role names the member they act for, and no other's does")
    with store.begin() as session:
        row = _locked(session, federation_id, person_id)
        before, row.role, row.member_id = row.role, given, None
        if member is not None:
            found = member_of(session, store, federation_id, member_names.called(session, federation_id, member))
            row.member_id, member = found.id, found.name
        session.flush()
        if before == "administrator" and given != before:
            check_administered(session, [federation_id])
        told = {"before": before, "role": given, "member": member}
        audit.record(session, store, caller, "role changed", "person", person_id, federation_id, **told)


def take(store: Store, caller: Caller, federation_id: str, person_id: str) -> None:
    """Let a person have nothing to do with the federation any more. Raises NotFound and Conflict as `give`."""
    with store.begin() as session:
        row = _locked(session, federation_id, person_id)
        before = row.role
        session.delete(row)
        session.flush()
        if before == "administrator":
            check_administered(session, [federation_id])
        audit.record(session, store, caller, "role taken", "person", person_id, federation_id, before=before)


def set_role(
    session: Session, store: Store, person_id: str, federation_id: str, given: RoleName, member_id: str | None
) -> None:
    """Note a role in the caller's transaction; one that is there is raised, and never made smaller."""
    row = session.get(Role, (person_id, federation_id))
    if row is None:
        row = Role(person_id=person_id, federation_id=federation_id, role=given, created_at=store.clock())
        session.add(row)
    elif not roles.is_at_least(row.role, given):
        row.role = given
    row.member_id = member_id or row.member_id
    session.flush()


def member_of(session: Session, store: Store, federation_id: str, name: str) -> Member:
    """The member that a participant acts for, made where it is not there; in the caller's transaction.

    Raises Conflict where the federation is closed, or its rules leave no room for another.
    """
    found = session.scalar(select(Member).where(Member.federation_id == federation_id, Member.name == name))
    if found is None:
        rules = policies.of_open(session, federation_id)
        policies.check_room(session, federation_id, rules)
        found = Member(id=new_id(), federation_id=federation_id, name=name, created_at=store.clock())
        found.max_examples = rules.members.most_examples
        session.add(found)
        session.flush()
    return found


def check_administered(session: Session, federation_ids: Collection[str]) -> None:
    """Raise Conflict where nobody is left to administer one of the federations.

    Administrators of the server may do it in all; of them counts who can sign in, and not a token alone.
    """
    of_it = select(Role.person_id).where(Role.federation_id == Federation.id, Role.role == "administrator").exists()
    may_sign_in = (Person.email.is_not(None), Person.deleted_at.is_(None), Person.disabled_at.is_(None))
    of_all = select(Person.id).where(Person.is_admin, *may_sign_in).exists()
    query = select(Federation.name).where(Federation.id.in_(federation_ids), ~of_it, ~of_all)
    name = session.scalar(query.order_by(Federation.name).limit(1))
    if name is not None:
        raise Conflict(f"'{name}' would be left without an administrator; make somebody else one first")


def _locked(session: Session, federation_id: str, person_id: str) -> Role:
    # The federation's row stands for all its roles: two administrators cannot leave at the same moment.
    session.execute(select(Federation.id).where(Federation.id == federation_id).with_for_update())
    row = session.get(Role, (person_id, federation_id))
    if row is None:
        raise NotFound(f"the person {person_id} has no role in this federation; invite them")
    return row
