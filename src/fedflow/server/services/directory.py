"""Everybody who has an account on this server, as its administrators see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select

from fedflow.server.database.people import Person, PersonToken, Role, RoleName, SignIn
from fedflow.server.database.tables import Federation
from fedflow.server.errors import NotFound
from fedflow.server.store import Store


@dataclass(frozen=True)
class Account:
    """An account; `seen_at` is when one of its browsers was seen last, None where none is signed in."""

    id: str
    name: str
    email: str | None
    is_admin: bool
    is_shut: bool
    is_confirmed: bool
    has_second_factor: bool
    created_at: float
    seen_at: float | None
    federations: int


def accounts(store: Store, search: str, skip: int, limit: int) -> tuple[list[Account], int]:
    """A page of the accounts whose name or address has `search` in it, by name; and how many there are in all."""
    wanted: list[ColumnElement[bool]] = [Person.deleted_at.is_(None)]
    if search:
        wanted.append(or_(*(part.icontains(search, autoescape=True) for part in (Person.name, Person.email))))
    with store.read() as session:
        total = session.scalar(select(func.count()).select_from(Person).where(*wanted)) or 0
        page = _lines().where(*wanted).order_by(func.lower(Person.name), Person.id).offset(skip).limit(limit)
        return [_account(row) for row in session.execute(page)], total


def account(store: Store, person_id: str) -> Account:
    """One account. Raises NotFound."""
    with store.read() as session:
        row = session.execute(_lines().where(Person.id == person_id, Person.deleted_at.is_(None))).one_or_none()
    if row is None:
        raise NotFound(f"there is no person {person_id}")
    return _account(row)


def roles_of(store: Store, person_id: str) -> list[tuple[str, str, RoleName]]:
    """Identifier and name of each federation that a person has a role in, and the role."""
    query = (
        select(Federation.id, Federation.name, Role.role)
        .join(Role, Role.federation_id == Federation.id)
        .where(Role.person_id == person_id)
        .order_by(Federation.name)
    )
    with store.read() as session:
        return [(identifier, name, role) for identifier, name, role in session.execute(query)]


def names(store: Store, person_ids: set[str]) -> dict[str, str]:
    """What people are called, by their identifiers."""
    with store.read() as session:
        found = session.execute(select(Person.id, Person.name).where(Person.id.in_(person_ids)))
        return dict(found.all())


def means(store: Store, ways: set[str]) -> dict[str, str]:
    """By what somebody acted, by an audit entry's `via`: what the browser calls itself, the API token's name.

    A browser that was signed out and a token that is gone have none.
    """
    sign_ins, tokens = (
        {way.removeprefix(f"{kind} ") for way in ways if way.startswith(f"{kind} ")} for kind in ("sign-in", "token")
    )
    with store.read() as session:
        browsers = session.execute(select(SignIn.id, SignIn.agent).where(SignIn.id.in_(sign_ins))).all()
        named = session.execute(select(PersonToken.id, PersonToken.name).where(PersonToken.id.in_(tokens))).all()
    return {f"sign-in {key}": agent for key, agent in browsers} | {f"token {key}": name for key, name in named}


def person_of(store: Store, email: str) -> str:
    """The identifier of who has this address. Raises NotFound."""
    with store.read() as session:
        found = session.scalar(select(Person.id).where(Person.email == email.strip().lower()))
    if found is None:
        raise NotFound(f"no account has the address {email}")
    return found


def _lines() -> Select[Any]:
    seen = select(func.max(SignIn.seen_at)).where(SignIn.person_id == Person.id).scalar_subquery()
    count = select(func.count()).where(Role.person_id == Person.id).scalar_subquery()
    return select(Person, seen, count)


def _account(row: Any) -> Account:
    person, seen_at, federations = row
    return Account(
        id=person.id,
        name=person.name,
        email=person.email,
        is_admin=person.is_admin,
        is_shut=person.disabled_at is not None,
        is_confirmed=person.confirmed_at is not None,
        has_second_factor=person.totp_at is not None,
        created_at=person.created_at,
        seen_at=seen_at,
        federations=federations,
    )
