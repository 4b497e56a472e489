"""Whose things are: a run's result its federation's, an address its reader's, a token's token the first one's.

- What runs made, and lies in what somebody owns, moves to a model or adapter 'NAME (run)' that nobody owns, with its
  numbers, files and releases. What nobody owns is hidden from its federation no longer.
- An invitation has a second code, of its letter. An address that was confirmed by the one that whoever invited knows is
  no longer confirmed; where a provider has told such an address's owner apart since, what came before lets nobody in.
- A token knows with which one it was made, and ends no later than that.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import sqlalchemy as sa
import uuid_utils
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TEXTS = ("id", "federation_id", "kind", "name", "owner_id", "visibility", "licence", "card")
ARTIFACT = sa.table(
    "artifact",
    *(sa.column(name) for name in TEXTS),
    *(sa.column(name, sa.JSON()) for name in ("trigger_words", "examples")),
    sa.column("created_at"),
)
VERSION = sa.table("version", *(sa.column(name) for name in ("id", "artifact_id", "run_id")))
RELEASE = sa.table("release", *(sa.column(name) for name in ("artifact_id", "version_id")))

PERSON = sa.table("person", *(sa.column(name) for name in ("id", "email", "password", "confirmed_at")))
INVITATION = sa.table("invitation", *(sa.column(name) for name in ("email", "created_by", "used_at", "used_by")))
IDENTITY = sa.table("identity", *(sa.column(name) for name in ("person_id", "email", "linked_at")))
SIGN_IN = sa.table("sign_in", sa.column("person_id"))
AT_ONCE_S = 5.0
"""Two things that one request did are noted within this time."""

TOKEN = sa.table(
    "person_token", *(sa.column(name) for name in ("id", "person_id", "expires_at", "revoked_at", "made_with"))
)
ENTRY = sa.table("audit_entry", *(sa.column(name) for name in ("number", "action", "via", "object_id")))


def upgrade() -> None:
    """Add the two columns, and set right what is there."""
    with op.batch_alter_table("invitation") as table:
        table.add_column(sa.Column("letter_hash", sa.Text(), nullable=True))
        table.create_unique_constraint("uq_invitation_letter_hash", ["letter_hash"])
    with op.batch_alter_table("person_token") as table:
        table.add_column(sa.Column("made_with", sa.Text(), nullable=True))
        table.create_foreign_key("fk_person_token_made_with_person_token", "person_token", ["made_with"], ["id"])
        table.create_index("ix_person_token_made_with", ["made_with"])
    connection = op.get_bind()
    _give_back(connection)
    _bind_tokens(connection)
    for person in list(_confirmed_by_who_invited(connection)):
        _doubt(connection, person)


def _give_back(connection: sa.Connection) -> None:
    """Give federations what their runs made."""
    holds = sa.exists().where(VERSION.c.artifact_id == ARTIFACT.c.id, VERSION.c.run_id.is_not(None))
    owned = sa.select(ARTIFACT).where(ARTIFACT.c.owner_id.is_not(None), holds)
    for row in connection.execute(owned).mappings().all():
        made = dict(row) | {"id": str(uuid_utils.uuid7()), "name": _free_name(connection, row), "owner_id": None}
        made |= {"visibility": "federation", "licence": "", "card": "", "trigger_words": [], "examples": []}
        connection.execute(sa.insert(ARTIFACT).values(made))
        of_runs = VERSION.c.artifact_id == row["id"], VERSION.c.run_id.is_not(None)
        moved = sa.select(VERSION.c.id).where(*of_runs)
        released = sa.update(RELEASE).where(RELEASE.c.version_id.in_(moved))
        connection.execute(released.values(artifact_id=made["id"]))
        connection.execute(sa.update(VERSION).where(*of_runs).values(artifact_id=made["id"]))
    hidden = ARTIFACT.c.owner_id.is_(None), ARTIFACT.c.visibility == "private"
    connection.execute(sa.update(ARTIFACT).where(*hidden).values(visibility="federation"))


def _free_name(connection: sa.Connection, row: sa.RowMapping) -> str:
    """As `registry.own_names`, of which the first is the row's own."""
    same = ARTIFACT.c.federation_id == row["federation_id"], ARTIFACT.c.kind == row["kind"]
    known = set(connection.scalars(sa.select(ARTIFACT.c.name).where(*same)))
    numbered = (f"{row['name']} (run {number})" for number in count(2))
    first = f"{row['name']} (run)"
    return first if first not in known else next(name for name in numbered if name not in known)


def _bind_tokens(connection: sa.Connection) -> None:
    """Bind tokens to those that the audit log says they were made with, the older ones first."""
    made = sa.select(ENTRY.c.object_id, ENTRY.c.via).where(ENTRY.c.action == "token made")
    for token_id, via in connection.execute(made.order_by(ENTRY.c.number)).all():
        token, parent = (_token(connection, each) for each in (token_id, via.removeprefix("token ")))
        if token is None or parent is None or token["person_id"] != parent["person_id"]:
            continue
        values = {"made_with": parent["id"]}
        for column in ("expires_at", "revoked_at"):
            ends = [row[column] for row in (token, parent) if row[column] is not None]
            values[column] = min(ends, default=None)
        connection.execute(sa.update(TOKEN).where(TOKEN.c.id == token_id).values(values))


def _token(connection: sa.Connection, token_id: str) -> sa.RowMapping | None:
    return connection.execute(sa.select(TOKEN).where(TOKEN.c.id == token_id)).mappings().one_or_none()


def _confirmed_by_who_invited(connection: sa.Connection) -> Iterator[sa.RowMapping]:
    """People whose address was confirmed as they took an invitation up, and not by a provider at that moment."""
    invited = sa.exists().where(
        INVITATION.c.used_by == PERSON.c.id,
        INVITATION.c.email == PERSON.c.email,
        INVITATION.c.created_by.is_not(None),
        PERSON.c.confirmed_at.between(INVITATION.c.used_at, INVITATION.c.used_at + AT_ONCE_S),
    )
    by_provider = sa.exists().where(
        IDENTITY.c.person_id == PERSON.c.id,
        IDENTITY.c.linked_at.between(PERSON.c.confirmed_at, PERSON.c.confirmed_at + AT_ONCE_S),
    )
    yield from connection.execute(sa.select(PERSON).where(invited, ~by_provider)).mappings()


def _doubt(connection: sa.Connection, person: sa.RowMapping) -> None:
    """Take the confirmation back, and where the address's owner came by a provider since, all other ways in."""
    mine = PERSON.c.id == person["id"]
    emails = connection.scalars(sa.select(IDENTITY.c.email).where(IDENTITY.c.person_id == person["id"]))
    if person["email"] not in {(email or "").lower() for email in emails}:
        connection.execute(sa.update(PERSON).where(mine).values(confirmed_at=None))
        return
    connection.execute(sa.update(PERSON).where(mine).values(password=None))
    connection.execute(sa.delete(SIGN_IN).where(SIGN_IN.c.person_id == person["id"]))
    theirs = TOKEN.c.person_id == person["id"], TOKEN.c.revoked_at.is_(None)
    connection.execute(sa.update(TOKEN).where(*theirs).values(revoked_at=person["confirmed_at"]))
