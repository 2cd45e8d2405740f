"""Credentials, sealed secrets and leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0007_leases"
down_revision = "0006_canaries"
branch_labels = None
depends_on = None

WIDE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make three tables."""
    op.create_table(
        "credentials",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("upstreams", sa.Text, nullable=False),
        sa.Column("injections", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("ttl_s", WIDE, nullable=False),
        sa.Column("max_ttl_s", WIDE, nullable=False),
        sa.Column("added_by", sa.Text, nullable=False),
        sa.Column("proof", sa.Text, nullable=False),
        sa.Column("added_at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_credentials"),
    )
    op.create_table(
        "sealed_secrets",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("box", sa.LargeBinary, nullable=False),
        sa.Column("sealed_at", WIDE, nullable=False),
        sa.Column("sealed_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sealed_secrets"),
    )
    op.create_table(
        "leases",
        sa.Column("seq", WIDE, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("credential", sa.Text, nullable=False),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("external", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("workload", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at", WIDE, nullable=False),
        sa.Column("expires_at", WIDE, nullable=False),
        sa.Column("max_expires_at", WIDE, nullable=False),
        sa.Column("handle", sa.Text, nullable=False),
        sa.Column("parent", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("attempts", WIDE, nullable=False),
        sa.Column("next_try_at", WIDE, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("stuck", sa.Boolean, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_leases"),
        sa.UniqueConstraint("id", name="uq_leases_id"),
        sa.UniqueConstraint("external", name="uq_leases_external"),
    )
    op.create_index("ix_leases_run_seq", "leases", ["run", "seq"])
    op.create_index("ix_leases_credential_seq", "leases", ["credential", "seq"])
    op.create_index("ix_leases_state_next_try_at", "leases", ["state", "next_try_at"])


def downgrade() -> None:
    """Refuse: going back would forget what has to be revoked."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
