"""Alembic's environment: runs the steps in the connection and transaction of `migrate.py`.

Executed by Alembic, never imported.
"""

from __future__ import annotations

from alembic import context

from midflight.adapters.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite's DDL takes part in transactions; half a schema must never stay behind.
    transactional_ddl=True,
    compare_type=True,
)
context.run_migrations()
