"""The HTTP client for HTTP/2 and forward proxies, on `httpx2`: correct first, 20 times the price.

Its transports are used bare: no redirects, no cookies, no environment, no content codings. Each
carries one exchange at a time and is kept for the next, since httpx2 does not reset an HTTP/2
stream that is given up (its `_response_closed` only forgets it): so giving up closes the
connection, which no other exchange shares, and the upstream sees the cancellation.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx2

from midflight.adapters.upstream.http_client import Gate, HttpLimits, HttpTimeouts, split_url
from midflight.adapters.upstream.placing import Placer, pairs
from midflight.domain.errors import UpstreamBroken, UpstreamUnavailable
from midflight.services.ports.injection import NOTHING, Attachment


class Http2Client:
    """See `HttpClient`. With `http2` over https the protocol is agreed by ALPN."""

    def __init__(
        self,
        peer: str,
        url: str,
        *,
        headers: bytes = b"",
        tls: ssl.SSLContext | None = None,
        http2: bool = True,
        proxy: str | None = None,
        limits: HttpLimits | None = None,
        timeouts: HttpTimeouts | None = None,
    ) -> None:
        _ = split_url(url)
        self.peer = peer
        self.limits = limits or HttpLimits()
        self.timeouts = timeouts or HttpTimeouts()
        self._url = url
        self._headers = headers
        self._placer = Placer(peer, url, configured=headers)
        self._tls = tls or ssl.create_default_context()
        self._http2 = http2
        self._proxy = proxy
        self._idle: list[tuple[float, httpx2.AsyncHTTPTransport]] = []
        self._room = asyncio.Semaphore(self.limits.connections)
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._draining = False

    async def send(
        self,
        method: bytes,
        headers: bytes,
        body: bytes,
        *,
        gate: Gate,
        replay: bool = False,
        attachment: Attachment = NOTHING,
    ) -> Http2Response:
        """See `HttpClient.send`. `replay` is not made use of."""
        del replay
        if self._closed:
            raise UpstreamUnavailable(f"Upstream {self.peer} is being closed.")
        sent = False
        await self._room.acquire()
        try:
            url, lines = self._url, self._headers + headers
            if attachment is not NOTHING:
                url, lines = self._placer.place(method, headers, body, attachment)
        except BaseException:
            self._room.release()
            raise

        async def trace(event: str, info: dict[str, Any]) -> None:
            # Between this look and the write httpx2 only awaits what a cut would end.
            nonlocal sent
            del info
            if event.endswith("send_request_headers.started"):
                gate.look()
                sent = True
                gate.left(0)
            elif event.endswith("send_request_body.started"):
                gate.look()
                gate.left(len(body))

        connect = self.timeouts.connect
        timeout = {"connect": connect, "pool": connect, "read": None, "write": None}
        request = httpx2.Request(
            method.decode("ascii"),
            url,
            headers=pairs(lines),
            content=body if method == b"POST" else None,
            extensions={"timeout": timeout, "trace": trace},
        )
        transport = self._take()
        try:
            response = await transport.handle_async_request(request)
        except BaseException as error:
            self.discard(transport)
            if isinstance(error, httpx2.HTTPError):
                raise self._failed(error, sent=sent) from None
            raise
        head = sum(len(name) + len(value) + 4 for name, value in response.headers.raw)
        gate.came(head)
        result = Http2Response(self, transport, response, gate)
        if head > self.limits.head or len(response.headers.raw) > self.limits.headers:
            result.close()
            raise UpstreamBroken(
                f"Upstream {self.peer} sent a head of over {self.limits.head} bytes."
            )
        return result

    def drain(self) -> None:
        """Close every connection when what it carries has ended."""
        self._draining = True
        while self._idle:
            _, transport = self._idle.pop()
            self._close_beside(transport)

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        while self._idle:
            _, transport = self._idle.pop()
            await transport.aclose()
        if self._closing:
            await asyncio.wait(self._closing, timeout=1.0)

    def keep(self, transport: httpx2.AsyncHTTPTransport) -> None:
        """The exchange is complete; its connection may carry another."""
        self._room.release()
        if self._closed or self._draining:
            self._close_beside(transport)
        else:
            self._idle.append((time.monotonic(), transport))

    def discard(self, transport: httpx2.AsyncHTTPTransport) -> None:
        """The exchange was given up."""
        self._room.release()
        self._close_beside(transport)

    def _take(self) -> httpx2.AsyncHTTPTransport:
        while self._idle:
            since, transport = self._idle.pop()
            if time.monotonic() - since < self.timeouts.keep:
                return transport
            self._close_beside(transport)
        return httpx2.AsyncHTTPTransport(
            verify=self._tls,
            http1=True,
            http2=self._http2,
            proxy=self._proxy,
            trust_env=False,
            retries=0,
            limits=httpx2.Limits(max_connections=1, max_keepalive_connections=1),
        )

    def _close_beside(self, transport: httpx2.AsyncHTTPTransport) -> None:
        task = asyncio.get_running_loop().create_task(_aclose(transport))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _failed(
        self, error: httpx2.HTTPError, *, sent: bool
    ) -> UpstreamBroken | UpstreamUnavailable:
        if sent:
            return UpstreamBroken(
                f"Upstream {self.peer} broke the exchange off.",
                hint="Whether the action took effect is not known.",
            )
        through = "its proxy" if self._proxy else "it"
        kind = type(error).__name__
        return UpstreamUnavailable(
            f"Upstream {self.peer} cannot be connected to ({kind}).",
            hint=f"Check that {through} runs and that the URLs are right.",
        )


class Http2Response:
    """A response of the client above."""

    def __init__(
        self,
        client: Http2Client,
        transport: httpx2.AsyncHTTPTransport,
        response: httpx2.Response,
        gate: Gate,
    ) -> None:
        self.status = response.status_code
        self._client = client
        self._transport = transport
        self._headers = response.headers.raw
        stream = cast("httpx2.AsyncByteStream", response.stream)
        self._stream = stream
        self._body: AsyncIterator[bytes] = stream.__aiter__()
        self._gate = gate
        self._done = False

    def header(self, name: bytes) -> str:
        """The first header of that lower-case name, or an empty text."""
        for key, value in self._headers:
            if key.lower() == name:
                return value.decode("latin-1")
        return ""

    async def chunk(self) -> bytes:
        """The next bytes of the body, or none at its end."""
        if self._done:
            return b""
        try:
            async for data in self._body:
                if data:
                    self._gate.came(len(data))
                    return data
            await self._stream.aclose()
        except httpx2.HTTPError:
            self.close()
            raise self._broken("broke its response off") from None
        except BaseException:
            self.close()
            raise
        if not self._done:
            self._done = True
            self._client.keep(self._transport)
        return b""

    async def read(self) -> bytes:
        """The whole body, up to the limit."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._client.timeouts.finish):
                while data := await self.chunk():
                    parts.append(data)
                    size += len(data)
                    if size > self._client.limits.body:
                        self.close()
                        text = f"sent a body of over {self._client.limits.body} bytes"
                        raise self._broken(text)
        except TimeoutError:
            raise self._broken("did not finish a response in time") from None
        return b"".join(parts)

    def close(self) -> None:
        """Close the connection unless the response was complete."""
        if not self._done:
            self._done = True
            self._client.discard(self._transport)

    def _broken(self, text: str) -> UpstreamBroken:
        return UpstreamBroken(
            f"Upstream {self._client.peer} {text}.",
            hint="Whether the action took effect is not known.",
        )


async def _aclose(transport: httpx2.AsyncHTTPTransport) -> None:
    try:
        await transport.aclose()
    except (httpx2.HTTPError, RuntimeError, OSError):
        # It was already broken.
        return


__all__ = ["Http2Client", "Http2Response"]
