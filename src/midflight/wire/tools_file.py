"""A file of tools with JSON schemas becomes definitions.

    [tool, …]     {"tools": [tool, …]}     {"<upstream>": [tool, …], …}

A tool is one of MCP (`inputSchema`), or of the common chat interfaces: `{"type": "function",
"function": {"name", "description", "parameters"}}`, the same without the inner object, or with
`input_schema`. What is MCP stays as it is, so its digest is the one that is served.
"""

from __future__ import annotations

from midflight.domain.errors import Malformed, NotFound
from midflight.domain.tool import Definition, PinnedKind
from midflight.domain.value import JSON, JSONObject
from midflight.wire.manifest import MAX_TOOLS, Manifest, as_items, as_members, checked_name

_SCHEMAS = ("inputSchema", "parameters", "input_schema")


def tools_of_file(document: JSON, *, upstream: str) -> Manifest:
    """The tools of one upstream.

    Raises:
        NotFound: the file names upstreams, and not this one.
        Malformed: not such a file, or a tool that stands twice in it.
    """
    entries = _entries(document, upstream)
    if len(entries) > MAX_TOOLS:
        raise Malformed(f"The file holds more than {MAX_TOOLS:,} tools.", hint="Split it.")
    found: dict[str, Definition] = {}
    for index, entry in enumerate(entries):
        where = f"Tool {index + 1}"
        body = _body(as_members(entry, where=where), where=where)
        name = checked_name(body.get("name"), where=where)
        if name in found:
            raise Malformed(
                f"The tool {name!a} stands twice in the file.",
                hint="Keep the one that is served.",
            )
        found[name] = Definition(upstream=upstream, kind=PinnedKind.TOOL, name=name, body=body)
    return Manifest(definitions=tuple(found.values()))


def _entries(document: JSON, upstream: str) -> list[object]:
    if isinstance(document, list):
        return list(document)
    members = as_members(document, where="The file")
    for name in (upstream, "tools"):
        if name in members:
            return as_items(members[name], where=f"{name} of the file")
    named = ", ".join(ascii(name) for name in list(members)[:10])
    raise NotFound(
        f"The file names no upstream {upstream!r}.", hint=f"It names: {named or 'nothing'}."
    )


def _body(entry: JSONObject, *, where: str) -> JSONObject:
    """The entry as MCP would serve it."""
    if "inputSchema" in entry:
        return entry
    inner = entry.get("function") if entry.get("type") == "function" else None
    told = entry if inner is None else as_members(inner, where=f"function of {where.lower()}")
    body: JSONObject = {
        name: value for name, value in told.items() if name not in {*_SCHEMAS, "type"}
    }
    schema = next((told[name] for name in _SCHEMAS if name in told), None)
    # Interfaces for chat leave the schema out where a function takes nothing.
    empty: JSONObject = {"type": "object", "properties": {}}
    body["inputSchema"] = (
        empty if schema is None else as_members(schema, where=f"schema of {where}")
    )
    return body


__all__ = ["tools_of_file"]
