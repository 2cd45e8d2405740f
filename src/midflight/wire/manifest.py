"""Manifests: files that say what tools there are, read without asking whoever serves them.

A manifest is hostile text like everything else that comes from outside: strict JSON, bounded, and
what is wrong with it is an error that says where. Above: `openapi_tools.py` and `tools_file.py`,
one for each kind of file.
"""

from __future__ import annotations

from typing import cast

from midflight.domain.errors import Malformed, TooLarge
from midflight.domain.tool import Definition
from midflight.domain.value import JSON, JSONObject, Value
from midflight.wire.json import decode

MAX_BYTES = 33_554_432
MAX_TOOLS = 10_000
MAX_NAME = 512
"""As for what an upstream serves (`services/fetching.py`)."""


class Manifest(Value):
    """Definitions as if they were served, and what a reader should know about the reading."""

    definitions: tuple[Definition, ...]
    notes: tuple[str, ...] = ()


def read_document(raw: bytes, *, name: str) -> JSON:
    """The JSON document in a file; `name` is how errors call it.

    Raises:
        Malformed: no JSON, or more of it than is read.
    """
    if len(raw) > MAX_BYTES:
        raise TooLarge(f"{name} is larger than {MAX_BYTES:,} bytes.")
    try:
        return decode(raw)
    except Malformed as error:
        what = error.message.replace("The message", "It", 1)
        raise Malformed(
            f"{name} cannot be read. {what}",
            hint="Manifests are read as JSON; convert YAML first."
            if raw.lstrip()[:1] not in {b"{", b"["}
            else error.hint,
        ) from None


def checked_name(name: object, *, where: str) -> str:
    """The name of a tool.

    Raises:
        Malformed: not one that an upstream could serve.
    """
    if type(name) is str and 0 < len(name) <= MAX_NAME:
        return name
    raise Malformed(
        f"{where} has no name of 1 to {MAX_NAME} characters.",
        hint="Every tool needs a name of its own.",
    )


def as_members(value: object, *, where: str) -> JSONObject:
    """The value if it is an object.

    Raises:
        Malformed: it is something else.
    """
    if type(value) is not dict:
        raise Malformed(f"{where} is not an object.", hint="Look at that place of the document.")
    return cast("JSONObject", value)


def as_items(value: object, *, where: str) -> list[object]:
    """The value if it is an array.

    Raises:
        Malformed: it is something else.
    """
    if type(value) is not list:
        raise Malformed(f"{where} is not an array.", hint="Look at that place of the document.")
    return cast("list[object]", value)


__all__ = [
    "MAX_BYTES",
    "MAX_NAME",
    "MAX_TOOLS",
    "Manifest",
    "as_items",
    "as_members",
    "checked_name",
    "read_document",
]
