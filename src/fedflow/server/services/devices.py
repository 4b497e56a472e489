"""Participants' machines: they join with a one-time code, prove their Ed25519 key, and get short-lived tokens."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.orm import Session

from fedflow.federation.protocol import Challenged, Joined, JoinRequest, Token, TokenRequest, Told, signed_text
from fedflow.server.database.tables import Challenge, Device, DeviceToken, Federation, JoinCode, Member
from fedflow.server.errors import Conflict, Forbidden, Gone, NotFound, Unauthorised, Unprocessable
from fedflow.server.services import audit, events, idempotency, policies, shown_counts
from fedflow.server.services.federations import locked_federation
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import DEVICE_PREFIX, SERVER, Caller, new_token, secret_hash
from fedflow.server.services.policies import Policies
from fedflow.server.store import MOST_SKEW_S, Sighting, Store

CODE_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
CODE_GROUPS, GROUP_LETTERS = 4, 4  # 80 bits
LOOKALIKES = str.maketrans({"O": "0", "I": "1", "L": "1"})
PUBLIC_KEY_BYTES = 32

TOKEN_S = 900
CHALLENGE_S = 60

SEEN = (
    update(Device.__table__)  # type: ignore[arg-type]
    .where(
        Device.id == bindparam("known"),
        or_(Device.seen_at <= bindparam("at"), Device.seen_at > bindparam("latest")),
    )
    .values(seen_at=bindparam("at"), doing=bindparam("told"))
)
"""Another server may have heard of a device since; what is far in the future is of a clock that went back."""


def new_code(
    store: Store,
    federation_id: str,
    member_name: str,
    max_examples: int | None,
    *,
    ttl_s: float,
    by: Caller = SERVER,
    form: str | None = None,
) -> str:
    """A code with which one device joins as the member `member_name`, within `ttl_s`. Kept as its hash.

    max_examples: cap of the example count that the member's updates may claim, from the joining on; None leaves that of
        a member that is there, and gives a new one what the federation's rules say.
    form: identifier of the form that asks for it, which makes one code however often it is sent.
    Raises NotFound where there is no such federation, Conflict where it is closed, AlreadyMade.
    """
    code = random_code()
    with store.begin() as session:
        idempotency.once(session, store, by, form)
        add_code(session, store, code_hash(code), federation_id, member_name, max_examples, ttl_s=ttl_s, by=by)
    return code


def random_code() -> str:
    """A secret of 80 bits, as people can read it out."""
    groups = ("".join(secrets.choice(CODE_LETTERS) for _ in range(GROUP_LETTERS)) for _ in range(CODE_GROUPS))
    return "-".join(groups)


def add_code(
    session: Session,
    store: Store,
    hashed: str,
    federation_id: str,
    member_name: str,
    max_examples: int | None,
    *,
    ttl_s: float,
    by: Caller,
    **told: str,
) -> None:
    """Let one device join with the secret whose `code_hash` is `hashed`, in the caller's transaction; as `new_code`.

    `told` goes into the audit log besides.
    """
    now = store.clock()
    rules = policies.of_open(session, federation_id)
    if max_examples is None:
        known = select(Member.max_examples).where(Member.federation_id == federation_id, Member.name == member_name)
        max_examples = session.scalar(known) or rules.members.most_examples
    session.add(
        JoinCode(
            hash=hashed,
            federation_id=federation_id,
            member_name=member_name,
            max_examples=max_examples,
            created_at=now,
            expires_at=now + ttl_s,
        )
    )
    facts = {"member": member_name, "max_examples": max_examples, **told}
    audit.record(session, store, by, "join code made", "member", member_name, federation_id, **facts)


def join(store: Store, request: JoinRequest, address: str = "") -> Joined:
    """Register a device by its code. The same device asking again with its code gets the same answer.

    `address` is where it calls from, for the audit log.

    Raises:
        Unprocessable: the public key is none.
        NotFound: no such code.
        Gone: the code was used by another device, or has expired.
        Conflict: the key belongs to a device that has joined already, or the federation is closed or its rules
            leave no room.
    """
    _public_key(request.public_key)
    now = store.clock()
    with store.read() as session:  # anybody may ask: a guess costs no writer its turn
        _code(session, request)
    with store.begin() as session:
        code = _code(session, request, locked=True)
        federation = locked_federation(session, code.federation_id)
        known = session.execute(
            select(Device, Member)
            .join(Member, Member.id == Device.member_id)
            .where(Device.public_key == request.public_key, Device.revoked_at.is_(None))
        ).one_or_none()
        if code.used_at is not None:
            if known is None or (known[1].federation_id, known[1].name) != (federation.id, code.member_name):
                raise Gone("the join code was used already; ask the coordinator for another")
            return _joined(known[0], known[1], federation)
        if code.expires_at <= now:
            raise Gone("the join code has expired; ask the coordinator for another")
        if known is not None:
            raise Conflict(f"this machine's key has joined as '{known[1].name}' already; start it without a code")
        code.used_at = now
        rules = policies.of_open(session, federation.id)
        member = _member(session, code, now, rules)
        policies.check_devices(session, member, rules)
        device = Device(
            id=new_id(),
            member_id=member.id,
            name=request.device_name,
            public_key=request.public_key,
            version=request.version,
            created_at=now,
            seen_at=now,
        )
        session.add(device)
        session.flush()
        told = {"member": member.name, "device": device.name}
        events.record(session, store, federation.id, None, "device joined", **told)
        caller = Caller("device", device.id, name=device.name, via="join code", address=address)
        audit.record(session, store, caller, "device joined", "device", device.id, federation.id, **told)
        if request.shows_counts not in (None, member.shows_counts):
            shown_counts.note(session, store, caller, member, shown=request.shows_counts is True)
        return _joined(device, member, federation)


def _code(session: Session, request: JoinRequest, *, locked: bool = False) -> JoinCode:
    code = session.get(JoinCode, code_hash(request.code), with_for_update=locked)
    if code is None:
        raise NotFound("there is no such join code; check its spelling or ask the coordinator for another")
    return code


def challenge(store: Store, device_id: str) -> Challenged:
    """Something new for the device to sign within CHALLENGE_S.

    Raises NotFound where there is no such device, Forbidden where it or its member was shut out.
    """
    now = store.clock()
    nonce = secrets.token_urlsafe(32)
    with store.begin() as session:
        _active(session, device_id)
        session.execute(delete(Challenge).where(Challenge.expires_at <= now))
        session.add(Challenge(nonce=nonce, device_id=device_id, expires_at=now + CHALLENGE_S))
    return Challenged(nonce=nonce, expires_in_s=CHALLENGE_S)


def token(store: Store, request: TokenRequest) -> Token:
    """A token that holds for TOKEN_S, for a challenge signed with the device's key. A challenge serves once.

    Raises:
        NotFound: no such device.
        Forbidden: the device or its member was shut out.
        Unauthorised: the challenge is unknown, used or expired, or the signature is not this device's.
    """
    now = store.clock()
    with store.begin() as session:  # of its own: the challenge is used up, whatever the signature is
        expires_at = session.scalar(
            delete(Challenge)
            .where(Challenge.nonce == request.nonce, Challenge.device_id == request.device_id)
            .returning(Challenge.expires_at)
        )
    text, digest = new_token(DEVICE_PREFIX)
    with store.begin() as session:
        device = _active(session, request.device_id)
        if expires_at is None or expires_at <= now:
            raise Unauthorised("the challenge is unknown, used or expired; ask for a new one")
        try:
            _public_key(device.public_key).verify(
                _decoded(request.signature, "signature"), signed_text(device.id, request.nonce)
            )
        except InvalidSignature:
            raise Unauthorised(f"the signature is not by the key of device '{device.name}'") from None
        device.seen_at = now
        session.execute(delete(DeviceToken).where(DeviceToken.device_id == device.id, DeviceToken.expires_at <= now))
        session.add(DeviceToken(hash=digest, device_id=device.id, expires_at=now + TOKEN_S))
    return Token(token=text, expires_in_s=TOKEN_S)


def seen(store: Store, device_id: str, told: Iterable[Told]) -> None:
    """Note that a device has called, and what it does; it is written within seconds, together with others."""
    due = store.sightings.note(device_id, Sighting(store.clock(), {each.run: each.doing for each in told}))
    if due:
        latest = store.clock() + MOST_SKEW_S
        rows = [
            {"known": known, "at": last.at, "latest": latest, "told": last.doing} for known, last in sorted(due.items())
        ]
        with store.begin() as session:
            session.connection().execute(SEEN, rows)


def revoke(store: Store, device_id: str, by: Caller = SERVER) -> None:
    """Shut a device out, at once and for good. Twice changes nothing. Raises NotFound where there is none."""
    now = store.clock()
    with store.begin() as session:
        found = session.execute(
            select(Device, Member).join(Member, Member.id == Device.member_id).where(Device.id == device_id)
        ).one_or_none()
        if found is None:
            raise NotFound(f"there is no device {device_id}")
        device, member = found
        fresh = update(Device).where(Device.id == device_id, Device.revoked_at.is_(None)).values(revoked_at=now)
        if session.scalar(fresh.returning(Device.id)) is None:
            return
        session.execute(delete(Challenge).where(Challenge.device_id == device_id))
        events.record(
            session, store, member.federation_id, None, "device revoked", member=member.name, device=device.name
        )
        told = {"member": member.name, "device": device.name}
        audit.record(session, store, by, "device revoked", "device", device_id, member.federation_id, **told)


def _active(session: Session, device_id: str) -> Device:
    found = session.execute(
        select(Device, Member).join(Member, Member.id == Device.member_id).where(Device.id == device_id)
    ).one_or_none()
    if found is None:
        raise NotFound(f"there is no device {device_id}; join with a new code")
    device, member = found
    if device.revoked_at is not None or member.removed_at is not None:
        raise Forbidden(f"device '{device.name}' was revoked; ask the coordinator for a new join code")
    return device


def _member(session: Session, code: JoinCode, now: float, rules: Policies) -> Member:
    """The member that the code names: made, or found; one that was removed is a member again."""
    member = session.scalar(
        select(Member).where(Member.federation_id == code.federation_id, Member.name == code.member_name)
    )
    if member is None or member.removed_at is not None:
        policies.check_room(session, code.federation_id, rules)
    if member is None:
        member = Member(id=new_id(), federation_id=code.federation_id, name=code.member_name, created_at=now)
        session.add(member)
    member.max_examples = code.max_examples
    member.removed_at = None
    session.flush()
    return member


def _joined(device: Device, member: Member, federation: Federation) -> Joined:
    return Joined(device_id=device.id, member=member.name, federation_id=federation.id, federation=federation.name)


def code_hash(code: str) -> str:
    """By which a code is found, however its letters were typed."""
    letters = "".join(character for character in code.upper() if character not in "- ")
    return secret_hash(letters.translate(LOOKALIKES))


def _public_key(text: str) -> Ed25519PublicKey:
    key = _decoded(text, "public_key")
    if len(key) != PUBLIC_KEY_BYTES:
        raise Unprocessable(f"public_key: {len(key)} bytes; an Ed25519 public key has {PUBLIC_KEY_BYTES}")
    return Ed25519PublicKey.from_public_bytes(key)


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unprocessable(f"{what}: is not base64 ({error})") from None
