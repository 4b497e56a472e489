"""Federations that are closed: nothing new begins there, and what is there stays readable."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Those that are there are open."""
    op.add_column("federation", sa.Column("closed_at", sa.Double(), nullable=True))
