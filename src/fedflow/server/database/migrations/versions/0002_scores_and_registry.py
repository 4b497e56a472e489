"""Scores of rounds, models and adapters with their versions, merged base weights, and which files members may read.

Files of a base model that a run was prepared with before are not among these: start such a run anew.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and columns."""
    op.create_table(
        "score",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("num_examples", sa.BigInteger(), nullable=False),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("fid", sa.Double(), nullable=False),
        sa.Column("kid", sa.Double(), nullable=False),
        sa.Column("kid_low", sa.Double(), nullable=False),
        sa.Column("kid_high", sa.Double(), nullable=False),
        sa.Column("extractor", sa.Text(), nullable=False),
        sa.Column("resize", sa.Text(), nullable=False),
        sa.Column("num_heldout", sa.BigInteger(), nullable=False),
        sa.Column("features", sa.Text(), nullable=False),
        sa.Column("prompts", sa.JSON(), nullable=False),
        sa.Column("gallery", sa.JSON(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("scored_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_score_run_id_run"),
        sa.PrimaryKeyConstraint("run_id", "round", "who", name="pk_score"),
    )
    op.create_table(
        "artifact",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("federation_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["federation_id"], ["federation.id"], name="fk_artifact_federation_id_federation"),
        sa.PrimaryKeyConstraint("id", name="pk_artifact"),
        sa.UniqueConstraint("federation_id", "kind", "name", name="uq_artifact_federation_id"),
    )
    op.create_index("ix_artifact_federation_id", "artifact", ["federation_id"])
    op.create_table(
        "version",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("artifact_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=True),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("base_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("round", sa.BigInteger(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifact.id"], name="fk_version_artifact_id_artifact"),
        sa.ForeignKeyConstraint(["base_id"], ["version.id"], name="fk_version_base_id_version"),
        sa.ForeignKeyConstraint(["parent_id"], ["version.id"], name="fk_version_parent_id_version"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_version_run_id_run"),
        sa.PrimaryKeyConstraint("id", name="pk_version"),
        sa.UniqueConstraint("artifact_id", "number", name="uq_version_artifact_id"),
        sa.UniqueConstraint("run_id", "round", name="uq_version_run_id"),
    )
    op.create_table(
        "shared_file",
        sa.Column("federation_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["federation_id"], ["federation.id"], name="fk_shared_file_federation_id_federation"),
        sa.ForeignKeyConstraint(["sha256"], ["file.sha256"], name="fk_shared_file_sha256_file", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("federation_id", "sha256", name="pk_shared_file"),
    )
    op.create_index("ix_shared_file_sha256", "shared_file", ["sha256"])
    for column in ("run.initial", "round.adapter", "round.residual"):
        op.execute(
            f"INSERT INTO shared_file SELECT DISTINCT run.federation_id, {column} FROM run "  # noqa: S608 - names above
            f"LEFT JOIN round ON round.run_id = run.id WHERE {column} IS NOT NULL ON CONFLICT DO NOTHING"
        )
    op.add_column("round", sa.Column("merged", sa.Text(), nullable=True))
    op.add_column("job", sa.Column("subject", sa.Text(), nullable=False, server_default=""))
