"""Who at the OpenID provider is who here: linked by a confirmed address, or by hand from one's own account.

Who the provider tells apart comes in by an identity that is linked already; else by the address, where the provider and
this server have both confirmed it as theirs (an account that somebody made with another's address gets nothing of it);
else as somebody new, with an invitation or where everybody may make an account.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass

from cryptography.fernet import Fernet
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fedflow.server.database.people import Departure, Identity, Person
from fedflow.server.errors import Conflict, Forbidden, NotFound, Unprocessable
from fedflow.server.services import accounts, audit, letters, provider, sign_in
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import Caller, secret_hash
from fedflow.server.services.provider import Claims, Provider
from fedflow.server.store import Store

AWAY_S = 600.0
"""How long somebody may take at the provider."""

LATE = "this sign-in was used, took too long, or was begun in another browser; begin it again"


@dataclass(frozen=True)
class Back:
    """Somebody who came back from the provider: for what, and whom it has seen."""

    claims: Claims
    person_id: str | None
    target: str
    invitation: str | None


@dataclass(frozen=True)
class Linked:
    """An identity that signs the caller in."""

    id: str
    issuer: str
    email: str | None
    linked_at: float
    used_at: float | None


def depart(
    store: Store,
    asked: Provider,
    browser: str,
    *,
    target: str = "/",
    invitation: str | None = None,
    person_id: str | None = None,
) -> str:
    """The provider's address for a browser that is to sign in there, and go to `target` of this server then.

    browser: what tells this browser from others.
    invitation: the code of the one that is taken up with it.
    person_id: who links the identity to their account; None to sign in.
    Raises Unavailable where the provider does not answer.
    """
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    address = provider.address(asked, state, nonce, verifier)
    kept = _cipher(store).encrypt(json.dumps([nonce, verifier, target, invitation]).encode()).decode()
    row = Departure(hash=secret_hash(state), browser=browser, person_id=person_id, kept=kept)
    row.expires_at = store.clock() + AWAY_S
    with store.begin() as session:
        session.add(row)
    return address


def come_back(store: Store, asked: Provider, browser: str, state: str, code: str) -> Back:
    """Who came back with this state and code. The state counts once, and in the browser that was sent away alone.

    Raises NotFound where it does not count, Forbidden where the provider's answer does not hold or it sent no code,
    Unavailable where it does not answer.
    """
    with store.begin() as session:
        row = session.get(Departure, secret_hash(state), with_for_update=True)
        if row is None or row.browser != browser or row.expires_at <= store.clock():
            raise NotFound(LATE)
        session.delete(row)
    if not code:
        raise Forbidden("the sign-in provider did not sign you in; begin again, or sign in another way")
    nonce, verifier, target, invitation = json.loads(_cipher(store).decrypt(row.kept))
    claims = provider.claims(asked, code, nonce, verifier, store.clock())
    return Back(claims, row.person_id, target, invitation)


def person_of(
    store: Store, back: Back, address: str, *, everybody: bool, letter_in: str | None = None
) -> tuple[str, bool]:
    """The identifier of who the provider has seen, linked or made where that may be, and whether it was made.

    An invitation is taken up by an account that is made with it; who has one takes it up on its page.

    everybody: whether the server lets somebody make an account without an invitation.
    letter_in: as in `letters.tell_of`; who is new is told nothing.
    Raises Forbidden where they have no account and may make none, or it is shut; Conflict where an account has the
    address and has not confirmed it, or another identity there; and as `invitations.open_`.
    """
    claims = back.claims
    try:
        with store.begin() as session:
            found = session.get(Identity, (claims.issuer, claims.subject), with_for_update=True)
            if found is not None:
                _refuse_shut(session.get_one(Person, found.person_id))
                found.used_at = store.clock()
                return found.person_id, False
            known = _of_address(session, claims)
            person = known or _new(session, store, back, address, everybody=everybody)
            _refuse_shut(person)
            if known is not None:
                letters.tell_of(session, store, known, "identity linked", letter_in)
            _link(session, store, _as_caller(person, claims, address), person, claims)
            return person.id, known is None
    except IntegrityError:  # the same person in two windows at once
        raise Conflict("this was done in another window already; sign in again") from None


def link(store: Store, caller: Caller, claims: Claims, letter_in: str | None = None) -> None:
    """Let the identity sign the caller in from now on.

    letter_in: as in `letters.tell_of`.

    Raises Conflict where it signs somebody else in.
    """
    try:
        with store.begin() as session:
            found = session.get(Identity, (claims.issuer, claims.subject), with_for_update=True)
            if found is None:
                person = session.get_one(Person, caller.id)
                letters.tell_of(session, store, person, "identity linked", letter_in)
                _link(session, store, caller, person, claims)
            elif found.person_id != caller.id:
                raise Conflict("this identity signs in another account; unlink it there first")
    except IntegrityError:
        raise Conflict("this was done in another window already; sign in again") from None


def unlink(store: Store, caller: Caller, password: str, identity_id: str) -> None:
    """Let one of the caller's identities no longer sign them in.

    Raises Forbidden where the password is wrong, NotFound where there is no such identity, Conflict where it is the
    only way into the account.
    """
    sign_in.confirm(store, caller, password)
    with store.begin() as session:
        person = session.get_one(Person, caller.id, with_for_update=True)
        count = session.scalar(select(func.count()).select_from(Identity).where(Identity.person_id == caller.id))
        if person.password is None and count == 1:
            raise Conflict("this is your only way to sign in; set a password first")
        gone = delete(Identity).where(Identity.person_id == caller.id, Identity.id == identity_id)
        issuer = session.scalar(gone.returning(Identity.issuer))
        if issuer is None:
            raise NotFound("there is no such identity of yours")
        audit.record(session, store, caller, "identity unlinked", "person", caller.id, None, provider=issuer)


def linked(store: Store, caller: Caller) -> list[Linked]:
    """The identities that sign the caller in, the first one first."""
    query = select(Identity).where(Identity.person_id == caller.id).order_by(Identity.linked_at)
    with store.read() as session:
        return [Linked(row.id, row.issuer, row.email, row.linked_at, row.used_at) for row in session.scalars(query)]


def _of_address(session: Session, claims: Claims) -> Person | None:
    """Who here has confirmed the address that the provider has confirmed.

    Raises Conflict where nobody here has, and where another identity of the provider is theirs: an address alone does
    not tell people apart for ever (OpenID Connect Core 1.0, Sec. 5.7).
    """
    if claims.email is None:
        return None
    known_as = accounts.checked_email(claims.email)
    person = session.scalar(select(Person).where(Person.email == known_as).with_for_update())
    if person is not None and person.confirmed_at is None:
        raise Conflict(
            "an account here has your address and has not confirmed it; sign in with its password, and link the "
            "provider on your account's page"
        )
    if person is not None and _has_another(session, person, claims):
        raise Conflict(
            "another identity of the sign-in provider opens the account with your address; sign in with that one or "
            "with the password, and link this one on your account's page"
        )
    return person


def _refuse_shut(person: Person) -> None:
    """The provider has said who it is, so that there is nothing to hide from them."""
    if person.disabled_at is not None:
        raise Forbidden("your account here is shut; ask an administrator of the server")


def _has_another(session: Session, person: Person, claims: Claims) -> bool:
    """Whether the provider knows them as somebody else: it may have given their address to another person since."""
    query = select(Identity.id).where(Identity.person_id == person.id, Identity.issuer == claims.issuer)
    return session.scalar(query.limit(1)) is not None


def _new(session: Session, store: Store, back: Back, address: str, *, everybody: bool) -> Person:
    claims = back.claims
    if back.invitation is None and not everybody:
        raise Forbidden("nobody here has this identity; ask for an invitation, or link it on your account's page")
    if claims.email is None:
        raise Forbidden("the sign-in provider does not say that it has confirmed an address of yours; confirm it there")
    email = accounts.checked_email(claims.email)
    try:
        name = accounts.checked_name(claims.name)
    except Unprocessable:
        name = email.partition("@")[0]
    person = accounts.make(session, store, name, email, None, back.invitation, address)
    person.confirmed_at = store.clock()
    return person


def _link(session: Session, store: Store, caller: Caller, person: Person, claims: Claims) -> None:
    row = Identity(issuer=claims.issuer, subject=claims.subject, id=new_id(), person_id=person.id, email=claims.email)
    row.linked_at = row.used_at = store.clock()
    session.add(row)
    session.flush()
    audit.record(session, store, caller, "identity linked", "person", person.id, None, provider=claims.issuer)


def _as_caller(person: Person, claims: Claims, address: str) -> Caller:
    return Caller("person", person.id, name=person.name, via=f"provider {claims.issuer}", address=address)


def _cipher(store: Store) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(store.key("departure")))
