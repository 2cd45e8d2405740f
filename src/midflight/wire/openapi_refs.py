"""References inside an OpenAPI document, resolved within bounds.

Only references into the same document are followed: a reference to elsewhere would fetch what
nobody looked at. A schema that contains itself is cut where it recurs, and one that is deeper or
larger than a proposal needs is cut there, with a note. References that lead in a circle without
anything between them mean nothing and are refused.
"""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import unquote

from midflight.domain.errors import Malformed
from midflight.domain.value import JSON, JSONObject
from midflight.wire.manifest import as_members

REF = "$ref"
MAX_HOPS = 16
MAX_DEPTH = 24
MAX_VALUES = 4_000
"""Of one resolved schema; what lies beyond is cut."""
MAX_TOTAL = 2_000_000
"""Of all resolved schemas of a document; beyond, the document is refused."""

# Members that map names to schemas, so that a property may be called `$ref`.
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
# Members that hold data and no schema.
_DATA = frozenset({"default", "const", "enum", "example", "examples"})


class References:
    """The references of one document."""

    def __init__(self, document: JSONObject) -> None:
        """`document` is never changed."""
        self._document = document
        self._total = 0
        self._left = 0
        self.cut = 0

    def follow(self, node: JSON, *, where: str) -> JSONObject:
        """An object, through references to it (parameters, bodies, responses, path items).

        Raises:
            Malformed: no object, a circle, or a reference that leads nowhere or elsewhere.
        """
        return as_members(self._target(node, []), where=where)

    def schema(self, node: JSON) -> JSON:
        """A copy of a schema with its references resolved.

        Raises:
            Malformed: as for `follow`, or too much in all.
        """
        self._left = MAX_VALUES
        return self._resolved(node, (), MAX_DEPTH)

    def _resolved(self, node: JSON, inside: tuple[str, ...], depth: int) -> JSON:
        if type(node) is not dict and type(node) is not list:
            return node
        if depth == 0 or self._left <= 0:
            self.cut += 1
            return {}
        self._spend(len(node))
        if type(node) is list:
            return [self._resolved(item, inside, depth - 1) for item in node]
        members = cast("dict[str, Any]", node)
        if type(members.get(REF)) is str:
            return self._referred(members, inside, depth)
        return {name: self._member(name, value, inside, depth) for name, value in members.items()}

    def _referred(self, members: dict[str, Any], inside: tuple[str, ...], depth: int) -> JSON:
        pointers: list[str] = []
        target = self._target(members, pointers)
        if any(pointer in inside for pointer in pointers):
            self.cut += 1
            return {}
        resolved = self._resolved(target, (*inside, *pointers), depth)
        # What stands beside a reference adds to it (JSON Schema 2020-12).
        beside = {name: value for name, value in members.items() if name != REF}
        if not beside or type(resolved) is not dict:
            return resolved
        more = self._resolved(beside, inside, depth)
        return {**resolved, **as_members(more, where="what stands beside a reference")}

    def _member(self, name: str, value: Any, inside: tuple[str, ...], depth: int) -> JSON:
        if name in _DATA:
            size = _size(value, self._left)
            self._spend(size)
            return value if self._left > 0 else None
        if name in _NAMED and type(value) is dict:
            named = cast("dict[str, Any]", value)
            self._spend(len(named))
            return {
                inner: self._resolved(below, inside, depth - 1) for inner, below in named.items()
            }
        return self._resolved(value, inside, depth - 1)

    def _spend(self, count: int) -> None:
        self._left -= count
        self._total += count
        if self._total > MAX_TOTAL:
            raise Malformed(
                f"The schemas of the document come to more than {MAX_TOTAL:,} values.",
                hint="Take out the operations that nobody uses.",
            )

    def _target(self, node: JSON, pointers: list[str]) -> JSON:
        """What a chain of references leads to; the pointers on the way are added to `pointers`."""
        while type(node) is dict and type(node.get(REF)) is str:
            pointer = cast("str", node[REF])
            if pointer in pointers or len(pointers) == MAX_HOPS:
                raise Malformed(
                    f"The reference {pointer[:80]!a} leads in a circle.",
                    hint="Say what it means at one place.",
                )
            pointers.append(pointer)
            node = self._at(pointer)
        return node

    def _at(self, pointer: str) -> JSON:
        if not pointer.startswith("#"):
            raise Malformed(
                f"The reference {pointer[:80]!a} leads out of the document.",
                hint="Bundle the document into one file first; nothing is fetched for it.",
            )
        node: JSON = self._document
        for part in unquote(pointer[1:]).split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and key in node:
                node = cast("dict[str, JSON]", node)[key]
            elif isinstance(node, list) and _is_index(key, cast("list[JSON]", node)):
                node = cast("list[JSON]", node)[int(key)]
            else:
                raise Malformed(
                    f"The reference {pointer[:80]!a} leads nowhere.",
                    hint="Look at its spelling.",
                )
        return node


def _is_index(key: str, items: list[JSON]) -> bool:
    return key.isascii() and key.isdigit() and len(key) < 8 and int(key) < len(items)


def _size(value: object, enough: int) -> int:
    """How many values are in a value; counting ends once there are more than `enough`."""
    count, pending = 0, [value]
    while pending and count <= enough:
        found = pending.pop()
        count += 1
        if type(found) is dict:
            pending.extend(cast("dict[str, object]", found).values())
        elif type(found) is list:
            pending.extend(cast("list[object]", found))
    return count


__all__ = ["MAX_DEPTH", "MAX_HOPS", "MAX_TOTAL", "MAX_VALUES", "References"]
