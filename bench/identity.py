"""Identity: what keys, tokens, SVIDs and leases cost.

Each part is a module `bench/identity_*.py` with a function `rows() -> Sequence[Row]`; all that are
there are run, in the order of their names.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

import bench
from bench.report import Row

PREFIX = "identity_"


def run() -> Sequence[Row]:
    """The rows of every part."""
    rows: list[Row] = []
    for name in sorted(module.name for module in pkgutil.iter_modules(bench.__path__)):
        if name.startswith(PREFIX):
            rows += importlib.import_module(f"bench.{name}").rows()
    return rows
