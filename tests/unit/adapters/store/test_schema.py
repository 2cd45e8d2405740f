"""The schema, its migrations and the domain say the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from midflight.adapters.store import schema
from midflight.adapters.store.sqlite_file import SqliteFile
from midflight.domain.approval import ApprovalRequest
from midflight.domain.counterparty import Counterparty
from midflight.domain.identity import Workload
from midflight.domain.labels import Labels
from midflight.domain.revocation import Revocation
from midflight.domain.run import Run
from midflight.domain.tool import Pin


def test_the_migrations_lead_to_the_schema(tmp_path: Path) -> None:
    connection = SqliteFile(tmp_path / "midflight.db").connect_writer()
    try:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.METADATA) == []
    finally:
        connection.close()


def test_constraints_that_alembic_does_not_compare_are_there_too(tmp_path: Path) -> None:
    connection = SqliteFile(tmp_path / "midflight.db").connect_writer()
    try:
        table = connection.exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE name = 'runs'"
        ).scalar_one()
    finally:
        connection.close()
    assert "CHECK (steps_reserved >= 0 AND steps_reserved <= max_steps)" in table


def test_the_revision_of_the_schema_is_the_last_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "midflight.adapters.store:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [schema.REVISION]


@pytest.mark.parametrize(
    ("table", "value", "own", "elsewhere"),
    [
        ("workloads", Workload, set(), set()),
        (
            "runs",
            Run,
            {"seq", "state", "labels_source", "steps_reserved", *Labels.__struct_fields__},
            set(),
        ),
        ("pins", Pin, set(), set()),
        ("revocations", Revocation, {"position", "scope_kind", "scope_id"}, {"scope"}),
        ("approvals", ApprovalRequest, {"seq"}, set()),
        ("counterparties", Counterparty, set(), set()),
    ],
)
def test_every_field_of_a_stored_value_has_a_column(
    table: str, value: type, own: set[str], elsewhere: set[str]
) -> None:
    columns = set(schema.METADATA.tables[table].columns.keys())
    assert columns - own == set(value.__struct_fields__) - elsewhere
