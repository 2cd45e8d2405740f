"""Which arguments of a tool are mirrored in `Mcp-Param-…` headers: `x-mcp-header` in its schema.

MCP 2026-07-28, Streamable HTTP §Custom Headers from Tool Parameters. A definition that breaks the
rules must not be listed to modern clients over HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, cast

from midflight.domain.value import JSON, JSONObject, Value
from midflight.wire import json

ANNOTATION: Final = "x-mcp-header"
PREFIX: Final = "Mcp-Param-"

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")  # RFC 9110 §5.6.2
_TYPES: Final = frozenset({"string", "integer", "boolean"})
# Members of a schema (JSON Schema 2020-12) that hold data or names, where the annotation's key is
# only text. Everything else is searched: an annotation in an unknown keyword is not reachable.
_DATA: Final = frozenset({"default", "examples", "const", "enum", "required", "dependentRequired"})


class ParamHeader(Value):
    """One mirrored argument: where it stands, the header's name, and whether it is an integer."""

    path: tuple[str, ...]
    name: str
    integer: bool = False

    @property
    def key(self) -> bytes:
        """The header's name as servers receive it: lower-case bytes."""
        return self.name.lower().encode()


def mirrored(input_schema: JSON) -> tuple[ParamHeader, ...]:
    """The arguments that a tool's schema mirrors; none if the schema is not valid for that.

    The schema is searched only if it holds the annotation at all, which costs 1 to 2 µs.
    """
    if not _mentions(input_schema) or valid_param_headers(input_schema) is not None:
        return ()
    return tuple(
        ParamHeader(
            path=path,
            name=PREFIX + schema[ANNOTATION],
            integer=schema["type"] == "integer",
        )
        for path, schema in _annotated(input_schema)
        if path is not None
    )


def valid_param_headers(input_schema: JSON) -> str | None:
    """Why modern clients over HTTP must not see a tool with this schema; None if they may."""
    if not _mentions(input_schema):
        return None
    seen: set[str] = set()
    for path, schema in _annotated(input_schema):
        if not path:
            return f"{ANNOTATION} stands where no chain of properties leads"
        where = ".".join(path)
        name = schema[ANNOTATION]
        if type(name) is not str or not _TOKEN.match(name):
            return f"{ANNOTATION} of {where} is not a header name (RFC 9110 token)"
        kind = schema.get("type")
        if type(kind) is not str or kind not in _TYPES:
            return f"{ANNOTATION} of {where} is not on a string, integer or boolean"
        if name.lower() in seen:
            return f"{ANNOTATION} of {where} is used twice"
        seen.add(name.lower())
    return None


def value_at(arguments: JSONObject, path: tuple[str, ...]) -> Any:
    """The argument at an exact path of property names; None if it is absent or null."""
    node: Any = arguments
    for name in path:
        if type(node) is not dict:
            return None
        node = cast("JSONObject", node).get(name)
    return node


def _mentions(schema: JSON) -> bool:
    return type(schema) is dict and ANNOTATION.encode() in json.encode(schema)


def _annotated(root: JSON) -> Iterator[tuple[tuple[str, ...] | None, JSONObject]]:
    """Every annotated schema with its chain of `properties`, or None off any such chain."""
    pending: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while pending:
        path, node = pending.pop()
        if type(node) is list:
            pending.extend((None, item) for item in cast("list[Any]", node))
            continue
        if type(node) is not dict:
            continue
        schema = cast("JSONObject", node)
        if ANNOTATION in schema:
            yield path, schema
        for keyword, value in schema.items():
            if keyword in _DATA or keyword == ANNOTATION:
                continue
            if keyword in _NAMED and type(value) is dict:
                reachable = keyword == "properties" and path is not None
                for name, below in cast("JSONObject", value).items():
                    pending.append(
                        ((*path, name) if reachable and path is not None else None, below)
                    )
            else:
                pending.append((None, value))


# Keywords whose members are names that the author chose, not keywords.
_NAMED: Final = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"}
)

__all__ = [
    "ANNOTATION",
    "PREFIX",
    "ParamHeader",
    "mirrored",
    "valid_param_headers",
    "value_at",
]
