"""Handles of agents that wait for an approval."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0013_held"
down_revision = "0012_approvers"
branch_labels = None
depends_on = None

WIDE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "held",
        sa.Column("seq", WIDE, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("form", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("approval", sa.Text, nullable=False),
        sa.Column("workload", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("bound", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("shown", sa.Boolean, nullable=False),
        sa.Column("rounds", WIDE, nullable=False),
        sa.Column("created_at", WIDE, nullable=False),
        sa.Column("expires_at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_held"),
        sa.UniqueConstraint("key", name="uq_held_key"),
    )
    op.create_index("ix_held_run_seq", "held", ["run", "seq"])
    op.create_index("ix_held_workload_seq", "held", ["workload", "seq"])
    op.create_index("ix_held_expires_at", "held", ["expires_at"])


def downgrade() -> None:
    """Refuse: going back would forget which calls were cancelled, and which have begun."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
