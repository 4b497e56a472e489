"""Scores keep FID's interval and the KID of real pictures; those of before have neither."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Features of before are kept, but to measure them again is an evaluator's work of minutes."""
    for name in ("fid_low", "fid_high", "kid_floor", "kid_floor_low", "kid_floor_high"):
        op.add_column("score", sa.Column(name, sa.Double()))
