"""Canaries, as keyed hashes of their parts; and the waiver of a workload that is only observed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0006_canaries"
down_revision = "0005_flow"
branch_labels = None
depends_on = None

WIDE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table, and two columns."""
    op.create_table(
        "canaries",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("shape", sa.Text, nullable=False),
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("windows", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_canaries"),
    )
    op.add_column("workloads", sa.Column("waiver_by", sa.Text))
    op.add_column("workloads", sa.Column("waiver_until", WIDE))


def downgrade() -> None:
    """Refuse: going back would let planted values pass unseen."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
