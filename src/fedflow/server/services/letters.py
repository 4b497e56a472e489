"""E-mails: written with what asks for them, sent by a worker, each once unless a worker dies at it.

Whoever asks for a link by an address learns nothing of who has it: the request writes the same row for every address,
and only the worker looks whether an account has it. The links' codes are made there too, and stand in the letter alone.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Literal

from cryptography.fernet import Fernet
from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from fedflow.server.database.people import Invitation, Letter, Person
from fedflow.server.services import audit
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import Caller, secret_hash
from fedflow.server.store import MOST_SKEW_S, Store

Kind = Literal["password", "address", "invitation", "register", "changed"]
"""To set a new password; to confirm an address; to take an invitation up; to make an account on an open server; to know
that one's account was changed."""

Change = Literal[
    "address changed",
    "password changed",
    "password set by link",
    "second factor set up",
    "second factor taken off",
    "second factor taken off by an administrator",
    "recovery codes renewed",
    "identity linked",
]
"""What the owner of an account is told of."""

LIFE_S = 86_400.0
LEASE_S = 120.0
LONGEST_LEASE_S = LEASE_S + MOST_SKEW_S
FIRST_PAUSE_S = 30.0
MOST_ATTEMPTS = 8
"""Tries of one letter: with pauses that double, they last about an hour."""


@dataclass(frozen=True)
class Written:
    """A letter as a worker takes it up."""

    id: str
    kind: str
    to: str
    locale: str
    person_id: str | None
    values: dict[str, Any]
    attempts: int


def ask(store: Store, kind: Kind, email: str, locale: str) -> None:
    """Write a letter to an address of which nothing is known here."""
    with store.begin() as session:
        write(session, store, kind, email, locale)


def ask_to_confirm(store: Store, person_id: str, locale: str) -> None:
    """Write the letter with which a person confirms their address; nothing where it is confirmed, or there is none."""
    with store.begin() as session:
        person = session.get_one(Person, person_id, with_for_update=True)
        if person.email is not None and person.confirmed_at is None:
            write(session, store, "address", person.email, locale, person_id)


def tell_of(
    session: Session, store: Store, person: Person, change: Change, letter_in: str | None, **values: str
) -> None:
    """Write to a person, in the caller's transaction, that their account is changed; nothing where it has no address.

    letter_in: language of the letter, where the person has chosen none; None writes none.
    """
    if letter_in is not None and person.email is not None:
        told = {"change": change, "name": person.name, **values}
        write(session, store, "changed", person.email, person.locale or letter_in, person.id, **told)


def write(
    session: Session, store: Store, kind: Kind, email: str, locale: str, person_id: str | None = None, **values: str
) -> None:
    """Write a letter in the caller's transaction; a worker sends it once that is committed."""
    now = store.clock()
    kept = _cipher(store).encrypt(json.dumps([email, values]).encode()).decode()
    row = Letter(id=new_id(), kind=kind, person_id=person_id, locale=locale, kept=kept, attempts=0)
    row.created_at, row.due_at, row.expires_at = now, now, now + LIFE_S
    session.add(row)


def due(store: Store) -> list[str]:
    """Identifiers of the letters that nobody is at and whose time has come, oldest first."""
    now = store.clock()
    free = or_(Letter.leased_until.is_(None), Letter.leased_until <= now, Letter.leased_until > now + LONGEST_LEASE_S)
    with store.read() as session:
        return list(session.scalars(select(Letter.id).where(Letter.due_at <= now, free).order_by(Letter.created_at)))


def claim(store: Store, letter_id: str, worker: str) -> Written | None:
    """Lease a letter to `worker` and count the try; None where it is another's, sent, or too old."""
    now = store.clock()
    with store.begin() as session:
        row = session.get(Letter, letter_id, with_for_update=True)
        if row is None or (row.leased_until is not None and now < row.leased_until <= now + LONGEST_LEASE_S):
            return None
        if row.expires_at <= now or row.attempts >= MOST_ATTEMPTS:
            session.delete(row)
            return None
        row.worker, row.leased_until, row.attempts = worker, now + LEASE_S, row.attempts + 1
        to, values = json.loads(_cipher(store).decrypt(row.kept))
        return Written(row.id, row.kind, to, row.locale, row.person_id, values, row.attempts)


def done(store: Store, letter: Written) -> None:
    """The letter was handed in, or nobody is to get it."""
    with store.begin() as session:
        session.execute(delete(Letter).where(Letter.id == letter.id))


def give_up(store: Store, caller: Caller, letter: Written, reason: str) -> None:
    """Nobody gets the letter. The audit log tells of what kind it was and why; of an invitation's, which one."""
    with store.begin() as session:
        session.execute(delete(Letter).where(Letter.id == letter.id))
        code = letter.values.get("code", "")
        invitation = session.scalar(select(Invitation).where(Invitation.letter_hash == secret_hash(code)))
        kind, about, federation = "letter", letter.id, None
        if invitation is not None:
            kind, about, federation = "invitation", invitation.id, invitation.federation_id
        audit.record(
            session, store, caller, "letter given up", kind, about, federation, letter=letter.kind, reason=reason
        )


def waiting(session: Session, now: float) -> tuple[int, float]:
    """How many letters are still to be handed in, and since when the oldest waits (Unix time; 0 where none does)."""
    query = select(func.count(), func.min(Letter.created_at)).where(Letter.expires_at > now)
    count, oldest = session.execute(query).one()
    return count, oldest or 0.0


def put_back(store: Store, letter: Written, worker: str) -> None:
    """Try again later, after a pause that doubles each time."""
    with store.begin() as session:
        row = session.get(Letter, letter.id, with_for_update=True)
        if row is not None and row.worker == worker:
            row.leased_until, row.due_at = None, store.clock() + FIRST_PAUSE_S * 2.0 ** (row.attempts - 1)


def _cipher(store: Store) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(store.key("letters")))
