"""The audit log is looked up by person: people take along what they did, and what was done to their account."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rows stay as they are: their chain is over what they hold."""
    op.create_index("ix_audit_entry_actor_id", "audit_entry", ["actor_id"])
    op.create_index("ix_audit_entry_object_id", "audit_entry", ["object_id"])
