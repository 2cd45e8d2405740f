"""Shared signals: streams to others, what waits in them, and SETs that others sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0015_ssf"
down_revision = "0014_escalation"
branch_labels = None
depends_on = None

WIDE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "ssf_streams",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("created_at", WIDE, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("dropped", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ssf_streams"),
    )
    op.create_index("ix_ssf_streams_client", "ssf_streams", ["client"])
    op.create_table(
        "ssf_events",
        sa.Column("number", WIDE, nullable=False, autoincrement=True),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("jti", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("claims", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_ssf_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_ssf_events_stream_number", "ssf_events", ["stream", "number"])
    op.create_index("ix_ssf_events_stream_jti", "ssf_events", ["stream", "jti"], unique=True)
    op.create_table(
        "ssf_sets",
        sa.Column("receiver", sa.Text, nullable=False),
        sa.Column("jti", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("at", WIDE, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("receiver", "jti", name="pk_ssf_sets"),
    )
    op.create_index("ix_ssf_sets_receiver_at", "ssf_sets", ["receiver", "at"])


def downgrade() -> None:
    """Refuse: going back would let a SET be taken twice, and forget what is to be sent."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
