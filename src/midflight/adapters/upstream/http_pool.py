"""A pool of HTTP/1.1 connections to one URL: the client of the hot path.

It never follows a redirect, never decodes a content coding (it asks for none), keeps no cookie,
reads no environment variable, and sends a request a second time only when the caller says that it
changes nothing and a kept connection died before any byte came back.
Above stands `mcp_http`, below `http_connection`.
"""

from __future__ import annotations

import asyncio
import collections
import ssl

from midflight.adapters.upstream.http_client import (
    Gate,
    HttpLimits,
    HttpTimeouts,
    split_url,
)
from midflight.adapters.upstream.http_connection import Connection
from midflight.adapters.upstream.http_response import Response
from midflight.adapters.upstream.placing import Placer, target_of
from midflight.domain.errors import UpstreamBroken, UpstreamUnavailable
from midflight.services.ports.injection import NOTHING, Attachment

# An aborted transport says so a turn later, one over TLS two; nothing depends on it.
_TURNS_TO_CLOSE = 4


class HttpPool:
    """Connections to one URL, the one used last first.

    Args:
        peer: how messages name the upstream.
        url: absolute http or https URL.
        headers: encoded header lines that every request carries.
        tls: context for https; the default verifies against the system's authorities.
    """

    def __init__(
        self,
        peer: str,
        url: str,
        *,
        headers: bytes = b"",
        tls: ssl.SSLContext | None = None,
        limits: HttpLimits | None = None,
        timeouts: HttpTimeouts | None = None,
    ) -> None:
        parts = split_url(url)
        assert parts.hostname is not None
        self._peer = peer
        self._host = parts.hostname
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = tls or ssl.create_default_context()
        self._port = parts.port or (443 if self._tls else 80)
        self._limits = limits or HttpLimits()
        self._timeouts = timeouts or HttpTimeouts()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = f"[{self._host}]" if ":" in self._host else self._host
        authority = f"{host}:{parts.port}" if parts.port else host
        self._version_and_host = f" HTTP/1.1\r\nhost: {authority}\r\n"
        self._request_line = f" {target}{self._version_and_host}".encode("ascii")
        self._headers = headers
        self._placer = Placer(peer, url, configured=headers)
        # The one used last comes last.
        self._idle: dict[Connection, None] = {}
        self._all: set[Connection] = set()
        self._opening = 0
        self._queue: collections.deque[asyncio.Future[None]] = collections.deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._draining = False

    @property
    def size(self) -> int:
        """How many connections there are, those being opened included."""
        return len(self._all) + self._opening

    async def send(
        self,
        method: bytes,
        headers: bytes,
        body: bytes,
        *,
        gate: Gate,
        replay: bool = False,
        attachment: Attachment = NOTHING,
    ) -> Response:
        """See `HttpClient.send`."""
        framing = b"content-length: %d\r\n\r\n" % len(body) if method == b"POST" else b"\r\n"
        head = b"".join([method, self._request_line, self._headers, headers, framing])
        while True:
            connection = self._take() or await self._obtain()
            kept = connection.exchanges > 0
            response = connection.begin(gate)
            gate.carried(response.close)
            try:
                if attachment is not NOTHING:
                    # With a connection in hand: what is signed leaves in this turn of the loop.
                    url, lines = self._placer.place(method, headers, body, attachment)
                    line = f" {target_of(url)}{self._version_and_host}".encode("ascii")
                    head = b"".join([method, line, lines, framing])
                await connection.write(head, body, gate)
                await response.head()
            except UpstreamBroken:
                connection.give_up(response)
                if kept and replay and not response.started:
                    # The upstream had closed it while it was idle: ask again, over another.
                    continue
                raise
            except BaseException:
                connection.give_up(response)
                raise
            return response

    def drain(self) -> None:
        """Close every connection when what it carries has ended."""
        self._draining = True
        for connection in list(self._idle):
            del self._idle[connection]
            connection.abort()

    async def close(self) -> None:
        """Close every connection; what is under way fails."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._all):
            connection.abort()
        for waiter in self._queue:
            if not waiter.done():
                waiter.set_result(None)
        for _ in range(_TURNS_TO_CLOSE):
            if not self._all:
                return
            await asyncio.sleep(0)

    def _take(self) -> Connection | None:
        """An idle connection that still lives."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.usable:
                return connection
            connection.abort()
        return None

    async def _obtain(self) -> Connection:
        """A connection, opened or waited for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeouts.connect
        while not self._closed:
            connection = self._take()
            if connection is not None:
                return connection
            if self.size < self._limits.connections:
                return await self._open(deadline)
            waiter: asyncio.Future[None] = loop.create_future()
            self._queue.append(waiter)
            timer = loop.call_at(deadline, _expire, waiter)
            try:
                await waiter
            except TimeoutError:
                raise UpstreamUnavailable(
                    f"All {self._limits.connections} connections to upstream {self._peer} are in "
                    f"use.",
                    hint="Allow it more connections, or send it less at a time.",
                ) from None
            except BaseException:
                if waiter.done() and not waiter.cancelled():
                    self._wake_next()
                raise
            finally:
                timer.cancel()
                if waiter in self._queue:
                    self._queue.remove(waiter)
        raise UpstreamUnavailable(f"Upstream {self._peer} is being closed.")

    async def _open(self, deadline: float) -> Connection:
        loop = asyncio.get_running_loop()
        self._opening += 1
        try:
            async with asyncio.timeout_at(deadline):
                _, connection = await loop.create_connection(
                    self._make,
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                )
        except TimeoutError:
            raise self._unreachable("did not accept a connection in time") from None
        except ssl.SSLCertVerificationError as error:
            text = f"shows a certificate that does not verify ({error.verify_message})"
            raise self._unreachable(text) from None
        except ssl.SSLError:
            raise self._unreachable("did not complete the TLS handshake") from None
        except OSError as error:
            reason = error.strerror or "no route to it"
            raise self._unreachable(f"cannot be connected to ({reason})") from None
        finally:
            self._opening -= 1
            # Failed or cancelled: the next in the queue may try.
            self._wake_next()
        if self._closed:
            connection.abort()
            raise UpstreamUnavailable(f"Upstream {self._peer} is being closed.")
        if connection.lost:
            raise self._unreachable("closed the connection at once")
        self._all.add(connection)
        return connection

    def _make(self) -> Connection:
        return Connection(
            peer=self._peer,
            limits=self._limits,
            timeouts=self._timeouts,
            on_free=self._freed,
            on_gone=self._gone,
        )

    def _freed(self, connection: Connection) -> None:
        if self._closed or self._draining:
            connection.abort()
            return
        self._idle[connection] = None
        if self._queue:
            self._wake_next()
        if self._sweeper is None:
            loop = connection.loop
            self._sweeper = loop.call_later(self._timeouts.keep, self._sweep)

    def _gone(self, connection: Connection) -> None:
        self._all.discard(connection)
        self._idle.pop(connection, None)
        self._wake_next()

    def _wake_next(self) -> None:
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _sweep(self) -> None:
        """Close what has been idle for too long; one timer for all."""
        self._sweeper = None
        if not self._idle:
            return
        loop = next(iter(self._idle)).loop
        now = loop.time()
        for connection in [one for one in self._idle if now - one.idle_since >= one.keep]:
            del self._idle[connection]
            connection.abort()
        if self._idle:
            self._sweeper = loop.call_later(max(0.05, self._timeouts.keep / 4), self._sweep)

    def _unreachable(self, text: str) -> UpstreamUnavailable:
        return UpstreamUnavailable(
            f"Upstream {self._peer} {text}.", hint="Check that it runs and that its URL is right."
        )


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


__all__ = ["HttpPool"]
