"""Any header bytes against a fixed request: accepted only if the official SDK accepts them too."""

from __future__ import annotations

import sys

import atheris
from mcp.shared import inbound as sdk

with atheris.instrument_imports(include=["midflight.wire"]):
    from midflight.domain.errors import Malformed
    from midflight.wire.jsonrpc import Request
    from midflight.wire.mcp import header_values, headers, meta

_SCHEMA = {
    "properties": {
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "text": {"type": "string", "x-mcp-header": "Text"},
    }
}


def _spelled(provider: atheris.FuzzedDataProvider, value: object) -> bytes:
    """The right header, the right one with some bytes of it replaced, or any bytes."""
    right = header_values.encode(str(value)).encode()
    match provider.ConsumeIntInRange(0, 2):
        case 0:
            return right
        case 1:
            at = provider.ConsumeIntInRange(0, len(right))
            to = provider.ConsumeIntInRange(at, len(right))
            return right[:at] + provider.ConsumeBytes(4) + right[to:]
        case _:
            return provider.ConsumeBytes(24)


def one_input(raw: bytes) -> None:
    provider = atheris.FuzzedDataProvider(raw)
    name = provider.ConsumeUnicodeNoSurrogates(12)
    arguments = {
        "count": provider.ConsumeIntInRange(-(2**63), 2**63 - 1),
        "text": provider.ConsumeUnicodeNoSurrogates(12),
    }
    found = {
        b"mcp-protocol-version": [b"2026-07-28"],
        b"mcp-method": [b"tools/call"],
        b"mcp-name": [_spelled(provider, name)],
        b"mcp-param-count": [_spelled(provider, arguments["count"])],
        b"mcp-param-text": [_spelled(provider, arguments["text"])],
    }
    params = {
        "name": name,
        "arguments": arguments,
        "_meta": {meta.PROTOCOL_VERSION: "2026-07-28", meta.CLIENT_CAPABILITIES: {}},
    }
    request = Request(id=1, method="tools/call", params=params)
    try:
        headers.check_modern(found, request, tool_schema=_SCHEMA)
    except Malformed:
        return
    plain = {key.decode(): values[0].strip(b" \t").decode() for key, values in found.items()}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    route = sdk.classify_inbound_request(body, headers=plain)
    if not isinstance(route, sdk.InboundModernRoute):
        raise AssertionError("accepted what the official SDK refuses")  # noqa: TRY004
    if sdk.validate_mcp_param_headers(_SCHEMA, arguments, plain) is not None:
        raise AssertionError("accepted arguments that the official SDK refuses")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
