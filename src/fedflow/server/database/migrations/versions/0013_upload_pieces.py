"""Pieces of uploads, where the files are in an S3-compatible store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "upload_piece",
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("offset_bytes", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", "offset_bytes", name="pk_upload_piece"),
        sa.ForeignKeyConstraint(
            ["upload_id"], ["upload.id"], name="fk_upload_piece_upload_id_upload", ondelete="CASCADE"
        ),
    )
