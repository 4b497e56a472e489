"""Tables of the people who use the server: accounts, how they sign in, what they may do, and what they did."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from fedflow.server.database.base import NUMBER, Table

RoleName = Literal["viewer", "participant", "coordinator", "administrator"]
"""Each may do what those before it may: look; act for a member; plan and change runs; say who may do what."""


class Person(Table):
    """Somebody with an account. `email` is how they sign in, in small letters; none for who only has a token.

    `password` is argon2's text of it. `totp` is the secret of their second factor, encrypted with the server's key, and
    counts once `totp_at` is set; `totp_used` is the last step that was used up, `recovery` hashes of codes for a lost
    device. `is_admin` may do everything on this server. A deleted account keeps its line, without name and address.
    """

    __tablename__ = "person"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None] = mapped_column(unique=True)
    password: Mapped[str | None]
    is_admin: Mapped[bool]
    locale: Mapped[str | None]
    created_at: Mapped[float]
    confirmed_at: Mapped[float | None]
    disabled_at: Mapped[float | None]
    deleted_at: Mapped[float | None]
    totp: Mapped[str | None]
    totp_at: Mapped[float | None]
    totp_used: Mapped[int]
    recovery: Mapped[list[str]]


class Attempts(Table):
    """Wrong tries to sign in with an address, whether it has an account or not.

    `address` is its SHA-256; of those by one caller, with the SHA-256 of where they come from behind a dot.
    """

    __tablename__ = "attempts"
    address: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    locked_until: Mapped[float]
    tried_at: Mapped[float]


class PersonToken(Table):
    """A person's API token, by the SHA-256 of its text. `scopes` and `federation_id` limit what it may do.

    `made_with` is the token with which it was made, if any: it does no more than that one, and ends with it.
    """

    __tablename__ = "person_token"
    hash: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    name: Mapped[str]
    scopes: Mapped[list[str]]
    federation_id: Mapped[str | None] = mapped_column(ForeignKey("federation.id"))
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    made_with: Mapped[str | None] = mapped_column(ForeignKey("person_token.id"), index=True)


class SignIn(Table):
    """A browser that somebody signed in with, by the SHA-256 of its cookie. `fresh_at`: the password was given then."""

    __tablename__ = "sign_in"
    hash: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    agent: Mapped[str]
    address: Mapped[str]
    created_at: Mapped[float]
    seen_at: Mapped[float]
    fresh_at: Mapped[float]


class DeviceSignIn(Table):
    """A device that waits for a person to let it in, by the hash of its secret; `user_code` is what it shows.

    Once `answered_at` is set it was let in as `member_name` of the federation, or refused where there is none.
    """

    __tablename__ = "device_sign_in"
    hash: Mapped[str] = mapped_column(primary_key=True)
    user_code: Mapped[str] = mapped_column(unique=True)
    device: Mapped[str]
    address: Mapped[str]
    created_at: Mapped[float]
    expires_at: Mapped[float]
    answered_at: Mapped[float | None]
    federation_id: Mapped[str | None] = mapped_column(ForeignKey("federation.id"))
    member_name: Mapped[str | None]


class Role(Table):
    """What a person is in a federation: administrator, coordinator, participant or viewer.

    `member_id` is the member for which a participant acts.
    """

    __tablename__ = "role"
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), primary_key=True)
    federation_id: Mapped[str] = mapped_column(ForeignKey("federation.id"), primary_key=True, index=True)
    role: Mapped[RoleName] = mapped_column(Text)
    member_id: Mapped[str | None] = mapped_column(ForeignKey("member.id"))
    created_at: Mapped[float]


class Invitation(Table):
    """A link with which one person comes to a role, by the SHA-256 of its code.

    `federation_id` and `role` are missing where it only lets somebody make an account. With `email` it is for that
    address alone, and `letter_hash` is of the code in the letter that was sent there: whoever invited knows the other
    code, and this one nobody but who reads the letter. `member_name` is the member that a participant acts for, made
    where it is not there.
    """

    __tablename__ = "invitation"
    hash: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    federation_id: Mapped[str | None] = mapped_column(ForeignKey("federation.id"), index=True)
    role: Mapped[RoleName | None] = mapped_column(Text)
    member_name: Mapped[str | None]
    email: Mapped[str | None]
    is_admin: Mapped[bool]
    created_by: Mapped[str | None] = mapped_column(ForeignKey("person.id"))
    created_at: Mapped[float]
    expires_at: Mapped[float]
    used_at: Mapped[float | None]
    used_by: Mapped[str | None] = mapped_column(ForeignKey("person.id"))
    letter_hash: Mapped[str | None] = mapped_column(unique=True)


class Link(Table):
    """A one-time link that was given to a person, by the SHA-256 of its code: to set a password, to confirm an address.

    `about` is the address that it went to, which a link to `address` confirms; empty where it was given by hand.
    """

    __tablename__ = "link"
    hash: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    purpose: Mapped[str]
    about: Mapped[str]
    expires_at: Mapped[float]


class Identity(Table):
    """Who somebody is at the OpenID provider: its `issuer` and `subject` there, by which they may sign in here.

    `email` is what the provider called theirs when it was linked.
    """

    __tablename__ = "identity"
    issuer: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    email: Mapped[str | None]
    linked_at: Mapped[float]
    used_at: Mapped[float | None]


class Departure(Table):
    """A browser that was sent to the provider and is expected back, by the SHA-256 of the state that it brings.

    `browser` is a hash of its guard, `person_id` who wants to link an identity, none where somebody signs in. `kept` is
    what is needed then (nonce, PKCE verifier, where to go), encrypted with the server's key.
    """

    __tablename__ = "departure"
    hash: Mapped[str] = mapped_column(primary_key=True)
    browser: Mapped[str]
    person_id: Mapped[str | None] = mapped_column(ForeignKey("person.id"))
    kept: Mapped[str]
    expires_at: Mapped[float]


class Letter(Table):
    """An e-mail that a worker is to send, leased to the one that is at it; taken out when it is sent or given up.

    `kept` is for whom and with what values, encrypted with the server's key, as an invitation's link is among them.
    `person_id` is whose account it speaks of, where that is known; after `expires_at` it is of no use to anybody.
    """

    __tablename__ = "letter"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    person_id: Mapped[str | None] = mapped_column(ForeignKey("person.id"), index=True)
    locale: Mapped[str]
    kept: Mapped[str]
    created_at: Mapped[float]
    expires_at: Mapped[float]
    due_at: Mapped[float] = mapped_column(index=True)
    attempts: Mapped[int]
    worker: Mapped[str | None]
    leased_until: Mapped[float | None]


class AuditEntry(Table):
    """Who did what, when and from where, chained: `hash` is a keyed hash of the row and of the hash before it.

    No foreign keys: an entry outlives what it speaks of.
    """

    __tablename__ = "audit_entry"
    number: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=False)
    at: Mapped[float] = mapped_column(index=True)
    actor_kind: Mapped[str]
    actor_id: Mapped[str] = mapped_column(index=True)
    actor: Mapped[str]
    via: Mapped[str]
    address: Mapped[str]
    action: Mapped[str] = mapped_column(index=True)
    federation_id: Mapped[str | None] = mapped_column(index=True)
    object_kind: Mapped[str]
    object_id: Mapped[str] = mapped_column(index=True)
    facts: Mapped[dict[str, Any]]
    hash: Mapped[str]


class AuditHead(Table):
    """How long the chain is and how it ends, so that entries taken off its end are missed."""

    __tablename__ = "audit_head"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entries: Mapped[int]
    hash: Mapped[str]
    seal: Mapped[str]


class AuditLook(Table):
    """What the last look at the whole log found: `faults` are lines; `seal` is a keyed hash of the row."""

    __tablename__ = "audit_look"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[float]
    entries: Mapped[int]
    head: Mapped[str]
    faults: Mapped[list[str]]
    seal: Mapped[str]
