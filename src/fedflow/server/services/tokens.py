"""People's API tokens: each with a name, what it may do, and an end.

One that was made with another one does no more than that, ends no later, and is revoked with it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fedflow.server.database.people import Person, PersonToken
from fedflow.server.errors import Forbidden, NotFound, Unauthorised, Unprocessable
from fedflow.server.services import audit, idempotency
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import (
    FIRST,
    PERSON_PREFIX,
    SCOPES,
    SERVER,
    Caller,
    Scope,
    first_coordinator,
    first_token,
    new_token,
)
from fedflow.server.store import Store

LONGEST_LIFE_S = 366 * 86_400.0
MOST = 50


@dataclass(frozen=True)
class TokenFacts:
    """A token as its owner sees it; its text was told once."""

    id: str
    name: str
    scopes: tuple[str, ...]
    federation_id: str | None
    created_at: float
    expires_at: float | None


def make(
    store: Store,
    caller: Caller,
    name: str,
    scopes: Collection[Scope],
    life_s: float,
    federation_id: str | None = None,
    *,
    form: str | None = None,
) -> str:
    """A new token's text, for `life_s` seconds. It can do nothing that its owner cannot.

    form: identifier of the form that asks for it, which makes one token however often it is sent.

    Raises Unprocessable for what cannot be asked for, Forbidden where the caller's own token may do less or ends
    sooner, AlreadyMade.
    """
    if not scopes or not set(scopes) <= set(SCOPES):
        raise Unprocessable(f"scopes: take some of {', '.join(SCOPES)}")
    if not 0 < life_s <= LONGEST_LIFE_S:
        raise Unprocessable(f"life: at most {LONGEST_LIFE_S / 86_400:.0f} days")
    if not 1 <= len(name.strip()) <= 80 or not name.isprintable():
        raise Unprocessable("name: give 1 to 80 letters in one line")
    if federation_id is not None and "account" in scopes:
        raise Unprocessable("scopes: 'account' reaches beyond one federation; leave it out, or set no limit")
    if not set(scopes) <= caller.scopes or caller.federation_id not in (None, federation_id):
        raise Forbidden("a token can make none that may do more than itself")
    text, digest = new_token(PERSON_PREFIX)
    now = store.clock()
    with store.begin() as session:
        idempotency.once(session, store, caller, form)
        parent = _made_with(session, caller)
        if parent is not None and parent.expires_at is not None and now + life_s > parent.expires_at:
            left_s = max(0, math.floor(parent.expires_at - now))
            raise Forbidden(
                f"this token ends in {left_s} seconds, and makes none that outlives it; ask for less, or make the "
                "other one on your account's page"
            )
        mine = select(PersonToken.id).where(PersonToken.person_id == caller.id, PersonToken.revoked_at.is_(None))
        if len(session.scalars(mine).all()) >= MOST:
            raise Unprocessable(f"you have {MOST} tokens; revoke one that you no longer need")
        row = PersonToken(hash=digest, id=new_id(), person_id=caller.id, name=name.strip(), created_at=now)
        row.scopes, row.federation_id, row.expires_at = sorted(scopes), federation_id, now + life_s
        row.made_with = None if parent is None else parent.id
        session.add(row)
        session.flush()
        told = {"name": row.name, "scopes": row.scopes, "days": life_s / 86_400}
        audit.record(session, store, caller, "token made", "token", row.id, federation_id, **told)
    return text


def listed(store: Store, caller: Caller) -> list[TokenFacts]:
    """The caller's tokens that are not revoked, newest first."""
    query = select(PersonToken).where(PersonToken.person_id == caller.id, PersonToken.revoked_at.is_(None))
    with store.read() as session:
        return [
            TokenFacts(row.id, row.name, tuple(row.scopes), row.federation_id, row.created_at, row.expires_at)
            for row in session.scalars(query.order_by(PersonToken.created_at.desc()))
        ]


def revoke(store: Store, caller: Caller, token_id: str) -> None:
    """End one of the caller's tokens, at once, and all that were made with it. Twice changes nothing.

    Raises NotFound where there is none.
    """
    with store.begin() as session:
        row = session.scalar(
            select(PersonToken).where(PersonToken.id == token_id, PersonToken.person_id == caller.id).with_for_update()
        )
        if row is None:
            raise NotFound("there is no such token of yours")
        _revoke(session, store, caller, row)


def renew_first(store: Store) -> None:
    """A new token for the first coordinator, in the folder's `coordinator.token`; the old ones end at once."""
    first_coordinator(store)
    with store.begin() as session:
        person = session.get_one(Person, FIRST, with_for_update=True)
        mine = (PersonToken.person_id == person.id, PersonToken.revoked_at.is_(None))
        ending = update(PersonToken).where(*mine).values(revoked_at=store.clock()).returning(PersonToken.id)
        ended = len(session.scalars(ending).all())
        first_token(session, store)
        audit.record(session, store, SERVER, "coordinator token renewed", "person", person.id, None, ended=ended)


def _made_with(session: Session, caller: Caller) -> PersonToken | None:
    """The token that the caller uses, held until the transaction ends; None for a browser. Raises Unauthorised."""
    identifier = caller.via.removeprefix("token ")
    if identifier == caller.via:
        return None
    row = session.scalar(select(PersonToken).where(PersonToken.id == identifier).with_for_update())
    if row is None or row.revoked_at is not None:
        raise Unauthorised("the token was revoked in this moment; use another one")
    return row


def _revoke(session: Session, store: Store, caller: Caller, row: PersonToken) -> None:
    if row.revoked_at is None:
        row.revoked_at = store.clock()
        audit.record(session, store, caller, "token revoked", "token", row.id, row.federation_id, name=row.name)
    for child in session.scalars(select(PersonToken).where(PersonToken.made_with == row.id).with_for_update()).all():
        _revoke(session, store, caller, child)
