"""Invitations: a link with which one person comes to an account, and to a role in a federation."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from fedflow.server.database.people import Invitation, Person, RoleName
from fedflow.server.database.tables import Federation, Member
from fedflow.server.errors import Forbidden, Gone, NotFound, Unprocessable
from fedflow.server.services import audit, idempotency, letters, member_names, policies, role_changes, roles
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import SERVER, Caller, secret_hash
from fedflow.server.store import Store

LIFE_S = 7 * 86_400.0
FIRST = (Invitation.is_admin, Invitation.created_by.is_(None), Invitation.used_at.is_(None))
"""The server's own, which lead to its first administrator."""


@dataclass(frozen=True)
class Invited:
    """What an invitation says to who opens it, and in the federation's list.

    closed: the federation is. held_up: until it is opened again, the invitation leads nowhere, as it names a member
    that is not there yet.
    """

    id: str
    federation: str | None
    role: RoleName | None
    member: str | None
    email: str | None
    is_admin: bool
    expires_in_s: float
    closed: bool
    held_up: bool


def make(
    store: Store,
    caller: Caller,
    federation_id: str | None,
    role: RoleName | None,
    *,
    email: str | None = None,
    member: str | None = None,
    is_admin: bool = False,
    letter_in: str | None = None,
    in_letter_alone: bool = False,
    form: str | None = None,
) -> str:
    """The code of a new invitation. A participant's names the `member` that they act for, whatever its letters' case.

    letter_in: language of the letter that brings it to `email`; None writes none. The letter has a code of its own, and
        only who takes the invitation up by that one has shown that the address is theirs.
    in_letter_alone: the code that is returned goes into a letter to `email`, and nobody else is told it.
    form: identifier of the form that asks for it, which makes one invitation however often it is sent.

    Raises Unprocessable where role and member do not fit, Forbidden where it would give more than the caller has,
    NotFound where there is no such federation, Conflict where that is closed and the member not there, AlreadyMade.
    """
    if (role == "participant") != (member is not None):
        raise Unprocessable("member: a participant's invitation names the member they act for, and no other's does")
    if (federation_id is None) != (role is None):
        raise Unprocessable("role: goes with a federation")
    if is_admin and not (caller.is_admin or caller.kind == "server"):
        raise Forbidden("only an administrator of the server may invite another one")
    code, sent = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    with store.begin() as session:
        idempotency.once(session, store, caller, form)
        if federation_id is not None and session.get(Federation, federation_id) is None:
            raise NotFound(f"there is no federation {federation_id}")
        if federation_id is not None and member is not None:
            member = member_names.called(session, federation_id, member)
            if not member_names.is_there(session, federation_id, member):
                policies.of_open(session, federation_id)
        own = None if federation_id is None else roles.role(session, caller, federation_id)
        if role is not None and not roles.is_at_least(own, role):
            raise Forbidden(f"your role here is {own}; a {role} is invited by another one, or by an administrator")
        row = Invitation(hash=secret_hash(code), id=new_id(), federation_id=federation_id, role=role, is_admin=is_admin)
        row.member_name, row.email = member, None if email is None else email.lower()
        row.created_by = caller.id if caller.kind == "person" else None
        row.created_at, row.expires_at = store.clock(), store.clock() + LIFE_S
        if in_letter_alone:
            row.letter_hash = row.hash
        elif letter_in is not None and row.email is not None:
            row.letter_hash = secret_hash(sent)
            letters.write(session, store, "invitation", row.email, letter_in, code=sent, by=caller.name)
        session.add(row)
        session.flush()
        told = {"role": role, "email": row.email, "member": member, "is_admin": is_admin}
        audit.record(session, store, caller, "invited", "invitation", row.id, federation_id, **told)
    return code


def drop(store: Store, code: str) -> None:
    """Take back the invitation of this code, which nobody was told; nothing where there is none."""
    with store.begin() as session:
        session.execute(delete(Invitation).where(Invitation.hash == secret_hash(code), Invitation.used_at.is_(None)))


def first(store: Store) -> str | None:
    """The code of a new invitation for the server's first administrator; None once somebody has taken one up.

    Each of several servers tells one of its own at its start, and all hold until one of them is taken up.
    """
    with store.read() as session:
        if session.scalar(select(Person.id).where(Person.email.is_not(None)).limit(1)) is not None:
            return None
    with store.begin() as session:
        session.execute(delete(Invitation).where(*FIRST, Invitation.expires_at <= store.clock()))
    return make(store, SERVER, None, None, is_admin=True)


def seen(store: Store, code: str) -> Invited:
    """What an invitation is for. Raises NotFound, Gone."""
    with store.read() as session:
        row = _row(session, store, code)
        federation = None if row.federation_id is None else session.get_one(Federation, row.federation_id)
        is_known = federation is not None and member_names.is_there(session, federation.id, row.member_name or "")
        return _told(store, row, federation, is_known)


def listed(store: Store, federation_id: str | None) -> list[Invited]:
    """Invitations that nobody has used and that still hold: a federation's, or those to the server alone."""
    query = (
        select(Invitation, Federation, Member.id)
        .outerjoin(Federation, Federation.id == Invitation.federation_id)
        .outerjoin(Member, (Member.federation_id == Federation.id) & (Member.name == Invitation.member_name))
        .where(Invitation.federation_id == federation_id, Invitation.used_at.is_(None))
        .where(Invitation.expires_at > store.clock())
        .order_by(Invitation.created_at)
    )
    with store.read() as session:
        return [
            _told(store, row, federation, member_id is not None)
            for row, federation, member_id in session.execute(query)
        ]


def withdraw(store: Store, caller: Caller, invitation_id: str, federation_id: str | None) -> None:
    """Take an unused invitation of the federation, or to the server alone, back. Raises NotFound."""
    mine = (Invitation.id == invitation_id, Invitation.federation_id == federation_id, Invitation.used_at.is_(None))
    with store.begin() as session:
        gone = session.scalar(select(Invitation).where(*mine).with_for_update())
        if gone is None:
            raise NotFound("there is no such invitation, or it was used")
        told = {"role": gone.role, "email": gone.email, "member": gone.member_name, "is_admin": gone.is_admin}
        session.delete(gone)
        session.flush()
        about = ("invitation", invitation_id, federation_id)
        audit.record(session, store, caller, "invitation withdrawn", *about, **told)


def accept(store: Store, caller: Caller, code: str) -> str | None:
    """Give somebody who has an account what the invitation says; returns the federation. Raises as `open_`."""
    with store.begin() as session:
        person = session.get_one(Person, caller.id)
        invitation = open_(session, store, code, person.email or "")
        take_up(session, store, caller, invitation, person, code)
        return invitation.federation_id


def open_(session: Session, store: Store, code: str, email: str) -> Invitation:
    """An invitation for this address that nobody has used, locked until the transaction ends.

    Raises NotFound where there is none, Gone where it was used or has expired, Forbidden where it is another's.
    """
    invitation = _row(session, store, code, lock=True)
    if invitation.email is not None and invitation.email != email:
        raise Forbidden("this invitation is for another address; sign in or register with the one it was sent to")
    return invitation


def take_up(session: Session, store: Store, caller: Caller, invitation: Invitation, person: Person, code: str) -> None:
    """Use an open invitation up for `person`, in the caller's transaction.

    The code of the letter confirms the address; the other one does not, since whoever has invited knows it.
    """
    invitation.used_at, invitation.used_by = store.clock(), person.id
    if invitation.letter_hash == secret_hash(code) and invitation.email == person.email:
        person.confirmed_at = person.confirmed_at or store.clock()
    if invitation.is_admin:
        person.is_admin = True
        session.execute(delete(Invitation).where(*FIRST))
    if invitation.federation_id is not None and invitation.role is not None:
        member_id = None
        if invitation.member_name is not None:
            member_id = role_changes.member_of(session, store, invitation.federation_id, invitation.member_name).id
        role_changes.set_role(session, store, person.id, invitation.federation_id, invitation.role, member_id)
    session.flush()
    told = {"role": invitation.role, "member": invitation.member_name, "is_admin": invitation.is_admin}
    audit.record(
        session, store, caller, "invitation taken up", "invitation", invitation.id, invitation.federation_id, **told
    )


def _row(session: Session, store: Store, code: str, *, lock: bool = False) -> Invitation:
    digest = secret_hash(code)
    query = select(Invitation).where(or_(Invitation.hash == digest, Invitation.letter_hash == digest))
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound("there is no such invitation; check the link, or ask for another")
    if row.used_at is not None:
        raise Gone("this invitation was used already; sign in, or ask for another")
    if row.expires_at <= store.clock():
        raise Gone("this invitation has expired; ask for another")
    return row


def _told(store: Store, row: Invitation, federation: Federation | None, is_known: bool) -> Invited:
    closed = federation is not None and federation.closed_at is not None
    return Invited(
        id=row.id,
        federation=None if federation is None else federation.name,
        role=row.role,
        member=row.member_name,
        email=row.email,
        is_admin=row.is_admin,
        expires_in_s=max(0.0, row.expires_at - store.clock()),
        closed=closed,
        held_up=closed and row.member_name is not None and not is_known,
    )
