"""Of what run a federation's participant spoke last, whether it is held up, and of what run something was sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add all three."""
    op.add_column("membership", sa.Column("said_run", sa.Text(), nullable=True))
    op.add_column("membership", sa.Column("is_held_up", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("sending", sa.Column("run_id", sa.Text(), nullable=True))
