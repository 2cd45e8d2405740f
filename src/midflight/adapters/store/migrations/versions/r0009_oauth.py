"""The authorization server: clients, codes, grants, refresh tokens, and the tokens of grants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0009_oauth"
down_revision = "0008_registrations"
branch_labels = None
depends_on = None

WIDE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "oauth_clients",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_oauth_clients"),
    )
    for name in ("oauth_codes", "oauth_refreshes"):
        op.create_table(
            name,
            sa.Column("digest", sa.Text, nullable=False),
            sa.Column("body", sa.Text, nullable=False),
            sa.Column("used", sa.Boolean, nullable=False),
            sa.Column("expires_at", WIDE, nullable=False),
            sa.PrimaryKeyConstraint("digest", name=f"pk_{name}"),
        )
        op.create_index(f"ix_{name}_expires_at", name, ["expires_at"])
    op.create_table(
        "oauth_grants",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("ended", sa.Boolean, nullable=False),
        sa.Column("expires_at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_oauth_grants"),
    )
    op.create_index("ix_oauth_grants_expires_at", "oauth_grants", ["expires_at"])
    op.create_table(
        "oauth_tokens",
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("grant_id", sa.Text, nullable=False),
        sa.Column("expires_at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("token", name="pk_oauth_tokens"),
    )
    op.create_index("ix_oauth_tokens_grant_id", "oauth_tokens", ["grant_id"])
    op.create_index("ix_oauth_tokens_expires_at", "oauth_tokens", ["expires_at"])


def downgrade() -> None:
    """Refuse: going back would forget which codes were used."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
