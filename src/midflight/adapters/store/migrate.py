"""Brings a database's schema up to date, in the caller's connection and one transaction.

Alembic does the work and is loaded only when there is some: opening a current store reads one row.
"""

from __future__ import annotations

import threading

from sqlalchemy import Connection, inspect, text

from midflight.adapters.store.schema import REVISION
from midflight.domain.errors import StoreUnavailable

_SCRIPTS = "midflight.adapters.store:migrations"

# Alembic keeps the migration that runs in module globals.
_ALEMBIC = threading.Lock()


def migrate(connection: Connection) -> None:
    """Bring the schema to `REVISION`.

    Raises:
        StoreUnavailable: another version of Midflight, unknown to this one, wrote the database.
    """
    with connection.begin():
        if _revision(connection) != REVISION:
            _upgrade(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 -- 0.1 s, and needed once in a file's life
    from alembic.config import Config  # noqa: PLC0415 -- half a second, rarely needed
    from alembic.util import CommandError  # noqa: PLC0415 -- half a second, rarely needed

    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    config.attributes["connection"] = connection
    try:
        with _ALEMBIC:
            command.upgrade(config, "head")
    except CommandError:
        raise StoreUnavailable(
            f"The store has schema {_revision(connection)}, which this Midflight does not know.",
            hint="Use the version of Midflight that wrote it, or a newer one.",
        ) from None


__all__ = ["migrate"]
