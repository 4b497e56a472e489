"""Who is calling: people and devices by their tokens. A token's text is never kept, only its SHA-256."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fedflow.errors import StorageError
from fedflow.server.database.people import Person, PersonToken
from fedflow.server.database.tables import Device, DeviceToken, Member
from fedflow.server.errors import Unauthorised
from fedflow.server.services.identifiers import new_id
from fedflow.server.store import Store

PERSON_PREFIX = "ffp_"
DEVICE_PREFIX = "ffd_"
COORDINATOR = "coordinator"
TOKEN_FILE = "coordinator.token"  # noqa: S105 - a file's name

Scope = Literal["read", "runs", "registry", "members", "account"]
"""What a token may do: look; start and change runs; models and adapters; members and roles; its owner's account."""

SCOPES: tuple[Scope, ...] = ("read", "runs", "registry", "members", "account")

FIRST = "00000000-0000-7000-8000-000000000000"
"""The identifier of the first coordinator, whom the server makes by itself."""

PERSON_OF_TOKEN = (
    select(
        PersonToken.id,
        PersonToken.person_id,
        PersonToken.scopes,
        PersonToken.federation_id,
        PersonToken.expires_at,
        PersonToken.revoked_at,
        Person.name,
        Person.is_admin,
        Person.disabled_at,
        Person.deleted_at,
    )
    .join(Person, Person.id == PersonToken.person_id)
    .where(PersonToken.hash == bindparam("hash"))
)
DEVICE_OF_TOKEN = (
    select(
        DeviceToken.expires_at,
        Device.id,
        Device.name,
        Device.revoked_at,
        Member.federation_id,
        Member.id,
        Member.name,
        Member.removed_at,
    )
    .join(Device, Device.id == DeviceToken.device_id)
    .join(Member, Member.id == Device.member_id)
    .where(DeviceToken.hash == bindparam("hash"))
)
"""Written once: to put it together anew for every request would cost more than to run it."""


@dataclass(frozen=True)
class Caller:
    """Somebody who has proved who they are; `via` is the token, sign-in or device, `address` where they call from.

    A device belongs to a member, by id and by name, of one federation. A person may be limited to `federation_id` and
    `scopes` by their token; an administrator of the server may do everything.
    """

    kind: Literal["person", "device", "server"]
    id: str
    federation_id: str | None = None
    member_id: str | None = None
    member: str | None = None
    name: str = ""
    via: str = ""
    address: str = ""
    is_admin: bool = False
    scopes: frozenset[str] = frozenset(SCOPES)


SERVER = Caller("server", "", name="server", via="command line")
"""Whoever has the server's own folder, or the server by itself."""


def new_token(prefix: str) -> tuple[str, str]:
    """A new token's text, which goes to its owner, and its hash, which is kept."""
    text = prefix + secrets.token_urlsafe(32)
    return text, secret_hash(text)


def secret_hash(text: str) -> str:
    """What is kept of a token or code: enough entropy is in it that plain SHA-256 cannot be searched."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def authenticate(store: Store, bearer_token: str, address: str = "") -> Caller:
    """Whose token this is, by what the database says now, so that a revocation holds at once.

    Raises Unauthorised where the token is unknown, expired or revoked, or its device or member is no more.
    """
    with store.read() as session:
        if bearer_token.startswith(PERSON_PREFIX):
            return _person(session, secret_hash(bearer_token), store.clock(), address)
        return _device(session, secret_hash(bearer_token), store.clock(), address)


def first_coordinator(store: Store) -> str | None:
    """Make the person 'coordinator', an administrator, with a token where there is nobody yet.

    Returns the token's text the first time, None later. It is kept in the folder's `coordinator.token`, which
    only the server's account may read.
    """
    with store.read() as session:
        if session.scalar(select(Person.id).limit(1)) is not None:
            return None
    try:
        with store.begin() as session:
            person = Person(
                id=FIRST, name=COORDINATOR, is_admin=True, created_at=store.clock(), recovery=[], totp_used=0
            )
            session.add(person)
            session.flush()
            return write_token(session, store)
    except IntegrityError:  # another process of this server was first
        return None


def write_token(session: Session, store: Store) -> str:
    """A new token of the first coordinator's, in the folder's `coordinator.token`; in the caller's transaction."""
    text, digest = new_token(PERSON_PREFIX)
    token = PersonToken(hash=digest, id=new_id(), person_id=FIRST, name=TOKEN_FILE, created_at=store.clock())
    token.scopes = list(SCOPES)
    session.add(token)
    session.flush()
    _write_secret(store.folder / TOKEN_FILE, text + "\n")
    return text


def _person(session: Session, digest: str, now: float, address: str) -> Caller:
    found = session.execute(PERSON_OF_TOKEN, {"hash": digest}).one_or_none()
    if found is None or found.revoked_at is not None:
        raise Unauthorised("the token is unknown or was revoked; use the one in the server's 'coordinator.token'")
    if found.expires_at is not None and found.expires_at <= now:
        raise Unauthorised("the token has expired; make another on your account's page")
    if found.disabled_at is not None or found.deleted_at is not None:
        raise Unauthorised("the account of this token was closed; ask an administrator")
    return Caller(
        "person",
        found.person_id,
        federation_id=found.federation_id,
        name=found.name,
        via=f"token {found.id}",
        address=address,
        is_admin=found.is_admin,
        scopes=frozenset(found.scopes),
    )


def _device(session: Session, digest: str, now: float, address: str) -> Caller:
    found = session.execute(DEVICE_OF_TOKEN, {"hash": digest}).one_or_none()
    if found is None:
        raise Unauthorised("the token is unknown; get a new one with the device's key")
    expires_at, device_id, device, revoked_at, federation_id, member_id, member, removed_at = found
    if revoked_at is not None or removed_at is not None:
        raise Unauthorised(f"device '{device}' was revoked; ask the coordinator for a new join code")
    if expires_at <= now:
        raise Unauthorised("the token has expired; get a new one with the device's key")
    return Caller("device", device_id, federation_id, member_id, member, name=device, via="key", address=address)


def _write_secret(path: Path, text: str) -> None:
    """Replace `path` by `text`, readable by this account alone from its first byte on."""
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written ({error.strerror}); check the folder and its disk") from error
