"""A release refers to who gave it out, instead of keeping the name, which would outlive the account."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Who it was is in the audit log, which has an entry for each release; a name alone may be another's by now."""
    given_out = _given_out()
    op.execute("ALTER TABLE release DROP COLUMN released_by")
    reference = "released_by TEXT CONSTRAINT fk_release_released_by_person REFERENCES person (id)"
    op.execute(f"ALTER TABLE release ADD COLUMN {reference}")
    op.create_index("ix_release_released_by", "release", ["released_by"])
    known = sa.text(
        "UPDATE release SET released_by = :person WHERE version_id = :version AND tag = :tag "
        "AND EXISTS (SELECT 1 FROM person WHERE id = :person)"
    )
    for row in given_out:
        op.get_bind().execute(known, row)


def _given_out() -> list[dict[str, Any]]:
    entries = op.get_bind().execute(
        sa.text(
            "SELECT actor_id, object_id, facts FROM audit_entry WHERE action = 'released' AND actor_kind = 'person'"
        )
    )
    found = []
    for actor_id, version_id, kept in entries:
        facts = json.loads(kept) if isinstance(kept, str) else kept
        found.append({"person": actor_id, "version": version_id, "tag": facts["tag"]})
    return found
