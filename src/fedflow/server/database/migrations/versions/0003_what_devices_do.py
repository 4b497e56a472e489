"""What a device does with what it was given, by its own word when it asked last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("device", sa.Column("doing", sa.Text(), nullable=True))
