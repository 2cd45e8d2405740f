"""Approvals, and the counterparties that owners know."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0004_approvals"
down_revision = "0003_delegation"
branch_labels = None
depends_on = None

WIDE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "approvals",
        sa.Column("seq", WIDE, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("workload", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("approvers", sa.Text, nullable=False),
        sa.Column("shown", sa.Text, nullable=False),
        sa.Column("created_at", WIDE, nullable=False),
        sa.Column("expires_at", WIDE, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("answers", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_approvals"),
        sa.UniqueConstraint("id", name="uq_approvals_id"),
    )
    op.create_index("ix_approvals_digest_seq", "approvals", ["digest", "seq"])
    op.create_index("ix_approvals_run_seq", "approvals", ["run", "seq"])
    op.create_index("ix_approvals_state_seq", "approvals", ["state", "seq"])
    op.create_table(
        "counterparties",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("added_by", sa.Text, nullable=False),
        sa.Column("proof", sa.Text, nullable=False),
        sa.Column("added_at", WIDE, nullable=False),
        sa.Column("expires_at", WIDE, nullable=False),
        sa.Column("approval", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_counterparties"),
    )


def downgrade() -> None:
    """Refuse: going back would forget which approvals were used."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
