"""Shapes: what Cedar can say about a tool's arguments, read from its JSON Schema.

A shape is the typed part of an input schema. What Cedar has no type for (unions, `null`, anything
without a type, recursion) has no shape and is listed by name instead, so that a policy can still
see that it is there. Shapes say nothing about values: `arguments.py` fits values to them.
Below: `names.py`. Above: `schema.py`, `arguments.py`.

| JSON Schema | Cedar |
|---|---|
| `string`, `enum` or `const` of strings | `String` |
| `integer`, `enum` or `const` of integers | `Long` |
| `boolean` | `Bool` |
| `number` | `decimal` (four decimal places) |
| `array` with one typed `items` | `Set` (order and repetition are lost) |
| `object` with `properties` | record, its typed properties |
| one of these or `null` | the type, absent when the value is `null` |
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from midflight.adapters.policy.names import argument_id
from midflight.domain.value import JSONObject, Value

# A schema nested or referring deeper than this is cut off there: the rest is listed, not typed.
MAX_DEPTH = 8
# A hostile schema refers to itself several times at each level: depth alone does not bound it.
MAX_NODES = 4_000


class Scalar(enum.Enum):
    """A type without parts; the value is its name in a Cedar JSON schema."""

    STRING = "String"
    LONG = "Long"
    BOOL = "Boolean"
    DECIMAL = "decimal"


class SetOf(Value):
    """A list whose members all have one type."""

    element: Shape


class Member(Value):
    """One property of a record.

    Attributes:
        id: its name in Cedar.
        shape: its type, or None if Cedar has none for it.
        required: it must be there, and not be `null`.
    """

    id: str
    shape: Shape | None
    required: bool


class RecordOf(Value):
    """An object. `closed` means that no other property may be there."""

    members: Mapping[str, Member]
    closed: bool


Shape: TypeAlias = Scalar | SetOf | RecordOf

EMPTY = RecordOf(members={}, closed=False)


def arguments_shape(schema: JSONObject | None) -> RecordOf:
    """The shape of a tool's arguments. A tool without a usable schema has no typed argument."""
    if schema is None:
        return EMPTY
    shape, _ = _Reader(schema).read_nullable(schema, depth=0)
    return shape if isinstance(shape, RecordOf) else EMPTY


def cedar_type(shape: Shape) -> JSONObject:
    """The shape as a type of Cedar's JSON schema format."""
    match shape:
        case Scalar.DECIMAL:
            return {"type": "Extension", "name": "decimal"}
        case Scalar():
            return {"type": shape.value}
        case SetOf(element=element):
            return {"type": "Set", "element": cedar_type(element)}
        case RecordOf(members=members):
            return {
                "type": "Record",
                "attributes": {
                    member.id: cedar_type(member.shape) | {"required": member.required}
                    for member in members.values()
                    if member.shape is not None
                },
            }


class _Reader:
    """Reads shapes out of one schema document, following its local references."""

    def __init__(self, root: JSONObject) -> None:
        self._root = root
        self._budget = MAX_NODES

    def read_nullable(  # noqa: PLR0911 -- one return a form
        self, schema: object, *, depth: int
    ) -> tuple[Shape | None, bool]:
        """The shape of a subschema, and whether `null` is one of its values."""
        self._budget -= 1
        if depth > MAX_DEPTH or self._budget < 0 or not isinstance(schema, dict):
            return None, True
        node = cast("JSONObject", schema)
        kind = node.get("type")
        # Beside a type, a union can only narrow it further.
        if kind is None:
            if "$ref" in node:
                return self.read_nullable(self._resolve(node["$ref"]), depth=depth + 1)
            for union in ("anyOf", "oneOf", "allOf"):
                if union in node:
                    return self._read_union(node[union], depth=depth, union=union)
            return _read_values(node), False
        if isinstance(kind, list):
            kinds = [k for k in cast("list[Any]", kind) if k != "null"]
            nullable = len(kinds) < len(cast("list[Any]", kind))
            if len(kinds) != 1:
                return None, True
            return self._read_typed(kinds[0], node, depth=depth), nullable
        return self._read_typed(kind, node, depth=depth), kind == "null"

    def _read_union(self, options: object, *, depth: int, union: str) -> tuple[Shape | None, bool]:
        if not isinstance(options, list):
            return None, True
        found = [option for option in cast("list[Any]", options) if not _is_null(option)]
        if len(found) != 1:
            return None, True
        shape, nullable = self.read_nullable(found[0], depth=depth + 1)
        with_null = union != "allOf" and any(_is_null(o) for o in cast("list[Any]", options))
        return shape, nullable or with_null

    def _read_typed(  # noqa: PLR0911 -- one return a type
        self, kind: object, node: JSONObject, *, depth: int
    ) -> Shape | None:
        match kind:
            case "string":
                return Scalar.STRING
            case "integer":
                return Scalar.LONG
            case "boolean":
                return Scalar.BOOL
            case "number":
                return Scalar.DECIMAL
            case "array":
                element, nullable = self.read_nullable(node.get("items"), depth=depth + 1)
                return None if element is None or nullable else SetOf(element=element)
            case "object":
                return self._read_object(node, depth=depth)
            case _:
                return None

    def _read_object(self, node: JSONObject, *, depth: int) -> RecordOf | None:
        properties = node.get("properties", {})
        required = node.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            return None
        if depth > 0 and not properties:
            return None  # a map of anything: nothing a policy could name
        must = {name for name in cast("list[Any]", required) if isinstance(name, str)}
        members: dict[str, Member] = {}
        for name, schema in cast("JSONObject", properties).items():
            shape, nullable = self.read_nullable(schema, depth=depth + 1)
            members[name] = Member(
                id=argument_id(name), shape=shape, required=name in must and not nullable
            )
        closed = node.get("additionalProperties") is False and "patternProperties" not in node
        return RecordOf(members=members, closed=closed)

    def _resolve(self, reference: object) -> object:
        """What a local reference (`#/$defs/Name`) points to; None for any other."""
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return None
        found: Any = self._root
        for step in reference.removeprefix("#/").split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                return None
            found = cast("JSONObject", found)[key]
        return found


def _is_null(schema: object) -> bool:
    return isinstance(schema, dict) and cast("JSONObject", schema).get("type") == "null"


def _read_values(node: JSONObject) -> Shape | None:
    """A schema without `type` is typed by its `enum` or `const`, or not at all."""
    values = node.get("enum", [node["const"]] if "const" in node else None)
    if not isinstance(values, list) or not values:
        return None
    members = cast("list[object]", values)
    if all(type(value) is str for value in members):
        return Scalar.STRING
    if all(type(value) is int for value in members):
        return Scalar.LONG
    return None


__all__ = [
    "EMPTY",
    "MAX_DEPTH",
    "MAX_NODES",
    "Member",
    "RecordOf",
    "Scalar",
    "SetOf",
    "Shape",
    "arguments_shape",
    "cedar_type",
]
