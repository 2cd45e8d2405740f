"""One HTTP/1.1 connection as an asyncio protocol: bytes to responses, with limits.

llhttp (through httptools, nothing lenient) does the framing; this file adds what it leaves to its
caller: sizes, deadlines, back-pressure, and that nothing may come which was not asked for.
It keeps no pool and knows no MCP: `http_pool` stands above.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import cast

import httptools

from midflight.adapters.upstream.http_client import Gate, HttpLimits, HttpTimeouts
from midflight.adapters.upstream.http_response import Response, broken

# Larger bodies leave in slices, and the gate is looked at before each, so that a revocation stops
# an upload half-way.
SLICE = 64 * 1024
_MAX_INFORMATIONAL = 8


class Connection(asyncio.Protocol):
    """A connection that carries one exchange at a time.

    `on_free` is called when it could carry the next, `on_gone` once when it is lost.
    """

    def __init__(
        self,
        *,
        peer: str,
        limits: HttpLimits,
        timeouts: HttpTimeouts,
        on_free: Callable[[Connection], None],
        on_gone: Callable[[Connection], None],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.limits = limits
        self.exchanges = 0
        self.idle_since = 0.0
        self.keep = timeouts.keep
        self.written = False
        self.lost = False
        self._peer = peer
        self._timeouts = timeouts
        self._on_free = on_free
        self._on_gone = on_gone
        self._transport: asyncio.Transport | None = None
        self._over_tls = False
        self._parser = httptools.HttpResponseParser(self)
        self._poll = select.poll()
        self._response: Response | None = None
        self._begun: Response | None = None
        self._sent = True
        self._reusable = False
        self._informational = 0
        self._in_trailers = False
        self._head_bytes = 0
        self._until_end = False
        self._paused = False
        self._writable: asyncio.Future[None] | None = None
        self._write_paused = False
        self._finish: asyncio.TimerHandle | None = None
        # Whose body was written last, and how much of it was handed over.
        self._unsure: tuple[Gate, int] | None = None

    # What the pool does

    @property
    def usable(self) -> bool:
        """Whether the next request may be written.

        An idle connection that has become readable has been closed, or sends what nobody asked
        for; the loop may not have noticed yet, so the socket itself is asked (0.5 µs).
        """
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self._poll.poll(0)

    def begin(self, gate: Gate) -> Response:
        """Get ready for one exchange."""
        self.exchanges += 1
        self._unsure = None
        self.written = False
        self._sent = False
        self._reusable = False
        self._informational = 0
        self._in_trailers = False
        self._head_bytes = 0
        self._until_end = False
        self._response = self._begun = Response(self, gate=gate, peer=self._peer)
        return self._response

    def give_up(self, response: Response) -> None:
        """End the exchange of `response`: its reader does not want it any more.

        A whole response has freed the connection in the turn in which its last byte came, so that
        its reader may be cancelled when the connection already carries another exchange: that one
        is left alone.
        """
        if response is not self._begun or (response.complete and self._sent):
            return
        # Whoever gives up hears no more of it, and has nothing more to end here.
        self._response = self._begun = None
        if self.written or self._transport is None:
            self.abort()
        else:
            self._sent = True
            self._on_free(self)

    async def write(self, head: bytes, body: bytes, gate: Gate) -> None:
        """Write a request. The gate is looked at right before each write.

        Raises what the gate raises; after the first slice that ends the connection.
        """
        transport = self._transport
        if transport is None:
            raise broken(self._peer, "closed the connection")
        if len(body) <= SLICE:
            gate.look()
            self.written = True
            transport.write(head + body)
            gate.left(len(body))
            self._unsure = (gate, len(body))
            self._sent = True
            return
        gate.look()
        self.written = True
        transport.write(head)
        gate.left(0)
        written = 0
        view = memoryview(body)
        for start in range(0, len(view), SLICE):
            if self._write_paused:
                self._writable = self.loop.create_future()
                await self._writable
            if self._response is None or self._response.error or self._response.complete:
                # Answered (or lost) before all was sent: the rest is not wanted.
                self.abort()
                return
            gate.look()
            piece = bytes(view[start : start + SLICE])
            transport.write(piece)
            gate.left(len(piece))
            written += len(piece)
            self._unsure = (gate, written)
        self._sent = True

    def abort(self) -> None:
        """Drop the connection at once; bytes still in its buffer do not leave."""
        if self._transport is not None:
            self._take_back(self._transport)
            self._transport.abort()
        self._end("was hung up on")

    def fail(self, error: Exception) -> None:
        """Drop the connection and let the reader see `error`."""
        self._end(error)
        if self._transport is not None:
            self._take_back(self._transport)
            self._transport.abort()

    def _take_back(self, transport: asyncio.Transport) -> None:
        """What still waits in our own buffer does not leave, so it is not counted."""
        unsure, self._unsure = self._unsure, None
        if unsure is not None and not self._over_tls:
            gate, body = unsure
            waiting = min(transport.get_write_buffer_size(), body)
            if waiting:
                gate.left(-waiting)

    def resume_reading(self) -> None:
        """The reader has taken what was buffered."""
        if self._paused and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._over_tls = transport.get_extra_info("ssl_object") is not None
        descriptor = transport.get_extra_info("socket").fileno()
        self._poll.register(descriptor, select.POLLIN | select.POLLHUP | select.POLLERR)

    def data_received(self, data: bytes) -> None:
        """Bytes of a response."""
        response = self._response
        if response is None:
            # Nothing was asked: a response here would be taken for the answer to the next request.
            self.abort()
            return
        response.started = True
        response.gate.came(len(data))
        if not response.has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # What a callback raises arrives wrapped, as the context.
            said = error.__context__ if isinstance(error.__context__, _Refused) else None
            self.fail(broken(self._peer, str(said or "sent what is not well-formed HTTP/1.1")))
            return
        if response.error is not None:
            return
        if not response.has_head and self._head_bytes > self.limits.head:
            self.fail(broken(self._peer, f"sent a head of over {self.limits.head} bytes"))
        elif not response.complete:
            if self._finish is None and not response.streamed:
                self._finish = self.loop.call_later(self._timeouts.finish, self._overdue)
            if response.buffered > self.limits.buffer and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The upstream has closed its side."""
        response = self._response
        if response is not None and response.has_head and self._until_end:
            self._complete(response)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if exc is None and self._until_end and self._response is not None:
            self._complete(self._response)
        self._end("closed the connection in the middle of an exchange")
        self._transport = None
        self.lost = True
        self._on_gone(self)

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """The transport's buffer has room."""
        self._write_paused = False
        self._wake_writer()

    # What the parser says

    def on_message_begin(self) -> None:
        """The first byte of a response, which must be one that was asked for."""
        if self._response is None:
            raise _Refused("sent a response that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is dropped (RFC 9110 §6.5.1 lets a recipient do so)."""
        response = self._response
        if response is None or self._in_trailers:
            return
        if len(response.headers) >= self.limits.headers:
            raise _Refused(f"sent over {self.limits.headers} headers")
        response.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        response = self._response
        assert response is not None
        status = self._parser.get_status_code()
        if status < 200:
            self._informational += 1
            if status == 101 or self._informational > _MAX_INFORMATIONAL:
                raise _Refused("sent informational responses that make no sense here")
            response.headers = []
            return
        response.status = status
        self._in_trailers = True
        size = 0
        framed = status in {204, 304}
        for name, value in response.headers:
            size += len(name) + len(value) + 4
            match name.lower():
                case b"content-length" | b"transfer-encoding":
                    framed = True
                case b"keep-alive":
                    self._note_keep_alive(value)
                case _:
                    pass
        if size > self.limits.head:
            raise _Refused(f"sent a head of over {self.limits.head} bytes")
        self._until_end = not framed
        self._reusable = self._parser.should_keep_alive()
        response.has_head = True
        response.wake()

    def on_body(self, body: bytes) -> None:
        """Bytes of the body."""
        response = self._response
        if response is not None:
            response.chunks.append(body)
            response.buffered += len(body)
            response.wake()

    def on_message_complete(self) -> None:
        """The response is whole."""
        response = self._response
        if response is not None and response.has_head:
            self._complete(response)

    # Inside

    def _complete(self, response: Response) -> None:
        if self._finish is not None:
            self._stop_timer()
        response.complete = True
        self._response = None
        response.wake()
        if self._writable is not None:
            self._wake_writer()
        if self._paused:
            self.resume_reading()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._reusable and self._sent and not self._until_end:
            # Whatever follows in the same bytes was not asked for: it finds no response and ends
            # the connection (`on_message_begin`) before anybody can be given it.
            self.idle_since = self.loop.time()
            self._on_free(self)
        elif self._sent:
            transport.close()

    def _end(self, why: Exception | str) -> None:
        self._stop_timer()
        response = self._response
        self._response = None
        if response is not None and response.error is None:
            response.error = broken(self._peer, why) if isinstance(why, str) else why
            response.wake()
        self._wake_writer()

    def _wake_writer(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _note_keep_alive(self, value: bytes) -> None:
        for part in value.split(b","):
            name, _, seconds = part.strip().partition(b"=")
            if name.lower() == b"timeout" and seconds.isdigit() and len(seconds) < 6:
                # A second less than promised, so that the upstream is never first.
                self.keep = min(self.keep, max(0.0, int(seconds) - 1.0))

    def _overdue(self) -> None:
        self._finish = None
        if self._response is not None and not self._response.streamed:
            text = f"did not finish a response within {self._timeouts.finish:g} s of beginning it"
            self.fail(broken(self._peer, text))

    def _stop_timer(self) -> None:
        if self._finish is not None:
            self._finish.cancel()
            self._finish = None


class _Refused(Exception):
    """Raised inside a parser callback, where the parser wraps it."""


__all__ = ["SLICE", "Connection"]
