"""The starter says its licence and what it was trained on, where a run brought it in before it did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

STARTERS = (
    "1d1abf0bef2ceb467fe7404f0373ef9a1146383f4156434a8555fb898bae84a9",
    "310cbe65a4e9ab9653674b740a5b748265b363cfe973696e841283a4b57c381b",
)
"""Content hashes of the starters that came with FedFlow: a name says little, a folder may be called "starter" too."""
LICENCE = "Apache-2.0"
CARD = """A small Stable Diffusion for pictures of 64 x 64 pixels, which comes with FedFlow.

Its weights were trained on drawings of two open sets, also mirrored, scaled, moved and recoloured:

- [Noto Emoji](https://github.com/googlefonts/noto-emoji) by Google, Apache License 2.0
- [Twemoji](https://github.com/jdecked/twemoji) by Twitter and other contributors, CC BY 4.0
"""


def upgrade() -> None:
    """What somebody brought in has an owner, and what somebody wrote of it stays."""
    told = sa.text(
        "UPDATE artifact SET licence = :licence, card = :card "
        "WHERE kind = 'model' AND owner_id IS NULL AND licence = '' AND card = '' AND EXISTS "
        "(SELECT 1 FROM version WHERE artifact_id = artifact.id AND number = 1 AND content_hash IN :starters)"
    ).bindparams(sa.bindparam("starters", expanding=True))
    op.get_bind().execute(told, {"licence": LICENCE, "card": CARD, "starters": STARTERS})
