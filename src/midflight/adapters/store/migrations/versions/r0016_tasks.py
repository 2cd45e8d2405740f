"""Tasks that upstreams work on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from midflight.domain.errors import Conflict

revision = "0016_tasks"
down_revision = "0015_ssf"
branch_labels = None
depends_on = None

WIDE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "upstream_tasks",
        sa.Column("seq", WIDE, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_upstream_tasks"),
    )
    op.create_index(
        "ix_upstream_tasks_run_upstream_task",
        "upstream_tasks",
        ["run", "upstream", "task"],
        unique=True,
    )


def downgrade() -> None:
    """Refuse: going back would forget what still runs for whom."""
    raise Conflict("A store is never taken back.", hint="Restore a backup instead.")
