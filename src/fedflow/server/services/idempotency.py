"""Answers to POSTs that carried an idempotency key, so that the same POST again is answered and not done again.

What a POST creates gets the identifier that its key was given when it first came: where the process dies between the
creation and the note of the answer, the same POST again finds what is there. (A join code has no identifier; one that
was made and never told lies unused until it expires.) Neither a key nor an answer can be read from the database: a row
is found by the key's hash, and its body is encrypted with the key itself, which the caller alone knows.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field

from cryptography.fernet import Fernet
from sqlalchemy import and_, delete, or_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fedflow.server.database.tables import IdempotencyKey
from fedflow.server.errors import AlreadyMade, Conflict, UnderWay
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import Caller
from fedflow.server.store import MOST_SKEW_S, Store

UNDER_WAY = 0
"""Status of a row whose POST is not answered yet."""

UNDER_WAY_S = 10
"""After this time the process that was at it is taken for dead, and the POST is done."""

KEPT_S = 86_400

FORM = "form "
"""How the callers of forms that were sent are kept apart from those of the API."""

DONE = 200
FORMS_KEPT_S = 31 * 86_400
"""Longer than a browser stays signed in: after that, the guard of an old form holds no more."""


@dataclass(frozen=True)
class Answer:
    """What was answered: HTTP status, JSON text or none, and the headers that belong to it."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """The POST is to be done; what it creates gets this identifier, however often it is tried.

    `began_at` names this try; None where another may still be at it, that was slow.
    """

    identifier: str
    began_at: float | None


def claim(store: Store, caller: str, key: str, request_sha256: str) -> Answer | Claim:
    """The answer to this POST if there is one; a claim where the caller shall now do it and then `keep` or `release`.

    Raises Conflict where the key came with another request, UnderWay where the same request is still under way.
    """
    now = store.clock()
    identifier = new_id()
    fresh = IdempotencyKey(
        caller=caller, key=_name(key), request_sha256=request_sha256, status=UNDER_WAY, body=identifier, created_at=now
    )
    under_way = "the request with this Idempotency-Key is still under way; ask again in a moment"
    try:
        with store.begin() as session:
            row = session.get(IdempotencyKey, (caller, _name(key)), with_for_update=True)
            # A row from far in the future is of a clock that went back.
            if row is None or row.created_at + KEPT_S <= now:
                session.merge(fresh)
                return Claim(identifier, now)
            unanswered = row.status == UNDER_WAY and not now - UNDER_WAY_S < row.created_at <= now + MOST_SKEW_S
            if row.request_sha256 != request_sha256 and unanswered:  # the try of before came to nothing
                row.request_sha256, row.body, row.created_at = request_sha256, identifier, now
                return Claim(identifier, now)
            if row.request_sha256 != request_sha256:
                raise Conflict("this Idempotency-Key came with another request; use a new key for a new request")
            if row.status != UNDER_WAY:
                return Answer(row.status, **json.loads(_cipher(key).decrypt(row.body)))
            if not unanswered:
                raise UnderWay(under_way)
            row.created_at = now
            return Claim(row.body, None)
    except IntegrityError:  # the same POST came twice at the same moment
        raise UnderWay(under_way) from None


def keep(store: Store, caller: str, key: str, claimed: Claim, answer: Answer) -> None:
    """Note the answer to a POST that was claimed, unless the key is another request's by now."""
    with store.begin() as session:
        row = session.get(IdempotencyKey, (caller, _name(key)))
        if row is not None and row.body == claimed.identifier:
            told = json.dumps({"body": answer.body, "headers": answer.headers})
            row.status, row.body = answer.status, _cipher(key).encrypt(told.encode()).decode()


def release(store: Store, caller: str, key: str, claimed: Claim) -> None:
    """The POST that was claimed was refused: the next one with this key is done, whatever it asks for.

    Where another try may be at it, the key and its identifier are left to that one.
    """
    with store.begin() as session:
        session.execute(
            delete(IdempotencyKey).where(
                IdempotencyKey.caller == caller,
                IdempotencyKey.key == _name(key),
                IdempotencyKey.status == UNDER_WAY,
                IdempotencyKey.created_at == claimed.began_at,
            )
        )


def once(session: Session, store: Store, caller: Caller, form: str | None) -> None:
    """Note, in the transaction that makes what a form asks for, that `form` was sent; None for no form.

    Such a form makes a secret that is told once: there is no answer to keep. Raises AlreadyMade where it came before.
    """
    if form is None:
        return
    sent_by = f"{FORM}{caller.id}"
    told = "this form was sent before, and what it made was told then"
    if session.get(IdempotencyKey, (sent_by, _name(form)), with_for_update=True) is not None:
        raise AlreadyMade(told)
    row = IdempotencyKey(caller=sent_by, key=_name(form), request_sha256="", status=DONE, body="")
    row.created_at = store.clock()
    session.add(row)
    try:
        session.flush()
    except IntegrityError:  # it came twice at the same moment
        raise AlreadyMade(told) from None


def forget(store: Store) -> None:
    """Drop the answers that are older than a day, and the forms that no browser can send again."""
    now = store.clock()
    answers = and_(IdempotencyKey.created_at <= now - KEPT_S, IdempotencyKey.caller.not_like(f"{FORM}%"))
    with store.begin() as session:
        session.execute(delete(IdempotencyKey).where(or_(answers, IdempotencyKey.created_at <= now - FORMS_KEPT_S)))


def _name(key: str) -> str:
    return hashlib.sha256(f"name {key}".encode()).hexdigest()


def _cipher(key: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(f"cipher {key}".encode()).digest()))
