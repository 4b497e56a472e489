"""A job's pace is counted from its first piece of work since it was begun or resumed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of a job that runs meanwhile the pace is not known until its next piece of work."""
    op.add_column("job", sa.Column("paced_from", sa.Integer()))
    op.add_column("job", sa.Column("paced_at", sa.Double()))
