"""Delegation: what a child run descends from, what is left to it, and what it was told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0003_delegation"
down_revision = "0002_monitors"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, empty for every run that was opened before."""
    for name in ("ancestors", "narrowed", "delegated"):
        op.add_column("runs", sa.Column(name, sa.Text))
    op.create_index("ix_runs_parent_seq", "runs", ["parent", "seq"])


def downgrade() -> None:
    """Refuse: going back would let a child run outlive its parent."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
