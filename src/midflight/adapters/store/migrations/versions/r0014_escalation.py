"""Notices, with where their escalation is, and break-glass."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0014_escalation"
down_revision = "0013_held"
branch_labels = None
depends_on = None

WIDE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "notices",
        sa.Column("seq", WIDE, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("version", WIDE, nullable=False),
        sa.Column("ended_at", WIDE, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_notices"),
        sa.UniqueConstraint("id", name="uq_notices_id"),
        sa.UniqueConstraint("subject", name="uq_notices_subject"),
    )
    op.create_index("ix_notices_ended_at", "notices", ["ended_at"])
    op.create_table(
        "break_glass",
        sa.Column("seq", WIDE, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("reviewed", sa.Boolean, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_break_glass"),
        sa.UniqueConstraint("id", name="uq_break_glass_id"),
    )
    op.create_index("ix_break_glass_reviewed", "break_glass", ["reviewed"])


def downgrade() -> None:
    """Refuse: going back would lose questions that nobody has answered."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
