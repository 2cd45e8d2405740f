"""The request headers of the modern generation: checked against the body, and made from it.

MCP 2026-07-28, Streamable HTTP §Request Metadata. Something between client and server may route
or filter on a header; so a header that disagrees with the body is refused, a missing one too, and
one that is there twice, since the first and the last copy have different readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from midflight.domain.value import JSON, JSONObject
from midflight.wire import json
from midflight.wire.jsonrpc import Request
from midflight.wire.malformed import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    UNSUPPORTED_VERSION,
    MalformedMessage,
)
from midflight.wire.mcp import header_values, meta
from midflight.wire.mcp.methods import CLIENT_REQUESTS
from midflight.wire.mcp.param_headers import mirrored, valid_param_headers, value_at
from midflight.wire.mcp.versions import (
    MODERN,
    SUPPORTED,
    VERSION_HEADER_SINCE,
    between,
    is_modern,
)

VERSION_HEADER: Final = "MCP-Protocol-Version"
METHOD_HEADER: Final = "Mcp-Method"
NAME_HEADER: Final = "Mcp-Name"

_VERSION_KEY: Final = VERSION_HEADER.lower().encode()
_METHOD_KEY: Final = METHOD_HEADER.lower().encode()
_NAME_KEY: Final = NAME_HEADER.lower().encode()

Headers = Mapping[bytes, Sequence[bytes]]


def check_modern(headers: Headers, request: Request, *, tool_schema: JSON | None) -> None:
    """Check a modern request's headers against its body.

    `headers` maps lower-case names to all values received, in order. `tool_schema` is the input
    schema of the tool that a `tools/call` names, as listed to this client; without it the
    `Mcp-Param-…` headers are not recognised, and ignored.

    Raises:
        MalformedMessage: with the request's id and, in the order looked for, -32602 (required
            `_meta` fields missing), -32020 (a header is missing, twice, unreadable or different)
            or -32022 (a version not spoken here, `data` lists those that are).
    """
    try:
        version = _required_meta(request.params)
        _check_routing(headers, request, version)
        if not is_modern(version):
            raise unsupported(version)
        if request.method == "tools/call" and tool_schema is not None:
            _check_arguments(headers, request.params.get("arguments"), tool_schema)
    except MalformedMessage as problem:
        problem.request_id = request.id
        raise


def for_upstream(
    method: str, params: JSONObject, version: str, tool_schema: JSON | None
) -> list[tuple[str, str]]:
    """The headers that go with a request of ours, for a version the upstream speaks."""
    made: list[tuple[str, str]] = []
    if between(version, VERSION_HEADER_SINCE, MODERN):
        made.append((VERSION_HEADER, version))
    if not is_modern(version):
        return made
    made.append((METHOD_HEADER, method))
    row = CLIENT_REQUESTS.get(method)
    if row is not None and row.name_field is not None:
        name = params.get(row.name_field)
        if type(name) is str:
            made.append((NAME_HEADER, header_values.encode(name)))
    arguments = json.as_object(params.get("arguments"))
    if method == "tools/call" and tool_schema is not None and arguments is not None:
        for header in mirrored(tool_schema):
            text = header_values.spelled(value_at(arguments, header.path))
            if text is not None:
                made.append((header.name, header_values.encode(text)))
    return made


def unsupported(version: str) -> MalformedMessage:
    """The error for a version that is not spoken here; `data` as the specification says."""
    return MalformedMessage(
        "Unsupported protocol version.",
        hint=f"Use one of {', '.join(SUPPORTED)}.",
        rpc_code=UNSUPPORTED_VERSION,
        data={"supported": list(SUPPORTED), "requested": version},
    )


def _required_meta(params: JSONObject) -> str:
    carried = json.as_object(params.get("_meta"))
    if carried is None:
        raise _missing(f"params._meta with {meta.PROTOCOL_VERSION}")
    version: object = carried.get(meta.PROTOCOL_VERSION)
    if type(version) is not str:
        raise _missing(f"{meta.PROTOCOL_VERSION} as a string")
    if type(carried.get(meta.CLIENT_CAPABILITIES)) is not dict:
        raise _missing(f"{meta.CLIENT_CAPABILITIES} as an object")
    return version


def _check_routing(headers: Headers, request: Request, version: str) -> None:
    if header_values.plain(_only(headers, _VERSION_KEY, VERSION_HEADER)) != version:
        raise _mismatch(VERSION_HEADER, "the version in _meta")
    if header_values.plain(_only(headers, _METHOD_KEY, METHOD_HEADER)) != request.method:
        raise _mismatch(METHOD_HEADER, "the method")
    if len(headers.get(_NAME_KEY, ())) > 1:
        raise _twice(NAME_HEADER)
    row = CLIENT_REQUESTS.get(request.method)
    if row is None or row.name_field is None:
        return
    # Of tasks only the client's side says MUST, so there a missing one is no contradiction.
    if row.name_header or _NAME_KEY in headers:
        named = header_values.decode(_only(headers, _NAME_KEY, NAME_HEADER))
        if named is None or named != request.params.get(row.name_field):
            raise _mismatch(NAME_HEADER, f"params.{row.name_field}")


def _check_arguments(headers: Headers, arguments: JSON, tool_schema: JSON) -> None:
    given = json.as_object(arguments) or {}
    # None of a schema that is not valid for it: such a tool is not listed to modern clients, so no
    # conforming one mirrors anything.
    for header in mirrored(tool_schema):
        value = value_at(given, header.path)
        if header.key not in headers:
            if header_values.spelled(value) is not None:
                raise MalformedMessage(
                    f"The {header.name} header is missing.",
                    hint="List the tools again and mirror the arguments they mark.",
                    rpc_code=HEADER_MISMATCH,
                )
            continue
        text = header_values.decode(_only(headers, header.key, header.name))
        if text is None or not header_values.says(text, value, integer=header.integer):
            raise _mismatch(header.name, f"argument {'.'.join(header.path)}")


def _only(headers: Headers, key: bytes, name: str) -> bytes:
    values = headers.get(key, ())
    if len(values) == 1:
        return values[0]
    if values:
        raise _twice(name)
    raise MalformedMessage(
        f"The {name} header is missing.",
        hint="Mirror the body in the headers (Streamable HTTP, Request Metadata).",
        rpc_code=HEADER_MISMATCH,
    )


def _twice(name: str) -> MalformedMessage:
    return MalformedMessage(
        f"The {name} header is there more than once.",
        hint="Send it once.",
        rpc_code=HEADER_MISMATCH,
    )


def _mismatch(name: str, what: str) -> MalformedMessage:
    return MalformedMessage(
        f"Header mismatch: {name} does not match {what} in the body.",
        hint="Mirror the body in the headers (Streamable HTTP, Request Metadata).",
        rpc_code=HEADER_MISMATCH,
    )


def _missing(what: str) -> MalformedMessage:
    return MalformedMessage(
        f"The request has no {what}.",
        hint="Each request carries its version and client capabilities (basic, General fields).",
        rpc_code=INVALID_PARAMS,
    )


__all__ = [
    "METHOD_HEADER",
    "NAME_HEADER",
    "VERSION_HEADER",
    "Headers",
    "check_modern",
    "for_upstream",
    "unsupported",
    "valid_param_headers",
]
