"""Accounts that sign in, roles, invitations, and the audit log. The first coordinator keeps its tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FIRST = "00000000-0000-7000-8000-000000000000"
HEAD = {"id": 1, "entries": 0, "hash": "", "seal": ""}
SCOPES = ["read", "runs", "registry", "members", "account"]
PERSON = sa.table(
    "person",
    *(sa.column(name) for name in ("id", "name", "email", "password", "locale", "created_at", "confirmed_at")),
    *(sa.column(name) for name in ("disabled_at", "deleted_at", "totp", "totp_at", "totp_used")),
    sa.column("is_admin", sa.Boolean()),
    sa.column("recovery", sa.JSON()),
)
TOKEN = sa.table(
    "person_token",
    *(sa.column(name) for name in ("hash", "id", "person_id", "name", "federation_id", "created_at", "expires_at")),
    sa.column("revoked_at"),
    sa.column("scopes", sa.JSON()),
)


def upgrade() -> None:
    """Make the tables anew that people and tokens are in, and add the others."""
    connection = op.get_bind()
    people = connection.execute(sa.text("SELECT id, name, created_at FROM person")).all()
    tokens = connection.execute(sa.text("SELECT hash, created_at, revoked_at FROM person_token")).all()
    op.drop_table("person_token")
    op.drop_table("person")
    _make_people()
    _make_rights()
    _make_audit()
    for _, name, created_at in people:  # the one that the server made
        row = {"id": FIRST, "name": name, "created_at": created_at, "is_admin": True, "recovery": []}
        connection.execute(PERSON.insert().values(**row, totp_used=0))
    op.bulk_insert(sa.table("audit_head", *(sa.column(name) for name in ("id", "entries", "hash", "seal"))), [HEAD])
    for digest, created_at, revoked_at in tokens:
        row = {"hash": digest, "id": digest[:32], "person_id": FIRST, "name": "coordinator.token", "scopes": SCOPES}
        connection.execute(TOKEN.insert().values(**row, created_at=created_at, revoked_at=revoked_at))


def _make_people() -> None:
    op.create_table(
        "person",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("confirmed_at", sa.Double(), nullable=True),
        sa.Column("disabled_at", sa.Double(), nullable=True),
        sa.Column("deleted_at", sa.Double(), nullable=True),
        sa.Column("totp", sa.Text(), nullable=True),
        sa.Column("totp_at", sa.Double(), nullable=True),
        sa.Column("totp_used", sa.BigInteger(), nullable=False),
        sa.Column("recovery", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_person"),
        sa.UniqueConstraint("email", name="uq_person_email"),
    )
    op.create_table(
        "attempts",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("locked_until", sa.Double(), nullable=False),
        sa.Column("tried_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("address", name="pk_attempts"),
    )
    op.create_table(
        "person_token",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("federation_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_person_token_person_id_person"),
        sa.ForeignKeyConstraint(["federation_id"], ["federation.id"], name="fk_person_token_federation_id_federation"),
        sa.PrimaryKeyConstraint("hash", name="pk_person_token"),
        sa.UniqueConstraint("id", name="uq_person_token_id"),
    )
    op.create_index("ix_person_token_person_id", "person_token", ["person_id"])
    op.create_table(
        "sign_in",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("fresh_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_sign_in_person_id_person"),
        sa.PrimaryKeyConstraint("hash", name="pk_sign_in"),
        sa.UniqueConstraint("id", name="uq_sign_in_id"),
    )
    op.create_index("ix_sign_in_person_id", "sign_in", ["person_id"])
    op.create_table(
        "link",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_link_person_id_person"),
        sa.PrimaryKeyConstraint("hash", name="pk_link"),
    )
    op.create_index("ix_link_person_id", "link", ["person_id"])


def _make_rights() -> None:
    op.create_table(
        "role",
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("federation_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("member_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_role_person_id_person"),
        sa.ForeignKeyConstraint(["federation_id"], ["federation.id"], name="fk_role_federation_id_federation"),
        sa.ForeignKeyConstraint(["member_id"], ["member.id"], name="fk_role_member_id_member"),
        sa.PrimaryKeyConstraint("person_id", "federation_id", name="pk_role"),
    )
    op.create_index("ix_role_federation_id", "role", ["federation_id"])
    op.create_table(
        "invitation",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("federation_id", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("member_name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.Column("used_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["federation_id"], ["federation.id"], name="fk_invitation_federation_id_federation"),
        sa.ForeignKeyConstraint(["created_by"], ["person.id"], name="fk_invitation_created_by_person"),
        sa.ForeignKeyConstraint(["used_by"], ["person.id"], name="fk_invitation_used_by_person"),
        sa.PrimaryKeyConstraint("hash", name="pk_invitation"),
        sa.UniqueConstraint("id", name="uq_invitation_id"),
    )
    op.create_index("ix_invitation_federation_id", "invitation", ["federation_id"])


def _make_audit() -> None:
    op.create_table(
        "audit_entry",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=False),
        sa.Column("at", sa.Double(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("actor_kind", "actor_id", "actor", "via", "address", "action")
        ),
        sa.Column("federation_id", sa.Text(), nullable=True),
        sa.Column("object_kind", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit_entry"),
    )
    op.create_index("ix_audit_entry_action", "audit_entry", ["action"])
    op.create_index("ix_audit_entry_federation_id", "audit_entry", ["federation_id"])
    op.create_table(
        "audit_head",
        sa.Column("id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("seal", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
