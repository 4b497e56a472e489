"""Federations that were left, whose log is kept, and what was sent to a server before any was joined."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of what was left before, nothing is there any more."""
    op.add_column("membership", sa.Column("left_at", sa.Double(), nullable=True))
    with op.batch_alter_table("sending") as table:
        table.add_column(sa.Column("server", sa.Text(), nullable=False, server_default=""))
        table.alter_column("membership_id", existing_type=sa.Text(), nullable=True)
