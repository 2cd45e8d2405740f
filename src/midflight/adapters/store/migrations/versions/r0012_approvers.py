"""Approvers: accounts, passkeys, enrolments, and questions that are at a provider."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0012_approvers"
down_revision = "0011_responses"
branch_labels = None
depends_on = None

WIDE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "approvers",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("groups", sa.Text, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("epoch", WIDE, nullable=False),
        sa.Column("totp", sa.Text),
        sa.Column("totp_step", WIDE, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_approvers"),
    )
    op.create_table(
        "approver_passkeys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("approver", sa.Text, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("count", WIDE, nullable=False),
        sa.Column("added_at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_approver_passkeys"),
    )
    op.create_index("ix_approver_passkeys_approver", "approver_passkeys", ["approver"])
    op.create_table(
        "approver_enrolments",
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("approver", sa.Text, nullable=False),
        sa.Column("expires_at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_approver_enrolments"),
        sa.UniqueConstraint("approver", name="uq_approver_enrolments_approver"),
    )
    op.create_table(
        "backchannel_requests",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("approval", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("approver", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("interval", WIDE, nullable=False),
        sa.Column("asked_at", WIDE, nullable=False),
        sa.Column("expires_at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_backchannel_requests"),
    )


def downgrade() -> None:
    """Refuse: going back would forget which codes were used."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
