"""A job no longer names its process: of one folder one worker is at work, and what ran before it has died."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the column."""
    op.drop_column("job", "worker")
