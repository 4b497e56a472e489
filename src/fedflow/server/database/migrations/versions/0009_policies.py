"""Rules that a federation's coordinators set for its runs and members."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; federations of before have the rules that forbid nothing."""
    op.add_column("federation", sa.Column("policies", sa.JSON(), nullable=False, server_default="{}"))
