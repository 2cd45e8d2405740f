"""Values of records as bounded JSON, without what is sealed."""

from __future__ import annotations

import enum
from typing import cast

import msgspec

from midflight.domain.records import Sealed
from midflight.domain.value import JSON

MAX_TEXT = 1_024
"""Characters of one text."""
MAX_ITEMS = 64
"""Members of one list or object."""
MAX_DEPTH = 6


def clipped(text: str) -> str:
    """A text of at most `MAX_TEXT` characters; the end of a longer one is marked."""
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def bounded(value: object, depth: int = MAX_DEPTH) -> JSON:
    """A value as bounded JSON: sealed parts and bytes left out, long texts and lists clipped."""
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, Sealed | bytes):
        return None
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str) or depth == 0:
        return clipped(str(value)) if isinstance(value, str) else "…"
    if isinstance(value, msgspec.Struct):
        value = {name: getattr(value, name) for name in value.__struct_fields__}
    if isinstance(value, dict):
        items = list(cast("dict[object, object]", value).items())[:MAX_ITEMS]
        return {clipped(str(name)): bounded(each, depth - 1) for name, each in items}
    if isinstance(value, list | tuple | set | frozenset):
        members = list(cast("list[object]", value))
        if isinstance(value, set | frozenset):
            members.sort(key=str)
        return [bounded(each, depth - 1) for each in members[:MAX_ITEMS]]
    return clipped(str(value))


__all__ = ["MAX_DEPTH", "MAX_ITEMS", "MAX_TEXT", "bounded", "clipped"]
