"""Devices that are let in by a person who signs in, in place of a join code that a coordinator hands on.

As in RFC 8628: the device shows a short code, the person types it on the server's page and says as what the device
joins. The device's secret, which it alone knows, is a join code from then on; here is its hash.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fedflow.federation.protocol import SignInBegun, SignInState
from fedflow.server.database.people import DeviceSignIn
from fedflow.server.database.tables import Federation, Member
from fedflow.server.errors import Forbidden, Gone, NotFound, Unprocessable
from fedflow.server.services import devices, member_names, policies, roles
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store

LIFE_S = 900.0
"""How long a device may wait for its person, and then for its own joining."""

LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628, section 6.1: no vowels, so no words
GROUPS, GROUP_LETTERS = 2, 4


@dataclass(frozen=True)
class Asking:
    """A device that waits to be let in: its own name of itself, and where it calls from."""

    user_code: str
    device: str
    address: str
    created_at: float


@dataclass(frozen=True)
class Choice:
    """A federation that a person may let a device into: as `member`, for which they act, or as any they name."""

    federation_id: str
    federation: str
    member: str
    coordinates: bool


def begin(store: Store, device_name: str, address: str) -> SignInBegun:
    """Note that a device waits to be let in."""
    now = store.clock()
    code = devices.random_code()
    groups = ("".join(secrets.choice(LETTERS) for _ in range(GROUP_LETTERS)) for _ in range(GROUPS))
    user_code = "-".join(groups)
    row = DeviceSignIn(hash=devices.code_hash(code), user_code=user_code, device=device_name, address=address)
    row.created_at, row.expires_at = now, now + LIFE_S
    with store.begin() as session:
        session.execute(delete(DeviceSignIn).where(DeviceSignIn.expires_at <= now))
        session.add(row)
    return SignInBegun(code=code, user_code=user_code, expires_in_s=LIFE_S)


def state(store: Store, code: str) -> SignInState:
    """How the person answered. Raises NotFound where no device waits with this code, Gone where it was for too long."""
    query = (
        select(DeviceSignIn, Federation.name)
        .outerjoin(Federation, Federation.id == DeviceSignIn.federation_id)
        .where(DeviceSignIn.hash == devices.code_hash(code))
    )
    with store.read() as session:
        found = session.execute(query).one_or_none()
    if found is None:
        raise NotFound("no device waits with this code; begin to sign in anew")
    row, federation = found
    if row.expires_at <= store.clock():
        raise Gone("nobody has let this device in within its time; begin to sign in anew")
    if row.answered_at is None:
        return SignInState(state="waiting")
    if row.federation_id is None:
        return SignInState(state="refused")
    return SignInState(state="approved", federation=federation, member=row.member_name)


def asking(store: Store, user_code: str) -> Asking:
    """The device that shows this code. Raises NotFound, for one that was answered or has waited too long too."""
    with store.read() as session:
        row = _waiting(session, store, user_code)
        return Asking(row.user_code, row.device, row.address, row.created_at)


def choices(store: Store, caller: Caller) -> list[Choice]:
    """Where `caller` may let a device in: as a coordinator, or as who acts for a member where the rules allow it."""
    mine = roles.belongings(store, caller)
    found = [each for each in mine if roles.is_at_least(each.role, "participant") and not each.closed]
    members = select(Member.id, Member.name).where(Member.id.in_([each.member_id for each in found if each.member_id]))
    rules = select(Federation.id, Federation.policies).where(Federation.id.in_([each.federation_id for each in found]))
    with store.read() as session:
        acted_for = session.execute(members.where(Member.removed_at.is_(None)))
        names = {row.id: row.name for row in acted_for}
        own_devices = {
            identifier: policies.Policies.model_validate(kept).members.own_devices
            for identifier, kept in session.execute(rules)
        }
    offered = []
    for each in found:
        member, coordinates = names.get(each.member_id or "", ""), roles.is_at_least(each.role, "coordinator")
        if coordinates or (member and own_devices[each.federation_id]):
            offered.append(Choice(each.federation_id, each.federation, member, coordinates))
    return offered


def approve(store: Store, caller: Caller, user_code: str, federation_id: str, member: str = "") -> Asking:
    """Let the device in that shows `user_code`; it has LIFE_S to join.

    member: what a coordinator lets it join as; empty for the member that the caller acts for.

    Raises:
        NotFound: no device waits with this code, or the caller may know of no such federation.
        Forbidden: the caller may not let this device in there.
        Unprocessable: a coordinator who acts for no member named none, or what cannot be a member's name.
    """
    chosen = next((each for each in choices(store, caller) if each.federation_id == federation_id), None)
    if chosen is None:
        raise Forbidden("federation: you may let no device in there; ask its coordinator for a join code")
    member = " ".join(member.split()) or chosen.member
    if not member:
        raise Unprocessable("member: name the organisation that the device belongs to")
    if not chosen.coordinates:
        if not member_names.is_alike(member, chosen.member):
            raise Forbidden(f"member: you act for '{chosen.member}' there, and may let in its devices alone")
        member = chosen.member  # another may be called alike
    now = store.clock()
    with store.begin() as session:
        row = _waiting(session, store, user_code, locked=True)
        member = member_names.called(session, federation_id, member)
        row.answered_at, row.expires_at, row.federation_id, row.member_name = now, now + LIFE_S, federation_id, member
        devices.add_code(
            session, store, row.hash, federation_id, member, None, ttl_s=LIFE_S, by=caller, device=row.device
        )
        return Asking(row.user_code, row.device, row.address, row.created_at)


def refuse(store: Store, user_code: str) -> None:
    """Do not let the device in; it is told so. Raises NotFound where none waits with this code."""
    with store.begin() as session:
        _waiting(session, store, user_code, locked=True).answered_at = store.clock()


def _waiting(session: Session, store: Store, user_code: str, *, locked: bool = False) -> DeviceSignIn:
    letters = "".join(letter for letter in user_code.upper() if letter in LETTERS)
    written = "-".join(letters[at : at + GROUP_LETTERS] for at in range(0, len(letters), GROUP_LETTERS))
    query = select(DeviceSignIn).where(
        DeviceSignIn.user_code == written,
        DeviceSignIn.answered_at.is_(None),
        DeviceSignIn.expires_at > store.clock(),
    )
    row = session.scalar(query.with_for_update() if locked else query)
    if row is None:
        raise NotFound("code: no device waits with this code; compare it with the device's, or begin anew there")
    return row
