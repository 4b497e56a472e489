"""Loose files that pages send after each other, and the dataset that what they send goes into."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what was begun before is for a new dataset."""
    op.add_column("arrival", sa.Column("files", sa.Integer(), nullable=True))
    op.add_column("arrival", sa.Column("dataset_id", sa.Text(), nullable=True))
