"""People's accounts: made by invitation or registration, changed, closed."""

from __future__ import annotations

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fedflow.server.database.people import (
    Departure,
    Identity,
    Invitation,
    Letter,
    Link,
    Person,
    PersonToken,
    Role,
)
from fedflow.server.errors import Conflict, Forbidden, Gone, NotFound, Unprocessable
from fedflow.server.services import audit, invitations, letters, links, passwords, role_changes, sign_in, tryouts
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import FIRST, Caller
from fedflow.server.services.names import is_shown
from fedflow.server.store import Store

LONGEST_NAME = 80
LOCALES = ("en", "uk")


def register(store: Store, name: str, email: str, password: str, code: str | None, address: str) -> str:
    """Make an account and return the person's identifier; an invitation's `code` gives it a role.

    Without a code only where the server lets everybody register, which is the caller's to know.

    Raises:
        Unprocessable: name, address or password cannot be taken.
        NotFound, Gone: the invitation is unknown, used, or has expired.
        Conflict: the address has an account; it signs in, and takes up the invitation then.
    """
    shown, known_as = checked_name(name), checked_email(email)
    passwords.check(password, shown, known_as)
    kept = passwords.hashed(password)
    try:
        with store.begin() as session:
            return make(session, store, shown, known_as, kept, code, address).id
    except IntegrityError:
        if code is None:
            raise Conflict("email: this address has an account already; sign in with it") from None
        raise Conflict("this address has an account already; sign in, and open the invitation again") from None


def make(
    session: Session, store: Store, name: str, email: str, password: str | None, code: str | None, address: str
) -> Person:
    """A new account in the caller's transaction; `password` is what is kept of it, none for who comes by a provider.

    Raises NotFound, Gone and Forbidden as `invitations.open_`, IntegrityError where the address has an account.
    """
    invitation = None if code is None else invitations.open_(session, store, code, email)
    first = invitation is not None and invitation.is_admin and _is_unclaimed(session)
    person = session.get_one(Person, FIRST) if first else Person(id=new_id(), created_at=store.clock())
    person.name, person.email, person.password = name, email, password
    if not first:
        person.is_admin, person.totp_used, person.recovery = False, 0, []
        session.add(person)
    session.flush()
    caller = Caller("person", person.id, name=name, via="registration", address=address)
    audit.record(session, store, caller, "account made", "person", person.id)
    if invitation is not None:
        invitations.take_up(session, store, caller, invitation, person, code or "")
    return person


def _is_unclaimed(session: Session) -> bool:
    """Whether the person that the server made for its first coordinator has no address yet."""
    person = session.get(Person, FIRST, with_for_update=True)
    return person is not None and person.email is None and person.deleted_at is None


def rename(store: Store, caller: Caller, name: str, locale: str | None) -> None:
    """What the caller is called, and the language of their pages (None: the browser's)."""
    shown = checked_name(name)
    if locale not in (None, *LOCALES):
        raise Unprocessable(f"locale: is none of {', '.join(LOCALES)}")
    with store.begin() as session:
        person = session.get_one(Person, caller.id)
        told = {"before": person.name, "name": shown} if person.name != shown else {}
        person.name, person.locale = shown, locale
        audit.record(session, store, caller, "account changed", "person", caller.id, None, **told)


def change_password(
    store: Store, caller: Caller, old: str, new: str, *, ends_tokens: bool, letter_in: str | None = None
) -> None:
    """Take another password; all other browsers are signed out, and API tokens end where that is wished.

    letter_in: as in `letters.tell_of`.

    Raises Forbidden where the old one is wrong.
    """
    sign_in.confirm(store, caller, old)
    with store.begin() as session:
        person = session.get_one(Person, caller.id)
        _set_password(session, person, new)
        sign_in.end_all(session, caller.id, caller.via.removeprefix("sign-in "))
        ended = _end_tokens(session, store, caller.id) if ends_tokens else 0
        letters.tell_of(session, store, person, "password changed", letter_in)
        audit.record(session, store, caller, "password changed", "person", caller.id, tokens_ended=ended)


def reset_password(store: Store, code: str, new: str, address: str, letter_in: str | None = None) -> int:
    """Set a password by a link that an administrator, or the server by e-mail, gave; how many identities stay linked.

    All browsers are signed out, all API tokens end, and wrong tries of before count no more, so that it can be used at
    once. A link that came by e-mail confirms the address. Where nobody had confirmed it before, somebody else may have
    made the account: identities and a second factor end too.

    letter_in: as in `letters.tell_of`.

    Raises Gone for a link that is unknown, used or over.
    """
    with store.begin() as session:
        link = links.use(session, store, code, "password")
        _forget_tries(session, link.person_id)
        person = session.get_one(Person, link.person_id, with_for_update=True)
        _set_password(session, person, new)
        sign_in.end_all(session, person.id)
        ended = _end_tokens(session, store, person.id)
        if link.about and link.about == person.email and person.confirmed_at is None:
            person.confirmed_at = store.clock()
            person.totp, person.totp_at, person.recovery = None, None, []
            session.execute(delete(Identity).where(Identity.person_id == person.id))
        letters.tell_of(session, store, person, "password set by link", letter_in)
        caller = Caller("person", person.id, name=person.name, via="link", address=address)
        audit.record(session, store, caller, "password set by link", "person", person.id, tokens_ended=ended)
        of_person = select(func.count()).select_from(Identity).where(Identity.person_id == person.id)
        return session.scalar(of_person) or 0


def change_email(store: Store, caller: Caller, password: str, email: str, letter_in: str | None = None) -> None:
    """Sign in with another address from now on; it is not confirmed yet.

    letter_in: language of the letter with which it is confirmed, and of the one that tells the address before; None
    writes none.

    Raises Unprocessable where it is none, Forbidden where the password is wrong, Conflict where it has an account.
    """
    known_as = checked_email(email)
    sign_in.confirm(store, caller, password)
    try:
        with store.begin() as session:
            person = session.get_one(Person, caller.id, with_for_update=True)
            if person.email != known_as:
                to = audit.shortened(known_as) or ""
                letters.tell_of(session, store, person, "address changed", letter_in, to=to)
            before, person.email, person.confirmed_at = person.email, known_as, None
            session.execute(delete(Link).where(Link.person_id == caller.id))
            session.flush()
            if letter_in is not None:
                letters.write(session, store, "address", known_as, letter_in, caller.id)
            told = {"before": audit.shortened(before), "email": audit.shortened(known_as)}
            audit.record(session, store, caller, "address changed", "person", caller.id, None, **told)
    except IntegrityError:
        raise Conflict("email: another account has this address") from None


def confirm_address(store: Store, caller: Caller, code: str) -> None:
    """Note that the caller reads what is sent to their account's address, by a link that was sent there.

    They have to be signed in: who got the link for an account that somebody else made with their address would
    confirm it for that one.

    Raises Gone for a link that is unknown, used or over, or was made for an address that the account had before,
    Forbidden for another account's.
    """
    with store.begin() as session:
        link = links.use(session, store, code, "address")
        if link.person_id != caller.id:
            raise Forbidden("this link confirms the address of another account; sign in with that one")
        person = session.get_one(Person, link.person_id, with_for_update=True)
        if person.email != link.about:
            raise Gone(links.OVER)
        person.confirmed_at = store.clock()
        audit.record(session, store, caller, "address confirmed", "person", person.id)


def _forget_tries(session: Session, person_id: str) -> None:
    """Let wrong tries with the person's address count no more. As at a sign-in, before the person's row is held."""
    email = session.scalar(select(Person.email).where(Person.id == person_id))
    if email is not None:
        sign_in.unlock(session, email)


def _end_tokens(session: Session, store: Store, person_id: str) -> int:
    """Revoke a person's tokens; returns how many.

    The one in the server's own folder has no end and stays, as who can read it can read the server's key beside it.
    """
    own = (PersonToken.person_id == person_id, PersonToken.revoked_at.is_(None), PersonToken.expires_at.is_not(None))
    ended = update(PersonToken).where(*own).values(revoked_at=store.clock()).returning(PersonToken.id)
    return len(session.scalars(ended).all())


def _set_password(session: Session, person: Person, password: str) -> None:
    passwords.check(password, person.name, person.email or "")
    person.password = passwords.hashed(password)
    session.flush()


def disable(store: Store, caller: Caller, person_id: str, *, disabled: bool) -> None:
    """Shut a person's account, all browsers and tokens, or open it again.

    Raises NotFound; Conflict for one's own, and where the server would be left without an administrator.
    """
    if person_id == caller.id:
        raise Conflict("this is your own account; another administrator can shut it")
    with store.begin() as session:
        _lock_admins(session)
        person = session.get(Person, person_id, with_for_update=True)
        if person is None or person.deleted_at is not None:
            raise NotFound(f"there is no person {person_id}")
        person.disabled_at = store.clock() if disabled else None
        session.flush()
        if disabled and person.is_admin:
            _check_admins(session)
        sign_in.end_all(session, person_id)
        audit.record(session, store, caller, f"account {'shut' if disabled else 'opened'}", "person", person_id)


def make_admin(store: Store, caller: Caller, person_id: str, *, is_admin: bool) -> None:
    """Let somebody do everything on this server, or no longer. Raises Conflict where nobody would be left to do it."""
    with store.begin() as session:
        _lock_admins(session)
        person = session.get(Person, person_id, with_for_update=True)
        if person is None or person.deleted_at is not None:
            raise NotFound(f"there is no person {person_id}")
        person.is_admin = is_admin
        session.flush()
        _check_admins(session)
        audit.record(session, store, caller, f"administrator {'made' if is_admin else 'unmade'}", "person", person_id)


def delete_account(store: Store, caller: Caller, password: str, typed: str = "") -> None:
    """Close the caller's account for good: name, address, password, roles, browsers, tokens, open invitations go.

    What their federations made stays with these, and leads to no name. The audit log keeps their entries with the name
    and the network address of then: it is a chain, of which nothing is taken out, so that others can rely on it.

    typed: their own address, in the place of the password of who has none.

    Raises Forbidden where the password is wrong, Unprocessable where the address is another, Conflict where a
    federation or the server would be left without an administrator.
    """
    sign_in.confirm(store, caller, password)
    with store.begin() as session:
        _forget_tries(session, caller.id)
        _lock_admins(session)
        person = session.get_one(Person, caller.id, with_for_update=True)
        mine = (Role.person_id == caller.id, Role.role == "administrator")
        administered = session.scalars(select(Role.federation_id).where(*mine)).all()
        if person.password is None and typed.strip().lower() != person.email:
            raise Unprocessable("email: this is not your account's address; type that one to delete the account")
        person.is_admin, person.deleted_at = False, store.clock()
        session.flush()
        _check_admins(session)
        person.name, person.email, person.password, person.totp, person.totp_at = (
            "closed account",
            None,
            None,
            None,
            None,
        )
        person.recovery, person.locale = [], None
        sign_in.end_all(session, caller.id)
        for table in (Role, Link, Identity, Departure, Letter):
            session.execute(delete(table).where(table.person_id == caller.id))
        role_changes.check_administered(session, administered)
        tryouts.forget(session, caller.id)
        sent = (Invitation.created_by == caller.id, Invitation.used_at.is_(None))
        session.execute(delete(Invitation).where(*sent))
        session.execute(update(Invitation).where(Invitation.used_by == caller.id).values(email=None))
        for token in session.scalars(select(PersonToken).where(PersonToken.person_id == caller.id)):
            token.revoked_at, token.name = token.revoked_at or store.clock(), ""
        audit.record(session, store, caller, "account closed", "person", caller.id)


def _lock_admins(session: Session) -> None:
    """Let one after the other change who administers the server: two at once might each leave it to the other."""
    session.execute(select(Person.id).where(Person.is_admin).order_by(Person.id).with_for_update())


def _check_admins(session: Session) -> None:
    # A token alone is no way in: the server's first coordinator counts while its account is open.
    query = select(Person.id).where(Person.is_admin, Person.deleted_at.is_(None), Person.disabled_at.is_(None))
    if session.scalar(query.limit(1)) is None:
        raise Conflict("the server would be left without an administrator; make somebody else one first")


def checked_name(name: str) -> str:
    """A person's name in one line. Raises Unprocessable."""
    shown = " ".join(name.split())
    if not 1 <= len(shown) <= LONGEST_NAME or not is_shown(shown):
        raise Unprocessable(f"name: give 1 to {LONGEST_NAME} letters in one line")
    return shown


def checked_email(email: str) -> str:
    """An address in small letters. Raises Unprocessable where it is none; nobody is asked whether it exists."""
    try:
        return validate_email(email.strip(), check_deliverability=False).normalized.lower()
    except EmailNotValidError as error:
        raise Unprocessable(f"email: {str(error).rstrip('.')}") from None


def require_self_or_admin(caller: Caller, person_id: str) -> None:
    """Raise Forbidden for another's account, unless the caller is an administrator of the server."""
    if caller.id != person_id and not caller.is_admin:
        raise Forbidden("this is another's account")
