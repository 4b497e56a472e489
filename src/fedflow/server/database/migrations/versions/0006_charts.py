"""A run's charts, as a worker has drawn them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; runs of before get their charts with their next figure."""
    op.add_column("run", sa.Column("charts", sa.JSON(), nullable=False, server_default="{}"))
