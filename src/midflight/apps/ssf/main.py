"""Shared signals of a plane: what is served, and how refusals are answered.

Every refusal is counted and recorded. Receivers are told `{"code", "message", "hint"}`, whoever
pushes or polls the members of RFC 8935 §2.3 besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

from midflight.apps.gateway.app import Page
from midflight.apps.gateway.noise import Noise
from midflight.apps.server.asgi import App, Receive, Scope, Send
from midflight.apps.server.peer import scope_peer
from midflight.apps.server.respond import Extra, send_error, send_json
from midflight.apps.ssf.receiving import ReceiveFront
from midflight.apps.ssf.streams import InsufficientScope, StreamFront
from midflight.domain.errors import (
    Malformed,
    MidflightError,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from midflight.domain.key_ring import CACHE_S
from midflight.domain.security_event import SetRefused
from midflight.services.ssf_streams import MIN_VERIFICATION_S, TooMany
from midflight.wire import json
from midflight.wire.ssf.metadata import JWKS, WELL_KNOWN, metadata, well_known
from midflight.wire.ssf.polls import encode_refused

if TYPE_CHECKING:
    from midflight.apps.compose import Plane

log = structlog.get_logger(__name__)


class SharedSignalFront:
    """Serves what is below `/ssf`; Host and Origin were looked at before."""

    def __init__(
        self,
        *,
        streams: StreamFront | None,
        receiving: ReceiveFront,
        jwks: Page | None,
        noise: Noise,
    ) -> None:
        """`streams` and `jwks` are there where events are sent."""
        self._streams = streams
        self._receiving = receiving
        self._jwks = jwks
        self._noise = noise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        try:
            await self._serve(scope, receive, send)
        except MidflightError as error:
            self._note(error, scope_peer(scope).address)
            await _refuse(send, error)
        except Exception as error:  # noqa: BLE001 -- a bug must refuse, and tell a stranger nothing
            log.warning("ssf_failed", path=scope["path"], error=type(error).__name__)
            await send_error(send, Unavailable("It went wrong inside."))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if self._receiving.serves(path):
            await self._receiving(scope, receive, send)
        elif self._streams is not None and self._streams.serves(path):
            await self._streams(scope, receive, send)
        elif self._jwks is not None and path == JWKS and scope["method"] in {"GET", "HEAD"}:
            status, content_type, body = await self._jwks()
            await send_json(send, body, status=status, content_type=content_type, public_s=CACHE_S)
        else:
            raise NotFound("There is nothing at that path.")

    def _note(self, error: MidflightError, peer: str) -> None:
        if isinstance(error, Malformed) and not isinstance(error, SetRefused):
            self._noise.malformed(error.message, peer=peer, workload="")
        elif not isinstance(error, Unavailable):
            self._noise.refused(f"ssf {error.code}: {error.message}", peer=peer)


async def _refuse(send: Send, error: MidflightError) -> None:
    headers: Extra = ()
    match error:
        case SetRefused():
            if error.http_status == 401:
                headers = [(b"www-authenticate", b"Bearer")]
            await send_json(send, encode_refused(error), status=error.http_status, headers=headers)
            return
        case Unauthenticated():
            # RFC 6750 §3.1: no error code for a request that shows no token at all.
            said = f' error="{error.challenge}"' if error.challenge else ""
            headers = [(b"www-authenticate", f"Bearer{said}".encode())]
        case InsufficientScope():
            said = f'Bearer error="insufficient_scope", scope="{error.wanted}"'
            headers = [(b"www-authenticate", said.encode())]
        case TooMany():
            headers = [(b"retry-after", b"%d" % MIN_VERIFICATION_S)]
        case _:
            pass
    await send_error(send, error, headers=headers)


def ssf_fronts(plane: Plane, *, noise: Noise) -> Mapping[str, App]:
    """What serves `/ssf` of a plane; nothing where there is nothing to serve."""
    settings, signals = plane.settings, plane.signals
    sending = signals.transmitting
    if sending is None and not settings.ssf.receive:
        return {}
    streams: StreamFront | None = None
    jwks: Page | None = None
    if sending is not None:
        streams = StreamFront(
            streams=sending.streams,
            polls=sending.polls,
            identity=plane.identity,
            tokens=plane.oauth.tokens,
            issuer=settings.issuer,
            public_url=settings.public_url,
        )
        keys = sending.jwks

        async def key_set() -> tuple[int, bytes, bytes]:
            return 200, b"application/json", json.encode(keys())

        jwks = key_set
    secrets = {
        row.name: row.push_secret.read
        for row in settings.ssf.receive
        if row.push_secret is not None
    }
    receiving = ReceiveFront(signals.receiving, secrets)
    return {"/ssf": SharedSignalFront(streams=streams, receiving=receiving, jwks=jwks, noise=noise)}


def ssf_pages(plane: Plane) -> dict[str, Page]:
    """The transmitter's document, where its issuer puts it (SSF 1.0 §7.2)."""
    settings = plane.settings
    if not settings.ssf.transmit:
        return {}
    document = json.encode(metadata(issuer=settings.issuer, base=settings.public_url))

    async def page() -> tuple[int, bytes, bytes]:
        return 200, b"application/json", document

    return {WELL_KNOWN: page, well_known(settings.issuer): page}


__all__ = ["SharedSignalFront", "ssf_fronts", "ssf_pages"]
