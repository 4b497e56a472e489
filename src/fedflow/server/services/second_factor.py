"""The second factor: a code that a person's device makes every half minute (TOTP, RFC 6238), and codes for its loss."""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass

import pyotp
from cryptography.fernet import Fernet
from sqlalchemy import select

from fedflow.server.database.people import Person
from fedflow.server.errors import Conflict, Forbidden, Unprocessable
from fedflow.server.services import audit, idempotency, letters
from fedflow.server.services.identity import Caller, secret_hash
from fedflow.server.store import Store

STEP_S = 30
WINDOW = 1
"""Steps before and after the present one that are taken, as clocks differ."""

USED = "this code, or a later one, was used already; wait for the next one that your device shows"

RECOVERY_CODES = 10
ISSUER = "FedFlow"


@dataclass(frozen=True)
class Begun:
    """What the person's device needs: the secret in base32, and the same as an address for a QR code."""

    secret: str
    address: str


def begin(store: Store, caller: Caller) -> Begun:
    """A secret for the caller's device; it counts once `confirm` has seen a code of it.

    Raises Conflict where the account has a second factor already.
    """
    secret = pyotp.random_base32()
    with store.begin() as session:
        person = session.get_one(Person, caller.id)
        if person.totp_at is not None:
            raise Conflict("this account has a second factor already; take it off first to set up another device")
        person.totp = _cipher(store).encrypt(secret.encode()).decode()
        return _begun(person, secret)


def begun(store: Store, caller: Caller) -> Begun | None:
    """The secret that `begin` made and no code has confirmed yet; None where there is none."""
    with store.read() as session:
        person = session.get_one(Person, caller.id)
        if person.totp is None or person.totp_at is not None:
            return None
        return _begun(person, _cipher(store).decrypt(person.totp).decode())


def is_on(store: Store, caller: Caller) -> bool:
    """Whether the caller's sign-in asks for a code."""
    with store.read() as session:
        return session.get_one(Person, caller.id).totp_at is not None


def confirm(store: Store, caller: Caller, code: str, letter_in: str | None = None) -> list[str]:
    """Ask for the second factor from now on. Returns codes for the loss of the device, which are told this once.

    letter_in: as in `letters.tell_of`.

    Raises Unprocessable where the code is not the device's, or counts no more.
    """
    codes = _fresh_codes()
    with store.begin() as session:
        person = session.scalars(select(Person).where(Person.id == caller.id).with_for_update()).one()
        if person.totp is None or person.totp_at is not None or not _uses(store, person, code):
            if person.totp is not None and was_used(store, person, code):
                raise Unprocessable(USED)
            raise Unprocessable("code: is not the one that your device shows now; check its clock, and try again")
        person.totp_at, person.recovery = store.clock(), [secret_hash(each) for each in codes]
        letters.tell_of(session, store, person, "second factor set up", letter_in)
        audit.record(session, store, caller, "second factor set up", "person", person.id)
    return codes


def codes_left(store: Store, caller: Caller) -> int:
    """How many codes for the loss of the device the caller has not used."""
    with store.read() as session:
        return len(session.get_one(Person, caller.id).recovery)


def renew_codes(store: Store, caller: Caller, *, form: str | None = None, letter_in: str | None = None) -> list[str]:
    """New codes for the loss of the device in place of all before, told this once.

    form: identifier of the page that asks for them, which makes them once however often it is sent.
    letter_in: as in `letters.tell_of`.

    Raises Conflict where the caller's sign-in asks for no second factor, AlreadyMade.
    """
    codes = _fresh_codes()
    with store.begin() as session:
        idempotency.once(session, store, caller, form and f"recovery {form}")
        person = session.scalars(select(Person).where(Person.id == caller.id).with_for_update()).one()
        if person.totp_at is None:
            raise Conflict("this account has no second factor any more; set it up first")
        person.recovery = [secret_hash(each) for each in codes]
        letters.tell_of(session, store, person, "recovery codes renewed", letter_in)
        audit.record(session, store, caller, "recovery codes renewed", "person", person.id)
    return codes


def _fresh_codes() -> list[str]:
    return [f"{secrets.token_hex(3)}-{secrets.token_hex(3)}" for _ in range(RECOVERY_CODES)]


def take_off(store: Store, caller: Caller, person_id: str, letter_in: str | None = None) -> None:
    """Let a person sign in with the password alone.

    letter_in: as in `letters.tell_of`.

    Raises Forbidden for another's account, but by an administrator.
    """
    if caller.id != person_id and not caller.is_admin:
        raise Forbidden("this is another's account")
    with store.begin() as session:
        person = session.scalars(select(Person).where(Person.id == person_id).with_for_update()).one()
        if person.totp_at is not None:
            own = caller.id == person_id
            change: letters.Change = "second factor taken off" if own else "second factor taken off by an administrator"
            letters.tell_of(session, store, person, change, letter_in)
        person.totp, person.totp_at, person.recovery = None, None, []
        audit.record(session, store, caller, "second factor taken off", "person", person_id)


def is_right(store: Store, person: Person, code: str) -> bool:
    """Whether `code` is the device's now, or a recovery code, or none is wanted; it is used up with the transaction."""
    if person.totp_at is None:
        return True
    if _uses(store, person, code):
        return True
    typed = "".join(code.split()).replace("-", "").lower()
    half = len(typed) // 2
    digest = secret_hash(f"{typed[:half]}-{typed[half:]}")
    left = [kept for kept in person.recovery if not hmac.compare_digest(kept, digest)]
    used = len(left) < len(person.recovery)
    person.recovery = left
    return used


def was_used(store: Store, person: Person, code: str) -> bool:
    """Whether `code` is one of the device's that counts no more, as it or a later one was used.

    Who has the password may know it: such a code lets nobody in, and tells nothing of those to come.
    """
    totp, step = _codes(store, person), int(store.clock() // STEP_S)
    spent = range(step - WINDOW, min(step + WINDOW, person.totp_used) + 1)
    return any(_is_code(totp.generate_otp(candidate), code) for candidate in spent)


def _begun(person: Person, secret: str) -> Begun:
    address = pyotp.TOTP(secret).provisioning_uri(name=person.email or person.name, issuer_name=ISSUER)
    return Begun(secret, address)


def _uses(store: Store, person: Person, code: str) -> bool:
    """A code counts once: whoever looks over a shoulder comes too late."""
    totp = _codes(store, person)
    step = int(store.clock() // STEP_S)
    for candidate in range(step - WINDOW, step + WINDOW + 1):
        if candidate > person.totp_used and _is_code(totp.generate_otp(candidate), code):
            person.totp_used = candidate
            return True
    return False


def _codes(store: Store, person: Person) -> pyotp.TOTP:
    return pyotp.TOTP(_cipher(store).decrypt(person.totp or "").decode())


def _is_code(right: str, given: str) -> bool:
    """Whether a code is the right one, blanks of any kind left out; other digits than ASCII's are none."""
    return hmac.compare_digest(right.encode(), "".join(given.split()).encode("utf-8", "surrogatepass"))


def _cipher(store: Store) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(store.key("second factor")))
