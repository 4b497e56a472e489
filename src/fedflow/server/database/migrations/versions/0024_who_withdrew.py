"""Who withdrew a release, as far as the audit log knows it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A release is withdrawn once, so the log has one entry for each."""
    reference = "withdrawn_by TEXT CONSTRAINT fk_release_withdrawn_by_person REFERENCES person (id)"
    op.execute(f"ALTER TABLE release ADD COLUMN {reference}")
    op.create_index("ix_release_withdrawn_by", "release", ["withdrawn_by"])
    withdrawn = sa.text(
        "SELECT actor_id, object_id FROM audit_entry "
        "WHERE action = 'withdrawn' AND object_kind = 'release' AND actor_kind = 'person'"
    )
    known = sa.text(
        "UPDATE release SET withdrawn_by = :person WHERE id = :release AND withdrawn_at IS NOT NULL "
        "AND EXISTS (SELECT 1 FROM person WHERE id = :person)"
    )
    for person, release in op.get_bind().execute(withdrawn).all():
        op.get_bind().execute(known, {"person": person, "release": release})
