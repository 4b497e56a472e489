"""Devices that wait for a person to let them in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "device_sign_in",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("user_code", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("answered_at", sa.Double()),
        sa.Column("federation_id", sa.Text()),
        sa.Column("member_name", sa.Text()),
        sa.PrimaryKeyConstraint("hash", name="pk_device_sign_in"),
        sa.UniqueConstraint("user_code", name="uq_device_sign_in_user_code"),
        sa.ForeignKeyConstraint(
            ["federation_id"], ["federation.id"], name="fk_device_sign_in_federation_id_federation"
        ),
    )
