"""Snapshots that services keep of their own state, first of all the monitors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0002_monitors"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "snapshots",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_snapshots"),
    )


def downgrade() -> None:
    """Refuse: going back would forget what limits count."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
