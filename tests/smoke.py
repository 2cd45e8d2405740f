"""Tries an installed Midflight, outside of the repository: run by `make smoke`, not by pytest.

What it looks for is what a wheel forgets: data files, migrations, the type marker.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import tempfile
from pathlib import Path

import midflight
from midflight.adapters.store.sqlite import SqliteStore


async def open_a_store(folder: Path) -> None:
    store = SqliteStore(folder / "midflight.db")
    await store.open()
    assert list(await store.list_workloads()) == []
    await store.close()


def main() -> None:
    assert "site-packages" in str(midflight.__file__), midflight.__file__
    assert importlib.resources.files("midflight").joinpath("py.typed").is_file()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(open_a_store(Path(folder)))


main()
