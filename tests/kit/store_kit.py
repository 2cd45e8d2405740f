"""A store as a start finds it that is not the first: its schema is there.

Making a schema loads Alembic and takes every step since the first version, a second in a new
process. That is tested on its own (`tests/unit/adapters/store`), and by whatever starts without
this; what tests something else need not wait for it again and again.
"""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path

from midflight.adapters.store.sqlite_file import SqliteFile

NAME = "midflight.sqlite3"


def with_schema(folder: Path) -> Path:
    """Put an empty store of the newest schema into a plane's folder, where none is; the folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / NAME
    if not path.exists():
        os.mknod(path, mode=0o600)
        path.write_bytes(_empty())
    return folder


@functools.cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        SqliteFile(path).connect_writer().close()  # the last to close writes its log back
        assert [each.name for each in path.parent.iterdir()] == [NAME]
        return path.read_bytes()


__all__ = ["NAME", "with_schema"]
