"""Polls a transmitter by https (RFC 8936 §2), as an OAuth client of it or with a token at hand.

Where to is in the settings. An access token is kept until shortly before its end (RFC 6749 §4.4).
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import quote_plus, urlencode

import structlog

from midflight.adapters.documents.exchange import NO_ANSWER, Exchange, Reach, Resolve, why_no_answer
from midflight.domain.errors import Malformed, Unavailable
from midflight.domain.security_event import SetRefused
from midflight.domain.value import Discreet
from midflight.services.ports.clock import Clock
from midflight.wire import json
from midflight.wire.ssf.polls import decode_polled, encode_poll

log = structlog.get_logger(__name__)

TIMEOUT_S: Final = 15.0
MOST: Final = 50
_MAX_ANSWER: Final = 1_048_576
_MAX_TOKEN: Final = 16_384
_EARLY_S: Final = 30

Read = Callable[[], str]
"""Reads a secret at use."""


class PollClient(Discreet):
    """How we are known to a transmitter.

    Attributes:
        token: reads an access token, where it is got elsewhere; else the rest is there.
        token_url: the token endpoint.
        client_id: ours.
        client_secret: reads it.
        scope: asked for; empty for what the server gives.
    """

    token: Read | None = None
    token_url: str = ""
    client_id: str = ""
    client_secret: Read | None = None
    scope: str = ""


class HttpsPolls:
    """The `Polls` of one transmitter."""

    def __init__(
        self,
        endpoint: str,
        *,
        client: PollClient,
        clock: Clock,
        reach: Reach,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`tls` verifies the transmitter and its token endpoint."""
        self._endpoint = endpoint
        self._client = client
        self._clock = clock
        self._reach = reach
        self._timeout = timeout_s
        self._exchange = Exchange(tls=tls, resolve=resolve, timeout_s=timeout_s)
        self._held = ("", 0.0)

    async def poll(
        self, *, acks: Sequence[str], errors: Mapping[str, SetRefused]
    ) -> tuple[Mapping[str, str], bool]:
        """See `Polls`."""
        body = encode_poll(most=MOST, acks=tuple(acks), errors=errors)
        headers = {
            "Authorization": f"Bearer {await self._token()}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        status, raw = await self._post(self._endpoint, headers, body)
        if status == 401:
            self._held = ("", 0.0)
        if status != 200:
            raise Unavailable(f"The transmitter answers a poll with {status}.")
        try:
            polled = decode_polled(raw)
        except Malformed as error:
            raise Unavailable(f"The transmitter's answer cannot be read: {error.message}") from None
        return polled.sets, polled.more

    async def _token(self) -> str:
        client = self._client
        if client.token is not None:
            return client.token()
        token, until = self._held
        if token and self._clock.now() < until:
            return token
        assert client.client_secret is not None
        # RFC 6749 §2.3.1: both are form-encoded before they are put together.
        pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret())}"
        headers = {
            "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        form = {"grant_type": "client_credentials"}
        if client.scope:
            form["scope"] = client.scope
        status, raw = await self._post(client.token_url, headers, urlencode(form).encode())
        try:
            answer = json.as_object(json.decode(raw)) if status == 200 else None
        except Malformed:
            answer = None
        token, lives = (answer or {}).get("access_token"), (answer or {}).get("expires_in", 0)
        if not isinstance(token, str) or not 0 < len(token) <= _MAX_TOKEN or type(lives) is not int:
            raise Unavailable(f"The transmitter's token endpoint gives no token ({status}).")
        self._held = (token, self._clock.now() + lives - _EARLY_S)
        return token

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._exchange.asked(
                    "POST",
                    url,
                    limit=_MAX_ANSWER,
                    reach=self._reach,
                    headers=list(headers.items()),
                    body=body,
                ) as response,
            ):
                return response.status, await response.read()
        except NO_ANSWER as error:
            why = why_no_answer(error, timeout_s=self._timeout)
        log.warning("ssf_not_asked", url=url.partition("?")[0], why=why)
        raise Unavailable("The transmitter does not answer.", hint="The log of the plane says why.")


__all__ = ["MOST", "TIMEOUT_S", "HttpsPolls", "PollClient"]
