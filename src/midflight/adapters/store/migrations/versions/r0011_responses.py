"""Responses: what holds for runs and workloads because of what was found about them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0011_responses"
down_revision = "0009_oauth"
branch_labels = None
depends_on = None

WIDE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "responses",
        sa.Column("seq", WIDE, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_responses"),
        sa.UniqueConstraint("id", name="uq_responses_id"),
    )
    op.create_index("ix_responses_until", "responses", ["until"])


def downgrade() -> None:
    """Refuse: going back would let what is held go on."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
