"""The endpoints of the authorization server for programs. Raw ASGI, behind the gateway's checks.

    /.well-known/oauth-authorization-server[/…]   RFC 8414
    /oauth/token                                  RFC 6749, 8693, 9449
    /oauth/revoke, /oauth/introspect              RFC 7009, RFC 7662
    /oauth/authorize, /oauth/login …              `pages.py`

Host and Origin are looked at before (`apps/gateway/app.py`). Every refusal is counted and recorded,
and is JSON of RFC 6749 §5.2; what goes wrong inside is told to nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

import structlog

from midflight.apps.gateway.noise import Noise
from midflight.apps.oauth.forms import read_form
from midflight.apps.oauth.pages import Pages
from midflight.apps.server.asgi import Receive, Scope, Send, header_values
from midflight.apps.server.peer import scope_peer
from midflight.apps.server.respond import send_empty, send_json
from midflight.domain.authorization import AuthorizationRefused, Refusal
from midflight.domain.errors import Malformed
from midflight.domain.value import JSONObject
from midflight.services.authorization import Authorization, as_refusal
from midflight.services.authorization_clients import AuthorizationRequest
from midflight.wire.oauth.documents import INTROSPECT, REVOKE, TOKEN, WELL_KNOWN, body, refusal
from midflight.wire.tokens.certificate import certificate_thumbprint

log = structlog.get_logger(__name__)

MAX_HEADERS = 16_384

Endpoint = Callable[[AuthorizationRequest], Awaitable[JSONObject | None]]


class OAuthApp:
    """See the module."""

    def __init__(
        self,
        *,
        authorization: Authorization,
        pages: Pages,
        noise: Noise,
        metadata: Callable[[], JSONObject],
        issuer: str,
        public_url: str,
    ) -> None:
        """`metadata` makes the RFC 8414 document."""
        self._pages = pages
        self._noise = noise
        self._metadata = metadata
        self._public_url = public_url
        # RFC 8414 §3.1: the well-known part goes before the issuer's path.
        self._documents = {WELL_KNOWN, WELL_KNOWN + urlsplit(issuer).path.rstrip("/")}
        self._endpoints: dict[str, Endpoint] = {
            TOKEN: authorization.token,
            REVOKE: authorization.revoke,
            INTROSPECT: authorization.introspect,
        }

    def serves(self, path: str) -> bool:
        """Whether a path is one of ours."""
        return path in self._documents or path in self._endpoints or self._pages.serves(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3, for a path that is served here."""
        path: str = scope["path"]
        if path in self._documents:
            if scope["method"] not in {"GET", "HEAD"}:
                await send_empty(send, status=405, headers=[(b"allow", b"GET")])
                return
            await send_json(send, body(self._metadata()))
        elif path in self._endpoints:
            await self._answer(path, scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    # Inside

    async def _answer(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope_peer(scope)
        try:
            request = await self._read(path, scope, receive)
            answer = await self._endpoints[path](request)
        except AuthorizationRefused as error:
            await self._refuse(error, peer.address, send)
        except Malformed as error:
            self._noise.malformed(error.message, peer=peer.address, workload="")
            await self._refuse(as_refusal(error), "", send, status=error.http_status)
        except Exception as error:  # noqa: BLE001 -- a bug must refuse, and tell a stranger nothing
            log.warning("oauth_failed", path=path, error=type(error).__name__)
            await self._refuse(
                AuthorizationRefused(Refusal.SERVER_ERROR, "It went wrong inside."),
                peer.address,
                send,
            )
        else:
            if answer is None:  # RFC 7009 §2.2: 200 without a body worth reading
                await send_empty(send, status=200, headers=_OLD)
            else:
                await send_json(send, body(answer), headers=_OLD)

    async def _read(self, path: str, scope: Scope, receive: Receive) -> AuthorizationRequest:
        if scope["method"] != "POST":
            raise Malformed("This endpoint takes POST alone.")
        if scope["query_string"]:
            raise Malformed("Parameters belong into the body; what is in a URL ends up in logs.")
        form = await read_form(scope, receive)
        peer = scope_peer(scope)
        shown = peer.certificate
        return AuthorizationRequest(
            form=form,
            url=self._public_url + path,
            authorization=_texts(scope, b"authorization"),
            dpop=_texts(scope, b"dpop"),
            chain=peer.chain,
            x5t=None if shown is None else certificate_thumbprint(shown),
            peer=peer.address,
        )

    async def _refuse(
        self, error: AuthorizationRefused, peer: str, send: Send, *, status: int | None = None
    ) -> None:
        if peer:
            self._noise.refused(f"oauth {error.refusal.value}: {error.message}", peer=peer)
        headers = list(_OLD)
        if error.refusal is Refusal.INVALID_CLIENT:
            # RFC 6749 §5.2 asks for it where an Authorization header was sent; 401 needs it anyway.
            headers.append((b"www-authenticate", b'Bearer error="invalid_client"'))
        await send_json(send, refusal(error), status=status or error.status, headers=headers)


def _texts(scope: Scope, name: bytes) -> tuple[str, ...]:
    values = header_values(scope["headers"], name)
    if sum(map(len, values)) > MAX_HEADERS:
        raise Malformed("A header is larger than 16 KiB.")
    return tuple(value.decode("latin-1") for value in values)


# RFC 6749 §5.1, for caches of HTTP/1.0; Cache-Control is set on every answer.
_OLD: Iterable[tuple[bytes, bytes]] = ((b"pragma", b"no-cache"),)


__all__ = ["OAuthApp"]
