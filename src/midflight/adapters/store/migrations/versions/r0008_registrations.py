"""Registration entries, join tokens as hashes, and the processes launched for runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0008_registrations"
down_revision = "0007_leases"
branch_labels = None
depends_on = None

WIDE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "entries",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("spiffe_id", sa.Text, nullable=False),
        sa.Column("selectors", sa.Text, nullable=False),
        sa.Column("x509_ttl_s", WIDE, nullable=False),
        sa.Column("jwt_ttl_s", WIDE, nullable=False),
        sa.Column("federates_with", sa.Text, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("run", sa.Text),
        sa.Column("expires_at", WIDE),
        sa.Column("added_by", sa.Text, nullable=False),
        sa.Column("proof", sa.Text, nullable=False),
        sa.Column("added_at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_entries"),
    )
    op.create_table(
        "join_tokens",
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("spiffe_id", sa.Text, nullable=False),
        sa.Column("expires_at", WIDE, nullable=False),
        sa.Column("added_by", sa.Text, nullable=False),
        sa.Column("proof", sa.Text, nullable=False),
        sa.Column("added_at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_join_tokens"),
    )
    op.create_table(
        "launches",
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("workload", sa.Text, nullable=False),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("launcher", sa.Text, nullable=False),
        sa.Column("boot", sa.Text, nullable=False),
        sa.Column("uid", WIDE, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("proof", sa.Text, nullable=False),
        sa.Column("at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("run", name="pk_launches"),
    )


def downgrade() -> None:
    """Refuse: going back would forget who may be whom."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
