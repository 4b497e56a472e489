"""Who owns and sees models and adapters, their cards, and releases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Describe what there is as the federation's own; nothing is released yet."""
    # As text: alembic would make the whole table anew on SQLite, which rows that refer to it forbid.
    owner = "owner_id TEXT CONSTRAINT fk_artifact_owner_id_person REFERENCES person (id)"
    op.execute(f"ALTER TABLE artifact ADD COLUMN {owner}")
    op.add_column("artifact", sa.Column("visibility", sa.Text(), nullable=False, server_default="federation"))
    op.add_column("artifact", sa.Column("licence", sa.Text(), nullable=False, server_default=""))
    op.add_column("artifact", sa.Column("card", sa.Text(), nullable=False, server_default=""))
    op.add_column("artifact", sa.Column("trigger_words", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("artifact", sa.Column("examples", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "release",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("artifact_id", sa.Text(), nullable=False),
        sa.Column("version_id", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("provenance", sa.Text(), nullable=False),
        sa.Column("released_by", sa.Text(), nullable=False),
        sa.Column("released_at", sa.Double(), nullable=False),
        sa.Column("withdrawn_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_release"),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifact.id"], name="fk_release_artifact_id_artifact"),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"], name="fk_release_version_id_version"),
        sa.UniqueConstraint("artifact_id", "tag", name="uq_release_artifact_id"),
    )
    op.create_index("ix_release_version_id", "release", ["version_id"])
