"""Pictures that were asked for have a width and a height of their own."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What was one number is both, so that older jobs can be resumed and their settings used again."""
    op.execute(
        """
        UPDATE job SET asked = json_remove(
            json_set(
                asked,
                '$.width_pixels', json_extract(asked, '$.size_pixels'),
                '$.height_pixels', json_extract(asked, '$.size_pixels')
            ),
            '$.size_pixels'
        )
        WHERE kind = 'draw' AND json_type(asked, '$.size_pixels') IS NOT NULL
        """
    )
