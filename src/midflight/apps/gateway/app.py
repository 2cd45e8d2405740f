"""The gateway's ASGI app: routes, authentication and decoding. Raw ASGI: this is the hot path.

    /mcp, /mcp/<upstream>                                 MCP, both generations
    /.well-known/oauth-protected-resource[/…]             RFC 9728 metadata
    /.well-known/oauth-authorization-server, /oauth/…     the authorization server, `apps/oauth`
    /attest/…                                             proving from elsewhere who one is
    /.well-known/jwks.json                                keys of the workload tokens
    /freeze                                               the control stream of in-process clients
    /ci/end                                               a job says that it has ended
    /spiffe/bundle                                        our trust bundle, for federation
    /signals/NAME                                         signed words about a run: `signals.py`
    /healthz, /readyz; /metrics from this machine only    for operators; no secrets

Every request: Host and Origin first, then the proof, then the body; so a stranger costs no parsing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from midflight.apps.gateway.attest import PREFIX as ATTEST
from midflight.apps.gateway.attest import AttestFront
from midflight.apps.gateway.endpoint import Endpoint
from midflight.apps.gateway.job_end import PATH as JOB_END
from midflight.apps.gateway.job_end import JobEnd
from midflight.apps.gateway.legacy import SESSION_HEADER, LegacyFront
from midflight.apps.gateway.modern import ModernFront
from midflight.apps.gateway.noise import Noise
from midflight.apps.oauth.app import OAuthApp
from midflight.apps.server.asgi import App, Receive, Scope, Send
from midflight.apps.server.body import check_json, read_body
from midflight.apps.server.listeners import is_loopback
from midflight.apps.server.origin import OriginPolicy
from midflight.apps.server.peer import scope_peer
from midflight.apps.server.respond import send_empty, send_json
from midflight.domain.errors import Malformed, MidflightError, NotFound, Unauthenticated
from midflight.domain.identity import Caller
from midflight.domain.key_ring import CACHE_S
from midflight.services.identity import Identity
from midflight.services.presented import Credentials
from midflight.wire import json, jsonrpc
from midflight.wire.jsonrpc import Notification, Request
from midflight.wire.mcp.headers import unsupported
from midflight.wire.mcp.meta import PROTOCOL_VERSION
from midflight.wire.mcp.versions import MODERN, SUPPORTED

Headers = dict[bytes, list[bytes]]
Page = Callable[[], Awaitable[tuple[int, bytes, bytes]]]
"""() → (status, content type, body)"""

METRICS = "/metrics"
MAX_VALUES = 20_000
"""Values in one message of a client. Judging takes microseconds for each, and all others wait."""

_PRM = "/.well-known/oauth-protected-resource"


class GatewayApp:
    """One ASGI app for all endpoints."""

    def __init__(
        self,
        *,
        endpoints: Mapping[str, Endpoint],
        identity: Identity,
        origins: OriginPolicy,
        modern: ModernFront,
        legacy: LegacyFront,
        noise: Noise,
        pages: Mapping[str, Page],
        public_url: str,
        max_body: int,
        oauth: OAuthApp | None = None,
        attest: AttestFront | None = None,
        job_end: JobEnd | None = None,
        fronts: Mapping[str, App] | None = None,
    ) -> None:
        """What is served.

        `endpoints` by path; `pages` are the plain GET pages by path; `fronts` serve all below a
        first segment (`/signals`), and find out themselves who calls; the others have theirs.
        """
        self._fronts = dict(fronts or {})
        self._attest = attest
        self._endpoints = endpoints
        self._identity = identity
        self._origins = origins
        self._modern = modern
        self._legacy = legacy
        self._noise = noise
        self._pages = pages
        self._public_url = public_url
        self._max_body = max_body
        self._oauth = oauth
        self._job_end = job_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] != "http":
            return
        refused = self._origins.check(scope)
        if refused is not None:
            self._noise.refused(refused.reason, peer=scope_peer(scope).address)
            told = {"code": refused.code, "message": refused.reason, "hint": refused.hint}
            await send_json(send, json.encode(told), status=refused.status)
            return
        path: str = scope["path"]
        endpoint = self._endpoints.get(path)
        if endpoint is not None:
            await self._serve(endpoint, scope, receive, send)
        elif self._attest is not None and path.startswith(ATTEST):
            await self._attest(scope, receive, send)
        elif path.startswith(_PRM):
            await self._metadata(path, send)
        elif self._oauth is not None and self._oauth.serves(path):
            await self._oauth(scope, receive, send)
        elif self._job_end is not None and path == JOB_END:
            await self._job_end.serve(
                scope, send, lambda asked: self._identify(asked, _headers(asked), JOB_END)
            )
        elif front := self._fronts.get(path[: path.find("/", 1)] if "/" in path[1:] else path):
            await front(scope, receive, send)
        elif path == "/.well-known/jwks.json":
            await send_json(send, json.encode(self._identity.jwks()), public_s=CACHE_S)
        else:
            await self._page(path, scope, send)

    # MCP

    async def _serve(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        peer = scope_peer(scope)
        caller: Caller | None = None
        try:
            caller = await self._identify(scope, headers, endpoint.path)
            match scope["method"]:
                case "POST":
                    await self._post(
                        endpoint, caller, headers, scope=scope, receive=receive, send=send
                    )
                case "GET" | "DELETE" if SESSION_HEADER in headers:
                    session = self._legacy.session(headers, caller, endpoint)
                    if scope["method"] == "GET":
                        await self._legacy.stream(
                            session, caller, endpoint, headers=headers, receive=receive, send=send
                        )
                    else:
                        self._legacy.end(session)
                        await send_empty(send, status=204)
                case _:
                    error = Malformed(
                        "MCP is spoken by POST here.",
                        hint="GET and DELETE belong to sessions of the versions that have them.",
                    )
                    self._noise.malformed(
                        error.message, peer=peer.address, workload=caller.workload
                    )
                    await send_json(
                        send,
                        jsonrpc.encode_malformed(error),
                        status=405,
                        headers=[(b"allow", b"POST")],
                    )
        except Unauthenticated as error:
            self._noise.refused(error.message, peer=peer.address)
            challenge = self._identity.challenge_header(error)
            await send_json(
                send,
                jsonrpc.encode_error(None, code=-32001, message=str(error)),
                status=401,
                headers=[(b"www-authenticate", challenge.encode("latin-1"))],
            )
        except NotFound as error:
            # Guessing at sessions of others looks like this.
            self._noise.refused(error.message, peer=peer.address)
            await send_json(
                send, jsonrpc.encode_error(None, code=-32001, message=str(error)), status=404
            )
        except Malformed as error:
            workload = "" if caller is None else caller.workload
            self._noise.malformed(error.message, peer=peer.address, workload=workload)
            await send_json(send, jsonrpc.encode_malformed(error), status=error.http_status)
        except MidflightError as error:
            await send_json(
                send,
                jsonrpc.encode_error(
                    None,
                    code=-32603,
                    message=str(error),
                    data={"code": error.code, "help": error.hint},
                ),
                status=error.http_status,
            )

    async def _identify(self, scope: Scope, headers: Headers, path: str) -> Caller:
        peer = scope_peer(scope)
        return await self._identity.identify(
            Credentials(
                authorization=_texts(headers, b"authorization"),
                dpop=_texts(headers, b"dpop"),
                method=scope["method"],
                url=self._public_url + path,
                peer=peer.address,
                certificates=peer.chain,
            )
        )

    async def _post(
        self,
        endpoint: Endpoint,
        caller: Caller,
        headers: Headers,
        *,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        check_json(scope["headers"])
        body = await read_body(receive, scope["headers"], limit=self._max_body)
        in_session = SESSION_HEADER in headers
        if in_session and jsonrpc.is_batch(body):
            session = self._legacy.session(headers, caller, endpoint)
            await self._legacy.batch(
                jsonrpc.decode_batch(body, max_values=MAX_VALUES),
                session,
                caller,
                endpoint,
                send=send,
            )
            return
        message = jsonrpc.decode_message(body, max_values=MAX_VALUES)
        if isinstance(message, Request):
            if message.method == "initialize" and not _says_modern(message, headers):
                await self._legacy.initialize(message, caller, endpoint, send=send)
                return
            if _is_modern(message, headers):
                await self._modern.serve(
                    message,
                    caller,
                    endpoint,
                    headers=headers,
                    receive=receive,
                    send=send,
                    on_disconnect=scope["state"]["on_disconnect"],
                    at_once=scope["state"].get("at_once"),
                )
                return
        elif isinstance(message, Notification) and not in_session:
            # The modern generation defines no notification from client to server over HTTP.
            await send_empty(send, status=202)
            return
        session = self._legacy.session(headers, caller, endpoint)
        accept = b",".join(headers.get(b"accept", [b"*/*"]))
        await self._legacy.message(
            message,
            session,
            caller,
            endpoint,
            accepts_stream=b"text/event-stream" in accept or b"*/*" in accept,
            send=send,
        )

    # Pages

    async def _metadata(self, path: str, send: Send) -> None:
        suffix = path.removeprefix(_PRM)
        if suffix and suffix not in self._endpoints:
            await send_empty(send, status=404)
            return
        await send_json(send, json.encode(self._identity.metadata()))

    async def _page(self, path: str, scope: Scope, send: Send) -> None:
        page = self._pages.get(path)
        if path == METRICS and not is_loopback(scope_peer(scope).address):
            page = None  # numbers about agents are nobody's business but this machine's
        if page is None or scope["method"] not in {"GET", "HEAD"}:
            self._noise.refused("There is nothing at that path.", peer=scope_peer(scope).address)
            await send_json(
                send,
                json.encode(
                    {
                        "code": "not_found",
                        "message": "There is nothing at that path.",
                        "help": "MCP endpoints: " + ", ".join(sorted(self._endpoints)),
                    }
                ),
                status=404,
            )
            return
        status, content_type, body = await page()
        await send_json(send, body, status=status, content_type=content_type)


def _headers(scope: Scope) -> Headers:
    headers: Headers = {}
    for name, value in scope["headers"]:
        headers.setdefault(name, []).append(value)
    return headers


def _is_modern(request: Request, headers: Headers) -> bool:
    """Which generation a request opens with: its own metadata, or else its headers, decide.

    A request of a known legacy version, with or without a session, is not modern. One that names
    a version nobody knows is answered as modern, so that the client learns which are spoken.
    """
    if _says_modern(request, headers):
        return True
    versions = _versions(headers)
    if SESSION_HEADER not in headers and versions and versions[0] not in SUPPORTED:
        raise unsupported(versions[0])
    return False


def _says_modern(request: Request, headers: Headers) -> bool:
    """Whether a request claims to be modern itself. `initialize` is none that exists there."""
    meta = request.params.get("_meta")
    return (isinstance(meta, dict) and PROTOCOL_VERSION in meta) or MODERN in _versions(headers)


def _versions(headers: Headers) -> tuple[str, ...]:
    return _texts(headers, b"mcp-protocol-version")


def _texts(headers: Headers, name: bytes) -> tuple[str, ...]:
    values = headers.get(name)
    return tuple([value.decode("latin-1") for value in values]) if values else ()


__all__ = ["GatewayApp", "Page"]
