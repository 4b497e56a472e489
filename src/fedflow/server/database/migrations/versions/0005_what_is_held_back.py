"""What a device does for each of its runs, and how many of a job's attempts ended in errors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the columns; what devices do is told anew within seconds."""
    op.drop_column("device", "doing")
    op.add_column("device", sa.Column("doing", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("job", sa.Column("errors", sa.BigInteger(), nullable=False, server_default="0"))
