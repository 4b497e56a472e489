"""Imports of models and adapters, uploads of people, jobs that belong to no run, and whose example counts are shown."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing is imported yet; no member has agreed that its example counts are shown to others."""
    op.create_table(
        "import",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("federation_id", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("base_id", sa.Text(), nullable=True),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False, server_default=""),
        sa.Column("version_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_import"),
        sa.ForeignKeyConstraint(["federation_id"], ["federation.id"], name="fk_import_federation_id_federation"),
        sa.ForeignKeyConstraint(["asked_by"], ["person.id"], name="fk_import_asked_by_person"),
        sa.ForeignKeyConstraint(["base_id"], ["version.id"], name="fk_import_base_id_version"),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"], name="fk_import_version_id_version"),
    )
    for column in ("federation_id", "asked_by", "base_id", "version_id"):
        op.create_index(f"ix_import_{column}", "import", [column])
    op.add_column("member", sa.Column("shows_counts", sa.Boolean(), nullable=False, server_default=sa.false()))
    for table, column in (("job", "run_id"), ("upload", "device_id")):
        # On SQLite the table is made anew; nothing refers to these two.
        with op.batch_alter_table(table) as batch:
            batch.alter_column(column, existing_type=sa.Text(), nullable=True)
    person = "person_id TEXT CONSTRAINT fk_upload_person_id_person REFERENCES person (id)"
    op.execute(f"ALTER TABLE upload ADD COLUMN {person}")
    op.create_index("ix_upload_person_id", "upload", ["person_id"])
