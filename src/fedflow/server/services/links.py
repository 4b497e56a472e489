"""One-time links that are given to people: to set a password, to confirm an address."""

from __future__ import annotations

import secrets
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fedflow.server.database.people import Link, Person
from fedflow.server.errors import Gone, NotFound
from fedflow.server.services import audit, idempotency
from fedflow.server.services.identity import Caller, secret_hash
from fedflow.server.store import Store

Purpose = Literal["password", "address"]
LIFE_S = 86_400.0
LATELY_S = 300.0
OVER = "this link was used, has expired or is incomplete; ask for another"


def make(
    store: Store, caller: Caller, person_id: str, purpose: Purpose, about: str = "", *, form: str | None = None
) -> str:
    """The code of a new link for a person, which replaces those of the same purpose before.

    form: identifier of the page that asks for it, which makes one link of a purpose however often it is sent.

    Raises NotFound, AlreadyMade.
    """
    code = secrets.token_urlsafe(24)
    with store.begin() as session:
        idempotency.once(session, store, caller, form and f"{purpose} {form}")
        person = session.get(Person, person_id)
        if person is None or person.deleted_at is not None:
            raise NotFound(f"there is no person {person_id}")
        session.execute(delete(Link).where(Link.person_id == person_id, Link.purpose == purpose))
        expires_at = store.clock() + LIFE_S
        session.add(
            Link(hash=secret_hash(code), person_id=person_id, purpose=purpose, about=about, expires_at=expires_at)
        )
        session.flush()
        audit.record(session, store, caller, f"link to set {purpose} made", "person", person_id)
    return code


def was_mailed_lately(store: Store, person_id: str, email: str) -> bool:
    """Whether a link to set a password went to this address within the last few minutes, and was not used."""
    made_after = store.clock() + LIFE_S - LATELY_S
    query = select(Link.hash).where(
        Link.person_id == person_id, Link.purpose == "password", Link.about == email, Link.expires_at > made_after
    )
    with store.read() as session:
        return session.scalar(query.limit(1)) is not None


def drop(store: Store, code: str) -> None:
    """Take back the link of this code, which nobody was told; nothing where there is none."""
    with store.begin() as session:
        session.execute(delete(Link).where(Link.hash == secret_hash(code)))


def check(store: Store, code: str, purpose: Purpose) -> None:
    """Raises Gone where the link of this code is unknown, used or over."""
    with store.read() as session:
        _held(store, session.get(Link, secret_hash(code)), purpose)


def use(session: Session, store: Store, code: str, purpose: Purpose) -> Link:
    """The link of this code, used up in the caller's transaction. Raises Gone where it is unknown, used or over."""
    link = _held(store, session.get(Link, secret_hash(code), with_for_update=True), purpose)
    session.delete(link)
    session.flush()
    return link


def _held(store: Store, link: Link | None, purpose: Purpose) -> Link:
    if link is None or link.purpose != purpose or link.expires_at <= store.clock():
        raise Gone(OVER)
    return link
