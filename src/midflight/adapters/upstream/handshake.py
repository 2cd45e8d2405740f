"""How a connection to an upstream begins: which generation it speaks, and what it says it is.

Pure: requests as params, answers as `ServerInfo`. `mcp_http` and `mcp_stdio` do the talking.
Source: MCP 2026-07-28 Versioning and Discovery; 2025-11-25 Lifecycle.
"""

from __future__ import annotations

from typing import Any, Final, cast

from midflight import __version__
from midflight.domain.errors import UpstreamUnavailable
from midflight.domain.value import JSONObject
from midflight.services.ports.upstream import CATALOGUE_SEAT, RunSeat, ServerInfo
from midflight.wire.jsonrpc import Response
from midflight.wire.malformed import HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION
from midflight.wire.mcp import meta
from midflight.wire.mcp.versions import LEGACY, MODERN

SELF: Final[JSONObject] = {"name": "midflight", "title": "Midflight", "version": __version__}
CATALOGUE: Final = CATALOGUE_SEAT
# Instructions are pinned and shown; an upstream gets no more room than this.
MAX_INSTRUCTIONS: Final = 64 * 1024
_MODERN_ERRORS: Final = frozenset({HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION})
_OF_A_SESSION: Final = frozenset(
    {meta.PROTOCOL_VERSION, meta.CLIENT_INFO, meta.CLIENT_CAPABILITIES, meta.LOG_LEVEL}
)


def with_modern_meta(
    params: JSONObject, *, info: JSONObject, capabilities: JSONObject, level: str | None = None
) -> JSONObject:
    """`params` with the metadata that each modern request carries."""
    carried: JSONObject = dict(params.get("_meta", {}))
    carried[meta.PROTOCOL_VERSION] = MODERN
    carried[meta.CLIENT_INFO] = info or SELF
    carried[meta.CLIENT_CAPABILITIES] = capabilities
    if level is not None:
        carried.setdefault(meta.LOG_LEVEL, level)
    return {**params, "_meta": carried}


def without_modern_meta(params: JSONObject) -> JSONObject:
    """`params` for a legacy session, where that metadata belongs to the session."""
    carried = _object(params.get("_meta"))
    if not carried.keys() & _OF_A_SESSION:
        return params
    kept = {key: value for key, value in carried.items() if key not in _OF_A_SESSION}
    rest = {key: value for key, value in params.items() if key != "_meta"}
    return {**rest, "_meta": kept} if kept else rest


def initialize_params(seat: RunSeat) -> JSONObject:
    """What opens a legacy session for a seat."""
    return {
        "protocolVersion": LEGACY[0],
        "capabilities": seat.capabilities,
        "clientInfo": seat.client_info or SELF,
    }


def discovered(response: Response, *, peer: str) -> ServerInfo | None:
    """What the answer to `server/discover` says; None when the upstream is of the legacy kind.

    Raises:
        UpstreamUnavailable: it is modern and shares no version with Midflight.
    """
    if response.result is not None:
        versions = response.result.get("supportedVersions")
        if type(versions) is not list or MODERN not in versions:
            return None
        carried = _object(response.result.get("_meta"))
        return ServerInfo(
            modern=True,
            version=MODERN,
            capabilities=_object(response.result.get("capabilities")),
            info=_object(carried.get(meta.SERVER_INFO)),
            instructions=_instructions(response.result),
        )
    error = response.error or {}
    if error.get("code") not in _MODERN_ERRORS:
        return None
    supported = _object(error.get("data")).get("supported")
    if error.get("code") == UNSUPPORTED_VERSION and type(supported) is list:
        if any(version in LEGACY for version in cast("list[Any]", supported)):
            return None
        raise UpstreamUnavailable(
            f"Upstream {peer} speaks no protocol version that Midflight speaks.",
            hint=f"Midflight speaks {', '.join((MODERN, *LEGACY))}.",
        )
    raise UpstreamUnavailable(
        f"Upstream {peer} refused discovery with error {error.get('code')}.",
        hint="It speaks a modern version of the protocol, and not as it is specified.",
    )


def initialized(response: Response, *, peer: str) -> ServerInfo:
    """What the answer to `initialize` says.

    Raises:
        UpstreamUnavailable: it refused, or wants a version that Midflight does not speak.
    """
    if response.result is None:
        code = (response.error or {}).get("code")
        raise UpstreamUnavailable(
            f"Upstream {peer} refused to be initialized with error {code}.",
            hint="Look at its own log.",
        )
    version = response.result.get("protocolVersion")
    if type(version) is not str or version not in LEGACY:
        raise UpstreamUnavailable(
            f"Upstream {peer} wants a protocol version that Midflight does not speak.",
            hint=f"Midflight speaks {', '.join((MODERN, *LEGACY))}.",
        )
    return ServerInfo(
        modern=False,
        version=version,
        capabilities=_object(response.result.get("capabilities")),
        info=_object(response.result.get("serverInfo")),
        instructions=_instructions(response.result),
    )


def _object(value: Any) -> JSONObject:
    return cast("JSONObject", value) if type(value) is dict else {}


def _instructions(result: JSONObject) -> str:
    text = result.get("instructions")
    return text[:MAX_INSTRUCTIONS] if type(text) is str else ""


__all__ = [
    "CATALOGUE",
    "MAX_INSTRUCTIONS",
    "SELF",
    "discovered",
    "initialize_params",
    "initialized",
    "with_modern_meta",
    "without_modern_meta",
]
