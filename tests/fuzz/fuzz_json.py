"""Any bytes: `json.decode` gives a value that Python's strict parser also gives, or `Malformed`."""

from __future__ import annotations

import json as stdlib
import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["midflight.wire"]):
    from midflight.domain.errors import Malformed
    from midflight.wire import json


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands twice")
    return members


def one_input(raw: bytes) -> None:
    try:
        value = json.decode(raw)
    except Malformed:
        return
    reference = stdlib.loads(raw.decode(), object_pairs_hook=_unique)
    if repr(reference) != repr(value):
        raise AssertionError("two parsers read two values")
    if repr(json.decode(json.encode(value))) != repr(value):
        raise AssertionError("the encoding means something else")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
