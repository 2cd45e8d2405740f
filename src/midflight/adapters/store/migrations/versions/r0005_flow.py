"""Flow: the index of each run, what it has done, and what untrusted runs have written."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0005_flow"
down_revision = "0004_approvals"
branch_labels = None
depends_on = None

WIDE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "flows",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("index", sa.LargeBinary, nullable=False),
        sa.Column("phrase_seen", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("run", name="pk_flows"),
    )
    op.create_table(
        "flow_effects",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("tool", sa.Text, nullable=False),
        sa.Column("count", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("run", "upstream", "tool", name="pk_flow_effects"),
    )
    op.create_table(
        "flow_marks",
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("upstream", "key", name="pk_flow_marks"),
    )


def downgrade() -> None:
    """Refuse: going back would forget what untrusted runs have written."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
