"""When a federation's server was first heard to have shut this machine out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; where it is so already, the server says it again at once."""
    op.add_column("membership", sa.Column("removed_at", sa.Double(), nullable=True))
