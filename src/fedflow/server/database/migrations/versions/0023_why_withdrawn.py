"""Why a release was withdrawn."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody was asked before."""
    op.add_column("release", sa.Column("withdrawal_reason", sa.Text(), nullable=False, server_default=""))
