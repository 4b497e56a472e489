"""The audit log is looked through by time."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rows stay as they are: their chain is over what they hold."""
    op.create_index("ix_audit_entry_at", "audit_entry", ["at"])
