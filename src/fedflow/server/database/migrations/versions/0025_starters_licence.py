"""The starter says its licence and what it was trained on, where a run brought it in before it did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

LICENCE = "Apache-2.0"
CARD = """A small Stable Diffusion for pictures of 64 x 64 pixels, which comes with FedFlow.

Its weights were trained on drawings of two open sets, also mirrored, scaled, moved and recoloured:

- [Noto Emoji](https://github.com/googlefonts/noto-emoji) by Google, Apache License 2.0
- [Twemoji](https://github.com/jdecked/twemoji) by Twitter and other contributors, CC BY 4.0
"""


def upgrade() -> None:
    """What somebody brought in has an owner, and what somebody wrote of it stays."""
    op.get_bind().execute(
        sa.text(
            "UPDATE artifact SET licence = :licence, card = :card "
            "WHERE kind = 'model' AND name = 'starter' AND owner_id IS NULL AND licence = '' AND card = ''"
        ),
        {"licence": LICENCE, "card": CARD},
    )
