"""Signing in with address and password, and the browsers that are signed in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session

from fedflow.server.database.inserts import insert
from fedflow.server.database.people import Attempts, Departure, Link, Person, SignIn
from fedflow.server.errors import ApiError, Forbidden, NotFound, Unauthorised
from fedflow.server.services import audit, passwords, second_factor
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import SCOPES, Caller, secret_hash
from fedflow.server.services.networks import network
from fedflow.server.store import Store

LONGEST_S = 30 * 86_400.0
IDLE_S = 7 * 86_400.0
FRESH_S = 900.0
SEEN_EVERY_S = 60.0
"""How often it is written down that a browser was seen."""

FREE_FAILURES = 5
"""Wrong tries for one account that one caller has before it waits."""

MOST_FAILURES = 100
"""Wrong tries for one account, by whomever, before everybody waits: NIST SP 800-63B-4, 3.2.2. A few strangers cannot
keep somebody out of their account, and many callers together guess no more than this."""

FIRST_LOCK_S, LONGEST_LOCK_S = 30.0, 900.0
TRIES_KEPT_S = 86_400.0
LONGEST_AGENT = 200

WRONG = "the address, the password or the code is wrong, or there were too many tries; wait a while and try again"
"""One sentence for all of it: it tells nobody which addresses have accounts."""

NEEDS_CODE = "enter the code that your second device shows, or one of your recovery codes"

PERSON_OF_COOKIE = (
    select(
        SignIn.id,
        SignIn.person_id,
        SignIn.created_at,
        SignIn.seen_at,
        SignIn.fresh_at,
        Person.name,
        Person.is_admin,
        Person.locale,
        Person.disabled_at,
        Person.deleted_at,
    )
    .join(Person, Person.id == SignIn.person_id)
    .where(SignIn.hash == bindparam("hash"))
)


Tries = list[tuple[Attempts, int]]
"""Lines of wrong tries, each with how many it has before it waits; a wrong try counts in all of them."""


class NeedsCode(ApiError):  # noqa: N818 - what is wanted
    """Address and password are right, and the account has a second factor."""

    status = 401
    code = "needs_code"


@dataclass(frozen=True)
class Browser:
    """One signed-in browser, as its owner sees it."""

    id: str
    agent: str
    address: str
    created_at: float
    seen_at: float


@dataclass(frozen=True)
class SignedIn:
    """Who uses a browser; `is_fresh`: they gave their password a short while ago."""

    caller: Caller
    locale: str | None
    is_fresh: bool


def sign_in(store: Store, email: str, password: str, code: str, agent: str, address: str) -> str:
    """Sign a browser in, and return the text of its cookie.

    Takes as long for an address without account. After FREE_FAILURES wrong tries the caller waits for the account,
    after MOST_FAILURES everybody does, longer after each.

    Raises Unauthorised with one sentence for all that may be wrong, but for a code that was used, once all else is
    right; and NeedsCode where only the second factor lacks.
    """
    address_given = email.strip().lower()
    with store.read() as session:
        found = session.scalar(select(Person).where(Person.email == address_given))
    right = passwords.is_right(password, None if found is None else found.password)
    cookie = secrets.token_urlsafe(32)
    with store.begin() as session:
        tries = _tries(session, address_given, address)
        person = None if found is None else session.get(Person, found.id, with_for_update=True)
        right = right and person is not None and found is not None and person.password == found.password
        outcome = _outcome(store, tries, person, code) if right else WRONG
        if not outcome and person is not None:
            if passwords.is_outdated(person.password or ""):
                person.password = passwords.hashed(password)
            _begin(session, store, person, cookie, agent, address, wrong_tries=_forgiven(session, tries))
        if outcome not in ("", NEEDS_CODE):
            _failed(session, store, tries, person, address)
    return _told(cookie, outcome)


def enter(store: Store, person_id: str, code: str, agent: str, address: str, issuer: str) -> str:
    """Sign a browser in whose reader the OpenID provider `issuer` has told apart, and return the text of its cookie.

    An account's second factor is asked for here too: what the provider asked for is not known. Raises as `sign_in`.
    """
    cookie = secrets.token_urlsafe(32)
    with store.begin() as session:
        # What strangers try with the password locks nobody out here.
        tries = [(_line(session, secret_hash(f"{issuer} {person_id}")), FREE_FAILURES)]
        person = session.get(Person, person_id, with_for_update=True)
        outcome = _outcome(store, tries, person, code)
        if not outcome and person is not None:
            wrong = _forgiven(session, tries)
            _begin(session, store, person, cookie, agent, address, wrong_tries=wrong, provider=issuer)
        if outcome not in ("", NEEDS_CODE):
            _failed(session, store, tries, person, address)
    return _told(cookie, outcome)


def _outcome(store: Store, tries: Tries, person: Person | None, code: str) -> str:
    """What keeps a person out whose password or provider is right: '' where nothing does."""
    if person is None or _waits(store, tries):
        return WRONG
    if person.disabled_at is not None or person.deleted_at is not None:
        return WRONG
    if person.totp_at is not None and not code:
        return NEEDS_CODE
    if second_factor.is_right(store, person, code):
        return ""
    return second_factor.USED if second_factor.was_used(store, person, code) else WRONG


def _told(cookie: str, outcome: str) -> str:
    if outcome == NEEDS_CODE:
        raise NeedsCode(NEEDS_CODE)
    if outcome:
        raise Unauthorised(outcome)
    return cookie


def _tries(session: Session, email: str, source: str) -> Tries:
    """The lines of this address, and of it and this caller, locked until the transaction ends."""
    whole = secret_hash(email)
    own = f"{whole}.{secret_hash(network(source))}"
    return [(_line(session, whole), MOST_FAILURES), (_line(session, own), FREE_FAILURES)]


def unlock(session: Session, email: str) -> None:
    """Forget all wrong tries for an address, by whomever; in the caller's transaction."""
    whole = secret_hash(email)
    session.execute(delete(Attempts).where((Attempts.address == whole) | Attempts.address.startswith(f"{whole}.")))


def _forgiven(session: Session, tries: Tries) -> int:
    """Forget wrong tries, and say how many there were, by whomever: the entry of the sign-in that follows has them."""
    for line, _ in tries:
        session.delete(line)
    return max(line.failures for line, _ in tries)


def _waits(store: Store, tries: Tries) -> bool:
    return any(line.locked_until > store.clock() for line, _ in tries)


def _line(session: Session, digest: str) -> Attempts:
    """The line of tries of this name, locked until the transaction ends, made where there is none."""
    found = session.get(Attempts, digest, with_for_update=True)
    if found is not None:
        return found
    fresh = {"address": digest, "failures": 0, "locked_until": 0.0, "tried_at": 0.0}
    session.execute(insert(session, Attempts).values(fresh).on_conflict_do_nothing())  # two may come at once
    return session.get_one(Attempts, digest, with_for_update=True)


def _begin(
    session: Session,
    store: Store,
    person: Person,
    cookie: str,
    agent: str,
    address: str,
    *,
    wrong_tries: int,
    **told: str,
) -> None:
    now = store.clock()
    row = SignIn(hash=secret_hash(cookie), id=new_id(), person_id=person.id, agent=agent[:LONGEST_AGENT])
    row.address, row.created_at, row.seen_at, row.fresh_at = address, now, now, now
    session.add(row)
    session.flush()
    caller = Caller("person", person.id, name=person.name, via=f"sign-in {row.id}", address=address)
    facts = {"agent": row.agent, **told, **({"wrong_tries": wrong_tries} if wrong_tries else {})}
    audit.record(session, store, caller, "signed in", "person", person.id, None, **facts)


def _failed(session: Session, store: Store, tries: Tries, person: Person | None, address: str) -> None:
    """Count a wrong try; while who tries has to wait, tries are not counted, or they could make others wait."""
    if _waits(store, tries):
        return
    now, wait_s = store.clock(), 0.0
    for line, free in tries:
        line.failures, line.tried_at = line.failures + 1, now
        beyond = line.failures - free
        if beyond >= 0:
            line_s = min(LONGEST_LOCK_S, FIRST_LOCK_S * 2.0 ** min(beyond, 20))
            line.locked_until, wait_s = now + line_s, max(wait_s, line_s)
    if person is not None and wait_s:
        caller = Caller("person", "", name="somebody", via="sign-in page", address=address)
        audit.record(session, store, caller, "account locked", "person", person.id, None, seconds=wait_s)


def who(store: Store, cookie: str, address: str) -> SignedIn | None:
    """Who is signed in with this cookie, by what the database says now; None where nobody is any more."""
    now = store.clock()
    digest = secret_hash(cookie)
    with store.read() as session:
        row = session.execute(PERSON_OF_COOKIE, {"hash": digest}).one_or_none()
    if row is None or row.disabled_at is not None or row.deleted_at is not None:
        return None
    if now >= min(row.created_at + LONGEST_S, row.seen_at + IDLE_S):
        return None
    if now - row.seen_at >= SEEN_EVERY_S:
        with store.begin() as session:
            session.execute(update(SignIn).where(SignIn.hash == digest).values(seen_at=now, address=address))
    caller = Caller(
        "person",
        row.person_id,
        name=row.name,
        via=f"sign-in {row.id}",
        address=address,
        is_admin=row.is_admin,
        scopes=frozenset(SCOPES),
    )
    return SignedIn(caller, row.locale, now - row.fresh_at < FRESH_S)


def browsers(store: Store, caller: Caller) -> list[Browser]:
    """The caller's signed-in browsers, the one used last first."""
    query = select(SignIn).where(SignIn.person_id == caller.id).order_by(SignIn.seen_at.desc())
    since = store.clock()
    with store.read() as session:
        return [
            Browser(row.id, row.agent, row.address, row.created_at, row.seen_at)
            for row in session.scalars(query)
            if since < min(row.created_at + LONGEST_S, row.seen_at + IDLE_S)
        ]


def confirm(store: Store, caller: Caller, password: str) -> None:
    """Make the caller's sign-in fresh again. Raises Forbidden where the password is wrong.

    Who has no password, since a provider signs them in, has confirmed it by signing in a short while ago.
    """
    with store.read() as session:
        person = session.get_one(Person, caller.id)
        begun = session.scalar(select(SignIn.fresh_at).where(SignIn.id == _own(caller)))
    if person.password is None:
        if begun is None or store.clock() - begun >= FRESH_S:
            raise Forbidden("you signed in too long ago for this; sign out, sign in with your provider, and do it then")
        return
    right = passwords.is_right(password, person.password)
    with store.begin() as session:
        tries = _tries(session, person.email or caller.id, caller.address)
        right = right and not _waits(store, tries)
        if right:
            _forgiven(session, tries)
            session.execute(update(SignIn).where(SignIn.id == _own(caller)).values(fresh_at=store.clock()))
        else:
            _failed(session, store, tries, person, caller.address)
    if not right:
        raise Forbidden("the password is wrong, or there were too many tries; wait a while and try again")


def renew(store: Store, caller: Caller) -> str:
    """The text of another cookie for the caller's browser; whoever knows the one before is out."""
    cookie = secrets.token_urlsafe(32)
    with store.begin() as session:
        session.execute(update(SignIn).where(SignIn.id == _own(caller)).values(hash=secret_hash(cookie)))
    return cookie


def has_password(store: Store, caller: Caller) -> bool:
    """Whether the caller has a password to confirm things with."""
    with store.read() as session:
        return session.scalar(select(Person.password.is_not(None)).where(Person.id == caller.id)) or False


def _own(caller: Caller) -> str:
    """The identifier of the caller's own sign-in."""
    return caller.via.removeprefix("sign-in ")


def end(store: Store, caller: Caller, browser_id: str) -> None:
    """Sign one of the caller's browsers out. Raises NotFound where there is none of that identifier."""
    with store.begin() as session:
        mine = delete(SignIn).where(SignIn.person_id == caller.id, SignIn.id == browser_id)
        agent = session.scalar(mine.returning(SignIn.agent))
        if agent is None:
            raise NotFound("there is no such sign-in")
        audit.record(session, store, caller, "signed out", "sign-in", browser_id, None, agent=agent)


def end_others(store: Store, caller: Caller) -> None:
    """Sign all browsers of the caller out but the one that asks."""
    with store.begin() as session:
        end_all(session, caller.id, _own(caller))
        audit.record(session, store, caller, "other browsers signed out", "person", caller.id)


def end_all(session: Session, person_id: str, but: str = "") -> None:
    """Sign all browsers of a person out but the one of the identifier `but`; in the caller's transaction."""
    session.execute(delete(SignIn).where(SignIn.person_id == person_id, SignIn.id != but))


def forget(store: Store) -> None:
    """Drop the sign-ins and links that are over, and wrong tries of long ago."""
    now = store.clock()
    over = (SignIn.created_at <= now - LONGEST_S) | (SignIn.seen_at <= now - IDLE_S)
    with store.begin() as session:
        session.execute(delete(SignIn).where(over))
        session.execute(delete(Attempts).where(Attempts.tried_at <= now - TRIES_KEPT_S))
        session.execute(delete(Departure).where(Departure.expires_at <= now))
        session.execute(delete(Link).where(Link.expires_at <= now))
