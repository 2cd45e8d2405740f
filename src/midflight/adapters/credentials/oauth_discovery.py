"""Finding an upstream's authorization server: what the upstream says, and what of it is believed.

The way of MCP: the 401 of the upstream, its resource metadata (RFC 9728), the server's metadata
(RFC 8414, OpenID Connect). All of it is untrusted. An upstream may say *which* servers stand for
it; whether one of them sees a credential of Midflight's is decided by the issuer that an operator
pinned (`OAuthBackend.pinned`), never by what is found on the way of a call.
Above: `oauth_server.py`, `oauth.py`. Below: `guarded_calls.py`, `wire/oauth/metadata.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from midflight.adapters.credentials.calls import Answer, Sends
from midflight.adapters.credentials.reading import is_safe_url
from midflight.adapters.upstream.handshake import with_modern_meta
from midflight.domain.errors import Malformed, Misconfigured, Unavailable
from midflight.domain.value import JSONObject, Value
from midflight.wire.jsonrpc import encode_request
from midflight.wire.mcp.headers import for_upstream
from midflight.wire.mcp.versions import MODERN
from midflight.wire.oauth.metadata import (
    AskedFor,
    ResourceMetadata,
    ServerMetadata,
    read_challenge,
    read_resource,
    read_server,
    resource_urls,
    same_origin,
    server_urls,
)

log = structlog.get_logger(__name__)

UPSTREAM = "The upstream"
_PROBE = "tools/list"
"""A request that needs a token wherever one is needed; without one it lists nothing."""


class Described(Value):
    """What an upstream says of who may call it.

    Attributes:
        resource: identifier that tokens are for (RFC 8707).
        servers: issuers that it names.
        scopes: that it asks for: of its challenge, else all that it lists, else None.
    """

    resource: str
    servers: tuple[str, ...]
    scopes: tuple[str, ...] | None


async def describe(resource: str, calls: Sends) -> Described:
    """Ask an upstream who may call it.

    Args:
        resource: URL of the upstream, as an operator wrote it.
        calls: how it is asked.

    Raises:
        Misconfigured: it does not say, or says it of something else.
        Unavailable: it does not answer.
    """
    asked = await _challenge(resource, calls)
    metadata = await _metadata(resource, asked, calls)
    scopes = asked.scopes or metadata.scopes
    return Described(resource=metadata.resource, servers=metadata.servers, scopes=scopes)


async def server_metadata(issuer: str, calls: Sends) -> ServerMetadata:
    """The metadata of an issuer.

    Raises:
        Misconfigured: there is none, or it is that of another issuer.
        Unavailable: it does not answer.
    """
    last = 0
    for url in server_urls(issuer):
        answer = await calls.send("GET", url, again=True)
        last = answer.status
        if 400 <= last < 500:
            continue
        if last != 200:
            break
        try:
            found = read_server(answer.json())
        except Malformed as error:
            raise Misconfigured(
                "The metadata of an authorization server cannot be used.",
                [error.message],
                hint=f"Check that {issuer} is an issuer.",
            ) from None
        if found.issuer != issuer:
            # RFC 8414 §3.3: letter for letter, or whoever answers may speak for another.
            raise Misconfigured(
                "The metadata of an authorization server is that of another issuer.",
                hint=f"Check that {issuer} is its issuer, letter for letter.",
            )
        return found
    message = f"The authorization server answers {last} to the request for its metadata."
    if last >= 500 or last in {408, 425, 429}:
        raise Unavailable(message)
    raise Misconfigured(message, hint=f"Check that {issuer} is an issuer.")


def require_listed(described: Described, issuer: str) -> None:
    """Refuse an upstream that does not stand by the pinned issuer (any more).

    Raises:
        Misconfigured: it names others.
    """
    if issuer in described.servers:
        return
    # Not in the error, which an agent may see: what it names is text of the upstream's.
    log.warning("authorization_server_changed", pinned=issuer, named=described.servers[:5])
    raise Misconfigured(
        f"The upstream does not name the pinned authorization server {issuer} (any more), so "
        "nothing is sent to either.",
        hint="The log says what it names. If that is right, add the credential again with "
        "--replace: that pins it.",
    )


def only_server(described: Described) -> str:
    """The one issuer that an upstream names, to be pinned by an operator's act.

    Raises:
        Misconfigured: it names none or several.
    """
    if len(described.servers) == 1 and is_safe_url(described.servers[0]):
        return described.servers[0]
    if not described.servers:
        raise Misconfigured(
            "The upstream names no authorization server.", hint="Give it with --set issuer=URL."
        )
    shown = [server for server in described.servers if is_safe_url(server)][:5]
    raise Misconfigured(
        f"The upstream names no single authorization server to pin: {', '.join(shown) or 'none'} "
        "may be meant.",
        hint="Choose one with --set issuer=URL.",
    )


async def _challenge(resource: str, calls: Sends) -> AskedFor:
    """What the upstream says to a request without a token; nothing is taken from it but that."""
    params: JSONObject = with_modern_meta({}, info={}, capabilities={})
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        **dict(for_upstream(_PROBE, params, MODERN, None)),
    }
    body = encode_request(1, _PROBE, params)
    answer = await calls.send("POST", resource, headers=headers, body=body)
    if answer.status != 401:
        return AskedFor()
    return read_challenge(answer.headers.get("www-authenticate", "")) or AskedFor()


async def _metadata(resource: str, asked: AskedFor, calls: Sends) -> ResourceMetadata:
    places: Sequence[tuple[str, str]] = resource_urls(resource)
    if asked.metadata:
        if not same_origin(asked.metadata, resource):
            raise Misconfigured(
                "The upstream says that its metadata is at another origin, so it is not read.",
                hint="Give the authorization server with --set issuer=URL, without discover.",
            )
        places = [(asked.metadata, dict(places).get(asked.metadata, resource))]
    for url, identifier in places:
        answer = await calls.send("GET", url, again=True)
        if 400 <= answer.status < 500:
            continue
        if answer.status != 200:
            raise Misconfigured(
                f"{UPSTREAM} answers {answer.status} to the request for its metadata.",
                hint="Redirects are not followed. Give --set issuer=URL, without discover.",
            )
        return _read(answer, identifier)
    raise Misconfigured(
        f"{UPSTREAM} does not say which authorization server stands for it (RFC 9728).",
        hint="Give it with --set issuer=URL, without discover.",
    )


def _read(answer: Answer, identifier: str) -> ResourceMetadata:
    try:
        found = read_resource(answer.json())
    except Malformed as error:
        raise Misconfigured(
            "The metadata of the upstream cannot be used.", [error.message]
        ) from None
    # RFC 9728 §3.3. An origin is the same with and without its slash (RFC 3986 §6.2.3).
    if found.resource not in {identifier, *_with_slash(identifier)}:
        raise Misconfigured(
            "The metadata of the upstream is that of another resource, so it is not believed.",
            hint=f"Check that {identifier} is the URL of the upstream, letter for letter.",
        )
    return found


def _with_slash(identifier: str) -> tuple[str, ...]:
    is_origin = identifier.count("/") == 2
    return (f"{identifier}/",) if is_origin else ()


__all__ = ["Described", "describe", "only_server", "require_listed", "server_metadata"]
