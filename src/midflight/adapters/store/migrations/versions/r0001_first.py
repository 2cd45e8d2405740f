"""The first schema: registry, runs, pins, revocations, sealing keys, single use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WIDE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "workloads",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("escalation", sa.Text, nullable=False),
        sa.Column("review_by", WIDE, nullable=False),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("tier", sa.Text, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("uid", WIDE),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("registered_at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workloads"),
    )
    op.create_table(
        "runs",
        sa.Column("seq", WIDE, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("workload", sa.Text, nullable=False),
        sa.Column("intent", sa.Text),
        sa.Column("opened_by", sa.Text, nullable=False),
        sa.Column("opened_at", WIDE, nullable=False),
        sa.Column("expires_at", WIDE, nullable=False),
        sa.Column("idle_timeout", WIDE, nullable=False),
        sa.Column("max_steps", WIDE, nullable=False),
        sa.Column("salt", sa.Text, nullable=False),
        sa.Column("implicit", sa.Boolean, nullable=False),
        sa.Column("parent", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("untrusted", sa.Boolean, nullable=False),
        sa.Column("confidentiality", sa.Integer, nullable=False),
        sa.Column("compartments", sa.Text, nullable=False),
        sa.Column("labels_source", sa.Text, nullable=False),
        sa.Column("steps_reserved", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_runs"),
        sa.UniqueConstraint("id", name="uq_runs_id"),
        sa.CheckConstraint(
            "steps_reserved >= 0 AND steps_reserved <= max_steps", name=op.f("ck_runs_budget")
        ),
    )
    op.create_index("ix_runs_workload_seq", "runs", ["workload", "seq"])
    op.create_index("ix_runs_state_seq", "runs", ["state", "seq"])
    op.create_table(
        "pins",
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("traits", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("at", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("upstream", "kind", "name", name="pk_pins"),
    )
    op.create_table(
        "revocations",
        sa.Column("position", WIDE, nullable=False, autoincrement=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("scope_kind", sa.Text, nullable=False),
        sa.Column("scope_id", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("proof", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("until", sa.Double),
        sa.Column("lifts", sa.Text),
        sa.PrimaryKeyConstraint("position", name="pk_revocations"),
        sa.UniqueConstraint("id", name="uq_revocations_id"),
    )
    op.create_table(
        "seal_keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_seal_keys"),
    )
    op.create_table(
        "used_once",
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("until", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("purpose", "key", name="pk_used_once"),
    )
    op.create_index("ix_used_once_until", "used_once", ["until"])


def downgrade() -> None:
    """Refuse: going back would drop revocations, and with them what may not act."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
