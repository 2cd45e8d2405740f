"""An OpenAPI 3.0 or 3.1 document becomes definitions, one for each operation.

The arguments of a tool are the parameters of its operation and the members of its JSON body, side
by side. What HTTP says about an operation (method, path, servers, security) stands in `_meta`; the
method may raise what is proposed for it and never lowers it, since many an API changes things with
GET. Below: `openapi_refs.py`. Above: `midflight traits propose`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from midflight.domain.errors import Malformed, MidflightError
from midflight.domain.proposal.claims import META, OPENAPI
from midflight.domain.tool import Definition, PinnedKind
from midflight.domain.value import JSON, JSONObject
from midflight.wire.manifest import MAX_TOOLS, Manifest, as_items, as_members, checked_name
from midflight.wire.openapi_refs import References

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
MAX_TEXT = 16_384
MAX_SERVERS = 8
_VERSION = re.compile(r"3\.[01](?:\.|\Z)")
_NOT_WORD = re.compile(r"[^A-Za-z0-9]+")


def tools_of_openapi(document: JSON, *, upstream: str) -> Manifest:
    """The operations of a document.

    Raises:
        Malformed: not such a document; the message names the operation that is wrong.
    """
    root = as_members(document, where="The document")
    version = root.get("openapi")
    if type(version) is not str or _VERSION.match(version) is None:
        raise Malformed(
            "The document is not OpenAPI 3.0 or 3.1.",
            hint="Its member `openapi` says which; convert Swagger 2.0 first.",
        )
    references = References(root)
    found: dict[str, Definition] = {}
    for operation in _operations(root, references):
        try:
            body = operation.body()
            name = checked_name(body["name"], where="The operation")
        except MidflightError as error:
            raise Malformed(f"{operation.where}: {error.message}", hint=error.hint) from None
        if name in found:
            raise Malformed(
                f"{operation.where}: another operation is also called {name!a}.",
                hint="Give each an operationId of its own.",
            )
        if len(found) == MAX_TOOLS:
            raise Malformed(
                f"The document has more than {MAX_TOOLS:,} operations.", hint="Split it."
            )
        found[name] = Definition(upstream=upstream, kind=PinnedKind.TOOL, name=name, body=body)
    notes = (
        (f"{references.cut} parts of schemas are recursive, deep or large, and were left out.",)
        if references.cut
        else ()
    )
    return Manifest(definitions=tuple(found.values()), notes=notes)


def _operations(root: JSONObject, references: References) -> Iterator[_Operation]:
    paths = as_members(root.get("paths", {}), where="paths")
    for path, given in paths.items():
        if not path.startswith("/"):
            continue  # an extension (`x-...`)
        where = f"paths {path[:120]!a}"
        item = references.follow(given, where=where)
        for method in METHODS:
            if method in item:
                place = f"{method.upper()} {path[:120]!a}"
                own = as_members(item[method], where=place)
                yield _Operation(
                    root=root,
                    references=references,
                    item=item,
                    own=own,
                    method=method,
                    path=path,
                    where=place,
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operation:
    """One operation, on its way to a definition."""

    root: JSONObject
    references: References
    item: JSONObject
    own: JSONObject
    method: str
    path: str
    where: str

    def body(self) -> JSONObject:
        """The definition as MCP would serve it."""
        properties: dict[str, Any] = {}
        required: list[str] = []
        places: dict[str, str] = {}
        for name, place, needed, schema in self._parameters():
            key = name if name not in properties else f"{place}_{name}"
            if key in properties:
                raise Malformed(f"The parameter {name!a} is given twice.", hint="Keep one.")
            properties[key], places[key] = schema, place
            if needed:
                required.append(key)
        self._add_body(properties, required, places)
        made: JSONObject = {
            "name": self.own.get("operationId") or self._name(),
            "description": self._description(),
            "inputSchema": {"type": "object", "properties": properties, "required": required},
            META: {OPENAPI: self._meta(places)},
        }
        answer = self._answer()
        return made if answer is None else {**made, "outputSchema": answer}

    def _parameters(self) -> Iterator[tuple[str, str, bool, JSON]]:
        """Name, place, whether it is needed, schema. Those of the operation replace the path's."""
        merged: dict[tuple[str, str], JSONObject] = {}
        for owner in (self.item, self.own):
            for given in as_items(owner.get("parameters", []), where="parameters"):
                found = self.references.follow(cast("JSON", given), where="A parameter")
                name = checked_name(found.get("name"), where="A parameter")
                place = found.get("in")
                if place not in ("path", "query", "header", "cookie"):
                    raise Malformed(
                        f"The parameter {name!a} is in no place that is known.",
                        hint="`in` is path, query, header or cookie.",
                    )
                merged[name, str(place)] = found
        for (name, place), found in merged.items():
            schema = self._content(found) if "content" in found else found.get("schema", {})
            resolved = self.references.schema(schema)
            if type(resolved) is dict and type(found.get("description")) is str:
                resolved = {"description": found["description"][:MAX_TEXT]} | resolved
            yield name, place, found.get("required") is True, resolved

    def _add_body(
        self, properties: dict[str, Any], required: list[str], places: dict[str, str]
    ) -> None:
        if self.own.get("requestBody") is None:
            return
        given = self.references.follow(self.own["requestBody"], where="requestBody")
        schema = self.references.schema(self._content(given))
        members = _members(schema)
        if members and not members.keys() & properties.keys():
            properties.update(members)
            places.update(dict.fromkeys(members, "body"))
            required += [name for name in _required(schema) if name in members]
            return
        name = "body" if "body" not in properties else "request_body"
        if name in properties:
            raise Malformed("The body collides with a parameter.", hint="Rename the parameter.")
        properties[name], places[name] = schema, "body"

    def _content(self, holder: JSONObject) -> JSON:
        """The schema of what is sent or answered: JSON if there is any, else a form, else any."""
        content = as_members(holder.get("content", {}), where="content")
        for wanted in ("json", "form", ""):
            for kind, media in content.items():
                if wanted in kind:
                    return as_members(media, where=f"content {kind[:80]!a}").get("schema", {})
        return {}

    def _answer(self) -> JSON:
        responses = as_members(self.own.get("responses", {}), where="responses")
        for status, given in responses.items():
            if status.startswith("2"):
                found = self.references.follow(given, where=f"response {status[:8]!a}")
                if found.get("content"):
                    return self.references.schema(self._content(found))
        return None

    def _meta(self, places: dict[str, str]) -> JSONObject:
        """What HTTP says about it. A server that is not named is the one that served the file."""
        servers = self.own.get("servers") or self.item.get("servers") or self.root.get("servers")
        security = self.own.get("security", self.root.get("security"))
        urls = [
            as_members(server, where="A server").get("url")
            for server in as_items(servers or [], where="servers")[:MAX_SERVERS]
        ]
        schemes = {
            name[:128]
            for entry in as_items(security or [], where="security")
            for name in as_members(entry, where="An entry of security")
        }
        return {
            "method": self.method.upper(),
            "path": self.path,
            "in": places,
            "servers": [url[:2_048] for url in urls if type(url) is str],
            "security": sorted(schemes),
        }

    def _description(self) -> str:
        parts = (self.own.get("summary"), self.own.get("description"))
        return "\n\n".join(part.strip() for part in parts if type(part) is str)[:MAX_TEXT]

    def _name(self) -> str:
        return _NOT_WORD.sub("_", f"{self.method} {self.path}").strip("_")[:128]


def _members(schema: JSON) -> dict[str, Any]:
    """Properties of an object, those of its `allOf` included."""
    if type(schema) is not dict:
        return {}
    found: dict[str, Any] = {}
    parts = schema.get("allOf")
    for part in cast("list[JSON]", parts) if type(parts) is list else ():
        found |= _members(part)
    properties = schema.get("properties")
    return {**found, **cast("dict[str, Any]", properties)} if type(properties) is dict else found


def _required(schema: JSON) -> list[str]:
    given = schema.get("required") if type(schema) is dict else None
    names = cast("list[object]", given) if type(given) is list else []
    return [name for name in names if type(name) is str]


__all__ = ["METHODS", "tools_of_openapi"]
