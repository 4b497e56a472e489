"""What the server holds of one person, for that person: every row that names them, without secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedflow.server.database.people import (
    AuditEntry,
    Departure,
    Identity,
    Invitation,
    Letter,
    Link,
    Person,
    PersonToken,
    Role,
    SignIn,
)
from fedflow.server.database.tables import Artifact, Federation, Import, Member, Release, Upload
from fedflow.server.services import tryouts
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store

TIMES = frozenset({"at", "from", "seen", "since"})
"""Names of times that do not say so."""

INVITATION = {"email": "email", "federation": "federation_id", "role": "role", "member": "member_name"}

LISTS: dict[str, tuple[Any, dict[str, str]]] = {
    "sign_ins": (
        SignIn.person_id,
        {"browser": "agent", "address": "address", "from": "created_at", "seen": "seen_at"},
    ),
    "tokens": (
        PersonToken.person_id,
        {
            "name": "name",
            "scopes": "scopes",
            "made_at": "created_at",
            "expires_at": "expires_at",
            "revoked_at": "revoked_at",
        },
    ),
    "identities": (
        Identity.person_id,
        {"provider": "issuer", "subject": "subject", "email": "email", "linked_at": "linked_at", "used_at": "used_at"},
    ),
    "sign_ins_under_way": (Departure.person_id, {"expires_at": "expires_at"}),
    "links": (Link.person_id, {"to_set": "purpose", "address": "about", "expires_at": "expires_at"}),
    "letters": (Letter.person_id, {"kind": "kind", "asked_at": "created_at", "expires_at": "expires_at"}),
    "invitations": (Invitation.created_by, {**INVITATION, "made_at": "created_at"}),
    "invitations_taken_up": (Invitation.used_by, {**INVITATION, "at": "used_at"}),
    "uploads": (Upload.person_id, {"bytes": "length_bytes", "begun_at": "created_at"}),
    "imports": (
        Import.asked_by,
        {"kind": "kind", "name": "name", "from": "source", "place": "place", "asked_at": "created_at"},
    ),
    "releases": (
        Release.released_by,
        {
            "version": "version_id",
            "tag": "tag",
            "notes": "notes",
            "at": "released_at",
            "withdrawn_at": "withdrawn_at",
            "withdrawn_because": "withdrawal_reason",
        },
    ),
    "releases_withdrawn": (
        Release.withdrawn_by,
        {"version": "version_id", "tag": "tag", "at": "withdrawn_at", "because": "withdrawal_reason"},
    ),
    "owned": (
        Artifact.owner_id,
        {
            "kind": "kind",
            "name": "name",
            "seen_by": "visibility",
            "licence": "licence",
            "card": "card",
            "made_at": "created_at",
        },
    ),
}
"""By the list's name: the column that names the person, and what is told of each row by the column it stands in."""


def export(store: Store, caller: Caller) -> dict[str, Any]:
    """Everything that the server holds of the caller, as JSON: account, roles, all that names them, what they did."""
    with store.read() as session:
        person = session.get_one(Person, caller.id)
        told = {
            "account": {
                "id": person.id,
                "name": person.name,
                "email": person.email,
                "address_confirmed_at": person.confirmed_at,
                "language": person.locale,
                "made_at": person.created_at,
                "password": person.password is not None,
                "second_factor": person.totp_at is not None,
                "administrator": person.is_admin,
            },
            "roles": _roles(session, caller.id),
            **{name: _rows(session, column, told, caller.id) for name, (column, told) in LISTS.items()},
            "tryouts": tryouts.told(session, caller.id),
            **_entries(session, caller.id),
        }
        return {name: _dated(name, part) for name, part in told.items()}


def _roles(session: Session, person_id: str) -> list[dict[str, Any]]:
    query = (
        select(Federation.id, Federation.name, Role.role, Member.name, Role.created_at)
        .join(Federation, Federation.id == Role.federation_id)
        .outerjoin(Member, Member.id == Role.member_id)
        .where(Role.person_id == person_id)
    )
    return [
        {"federation": federation_id, "name": name, "role": role, "member": member, "since": since}
        for federation_id, name, role, member, since in session.execute(query)
    ]


def _rows(session: Session, column: Any, told: dict[str, str], person_id: str) -> list[dict[str, Any]]:
    rows = session.scalars(select(column.class_).where(column == person_id))
    return [{name: getattr(row, attribute) for name, attribute in told.items()} for row in rows]


def _entries(session: Session, person_id: str) -> dict[str, list[dict[str, Any]]]:
    """What the audit log has of the person, newest first; who else did it, and from where, is theirs to know."""
    own = AuditEntry.actor_id == person_id
    theirs = AuditEntry.object_kind == "person", AuditEntry.object_id == person_id, ~own
    newest_first = AuditEntry.number.desc()
    told = select(AuditEntry.at, AuditEntry.action, AuditEntry.facts)
    done = session.execute(told.add_columns(AuditEntry.address.label("from")).where(own).order_by(newest_first))
    suffered = session.execute(told.where(*theirs).order_by(newest_first))
    return {
        "actions": [dict(row) for row in done.mappings()],
        "done_by_others": [dict(row) for row in suffered.mappings()],
    }


def _dated(name: str, value: Any) -> Any:
    """The same with its times as in ISO 8601, UTC."""
    if isinstance(value, dict):
        return {key: _dated(key, each) for key, each in value.items()}
    if isinstance(value, list):
        return [_dated(name, each) for each in value]
    if isinstance(value, float) and (name in TIMES or name.endswith("_at")):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    return value
