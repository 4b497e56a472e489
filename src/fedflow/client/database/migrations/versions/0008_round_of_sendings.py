"""Of which round something was sent, and a log that is quick to filter however long it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, which no older line can tell, and the indexes."""
    op.add_column("sending", sa.Column("round", sa.Integer()))
    op.create_index("ix_sending_of_federation", "sending", ["membership_id", "what"])
    op.create_index("ix_sending_of_run", "sending", ["run_id", "what"])
    for column in ("run_id", "what"):
        op.create_index(f"ix_sending_{column}", "sending", [column])
