"""One HTTP/1.1 connection: uvicorn's httptools protocol with bounds.

uvicorn parses, runs the app and writes the answer. This subclass owns what reaches its parser and
when: a head only whole and admitted by `head.py`, a body only as far as it is framed, the next
request only once this one is answered. So requests never overlap, and no byte is read as the start
of a request that another reader could take for a body. Assumptions about uvicorn are few and are
pinned in `tests/unit/test_server_protocol.py`.

Phases of a connection (`_phase`):

    IDLE -> HEAD -> BODY -> BUSY -> IDLE        a request with a body, then the next
    IDLE -> BUSY -> IDLE                        a request that came in one piece
    BODY -> DRAIN -> IDLE                       answered before its body was in
    any  -> CLOSED                              refused, over, or too slow

There is one timer a connection (`alarm.py`); what it means depends on the phase.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from midflight.apps.server import head
from midflight.apps.server.alarm import Alarm
from midflight.apps.server.asgi import App, Receive, Scope, Send
from midflight.apps.server.at_once import AtOnce
from midflight.apps.server.head import Head
from midflight.apps.server.http10 import ended_by_closing
from midflight.apps.server.limits import Limits
from midflight.apps.server.occupancy import Admission, Occupancy
from midflight.apps.server.peer import Peer, peer_of
from midflight.apps.server.refusals import AMBIGUOUS, MALFORMED, TOO_MANY, TOO_SLOW, Refusal
from midflight.services.ports.telemetry import Telemetry

# What chunking may cost on the wire: 8 bytes for each byte of body, and this much for extensions
# and trailers, which are dropped unread (CVE-2024-22019 was a parser without such a bound).
_CHUNKING_SLACK = 16_384
_CHUNKING_RATIO = 8
# The largest head that is remembered for comparison.
_REMEMBERED = 2_048
_NO_HEAD = Head(raw=b"")
# What a slow reader must take within `write_stall_s`.
_READING_PACE = 16_384


class Phase(enum.IntEnum):
    """Where a connection is between two bytes; the module has the picture."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    BUSY = 3
    DRAIN = 4
    CLOSED = 5


class BoundedProtocol(HttpToolsProtocol):
    """See the module. `scope["state"]` gets `peer` (`peer.py`), `on_disconnect`, `at_once`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        *,
        limits: Limits,
        occupancy: Occupancy,
        telemetry: Telemetry,
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {}, _loop)
        self._loaded_app = cast("App", self.app)
        self._limits = limits
        self._occupancy = occupancy
        self._telemetry = telemetry
        self._peer: Peer | None = None
        self._admission = Admission.DROPPED
        self._phase = Phase.IDLE
        self._buffer = bytearray()  # a head in the making, or what waits behind a request
        self._last_head = _NO_HEAD
        self._body_left = 0
        self._body_ends = 0.0  # loop time by which the body must be in
        self._app_was_slow = False  # when the body's deadline was last set
        self._framing_left = 0  # bytes that chunking may still cost
        self._drained = 0
        self._message_complete = True  # so no request may begin in the parser
        self._old = False
        self._may_skip = True  # one empty line before a request is old manners (RFC 9112 §2.2)
        self._alarm = Alarm(self.loop, self._on_alarm)
        self._stalled_at: int | None = None
        self._watchers: list[Callable[[], None]] = []

    # What the transport calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # as uvicorn narrows it
        """A connection is there: who is it, and is there room?"""
        super().connection_made(transport)
        self._peer = peer_of(transport)
        self.app_state = {"peer": self._peer, "on_disconnect": self._on_disconnect}
        self._admission = self._occupancy.enter(self._peer.share)
        if self._admission is not Admission.ADMITTED:
            self._telemetry.count("http_connections_refused")
            if self._admission is Admission.DROPPED:
                self._phase = Phase.CLOSED
                transport.abort()
                return
        self._alarm.due_in(self._limits.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, and the app of a running request learns it at once."""
        self._phase = Phase.CLOSED
        self._alarm.stop()
        self._buffer.clear()
        super().connection_lost(exc)
        self._tell_watchers()
        self.app_state = {}
        if self._peer is not None:
            self._occupancy.leave(self._peer.share, self._admission)

    def data_received(self, data: bytes) -> None:
        """Bytes came; what they are depends on the phase."""
        phase = self._phase
        if phase is Phase.IDLE:
            self._read_head(data)
        elif phase is Phase.BODY or phase is Phase.DRAIN:
            self._read_body(data)
        elif phase is Phase.HEAD:
            self._read_more_head(data)
        elif phase is Phase.BUSY:
            self._keep_waiting(data)

    def resume_writing(self) -> None:
        """The reader took what it had to."""
        self._stalled_at = None
        super().resume_writing()

    # Heads

    def _read_head(self, data: bytes) -> None:
        if self._admission is not Admission.ADMITTED:
            self._refuse(TOO_MANY)
            return
        if data.startswith(b"\r\n"):
            data = data[2:]
            self._may_skip = False
        end = data.find(head.END)
        if end >= 0:
            self._take(data, end + 4)
            return
        self._phase = Phase.HEAD
        self._buffer += data
        self._may_skip = self._may_skip and len(data) < 2
        self._alarm.due_in(self._limits.head_s)
        self._check_unfinished()

    def _read_more_head(self, data: bytes) -> None:
        buffer = self._buffer
        searched = max(0, len(buffer) - 3)
        buffer += data
        if self._may_skip and len(buffer) >= 2:
            self._may_skip = False
            if buffer.startswith(b"\r\n"):
                del buffer[:2]
        end = buffer.find(head.END, searched)
        if end < 0:
            self._check_unfinished()
            return
        whole = bytes(buffer)
        buffer.clear()
        self._take(whole, end + 4)

    def _check_unfinished(self) -> None:
        refusal = head.unfinished(self._buffer, self._limits)
        if refusal is not None:
            self._refuse(refusal)

    def _take(self, data: bytes, size: int) -> None:
        """A head of `size` bytes is complete; `data` begins with it."""
        raw = data[:size]
        judged = self._last_head
        if judged.raw != raw:
            # Clients repeat themselves; judging costs 3 µs, finding that it is the same 0.05.
            fresh = self._judge(raw)
            if fresh is None:
                return
            judged = fresh
        self._old = judged.old
        self._message_complete = False
        body = judged.body
        if len(data) == size + body and len(judged.raw) == size:
            # The usual request comes in one piece, so the parser gets it in one.
            if self._feed(data):
                self._body_done()
            return
        if not self._feed(judged.raw):
            return
        if body == 0:
            self._body_done()
        else:
            self._phase = Phase.BODY
            self._body_left = body
        if body == head.CHUNKED:
            self._framing_left = _CHUNKING_SLACK
            # Fields of a trailer section must not become headers (RFC 9110 §6.5.1): they land here.
            self.headers = []
        if len(data) > size:
            self.data_received(data[size:])
        if self._phase is Phase.BODY:
            limits = self._limits
            self._body_ends = self.loop.time() + limits.body_total_s
            self._app_was_slow = self._waits_for_app()
            self._alarm.due_in(min(limits.body_idle_s, limits.body_total_s))

    def _judge(self, raw: bytes) -> Head | None:
        judged = head.judge(raw, self._limits)
        if isinstance(judged, Refusal):
            self._refuse(judged)
            return None
        if len(raw) <= _REMEMBERED:
            self._last_head = judged
        return judged

    # Bodies

    def _read_body(self, data: bytes) -> None:
        if self._phase is Phase.DRAIN:
            self._drained += len(data)
            if self._drained > self._limits.drain_bytes:
                self._close()
                return
        if self._body_left == head.CHUNKED:
            self._read_chunks(data)
        else:
            data, rest = data[: self._body_left], data[self._body_left :]
            self._body_left -= len(data)
            if self._feed(data) and not self._body_left:
                self._body_done()
            if rest:
                self.data_received(rest)
        if self._phase is Phase.BODY:
            self._alarm.due = self.loop.time() + self._limits.body_idle_s
            self._app_was_slow = self._waits_for_app()

    def _read_chunks(self, data: bytes) -> None:
        cycle = self.cycle
        held = len(cycle.body)
        if not self._feed(data):
            return
        came = len(cycle.body) - held
        self._framing_left += came * (1 + _CHUNKING_RATIO) - len(data)
        # The parser may have run into bytes that we did not frame: a head behind the last chunk.
        costly = self._framing_left < 0 and self._phase is Phase.BODY
        if costly or self.scope is not cycle.scope:
            self._refuse(MALFORMED)
        elif self._message_complete:
            self._body_done()

    def _body_done(self) -> None:
        if not self._message_complete:
            # The parser frames the request otherwise than `head.py` did.
            self._refuse(AMBIGUOUS)
        elif self._phase is Phase.DRAIN:
            self._rest()
        else:
            self._phase = Phase.BUSY

    def _keep_waiting(self, data: bytes) -> None:
        """Hold what comes behind an unanswered request.

        Reading goes on, for only who reads sees the client leave.
        """
        waiting = self._buffer
        waiting += data
        limits = self._limits
        if len(waiting) > limits.pipelined_bytes or waiting.count(head.END) > limits.pipelined:
            self._telemetry.count("http_refused")
            self._phase = Phase.CLOSED
            self.transport.abort()

    # What the parser calls

    def _feed(self, data: bytes) -> bool:
        parser = self.parser
        if parser is None:
            return False
        try:
            parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(MALFORMED)
            return False
        return True

    def on_headers_complete(self) -> None:
        """The head is parsed; uvicorn starts the app."""
        if self._message_complete:
            # Behind a chunked body the parser can reach a head that was never admitted.
            raise httptools.HttpParserError("no request may begin here")
        if self._old:
            self.expect_100_continue = False  # RFC 9110 §10.1.1
            self.app = self._serve_old
            super().on_headers_complete()
            self.app = self._loaded_app
        else:
            super().on_headers_complete()
            # The app starts in a later turn of the loop. An old client is answered otherwise.
            self.cycle.scope.setdefault("state", {})["at_once"] = AtOnce(self.cycle)

    def on_message_complete(self) -> None:
        """The request is in."""
        self._message_complete = True
        super().on_message_complete()

    async def _serve_old(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._loaded_app(scope, receive, ended_by_closing(self.cycle, send))

    # What an answered request calls

    def on_response_complete(self) -> None:
        """The answer is written. Replaces uvicorn's, which has a timer of its own."""
        self.server_state.total_requests += 1
        self._watchers.clear()
        if self.transport.is_closing():
            return  # what is not written yet goes out, or `_check_pace` cuts it
        self.flow.resume_reading()
        if not self._message_complete:
            self._phase = Phase.DRAIN
            self._drained = 0
            self._alarm.due_in(self._limits.linger_s)
            return
        self._rest()
        if self._buffer:
            waiting = bytes(self._buffer)
            self._buffer.clear()
            self.data_received(waiting)

    def _rest(self) -> None:
        self._phase = Phase.IDLE
        self._may_skip = True
        self._alarm.due_in(self._limits.keep_alive_s)

    # Leaving

    def _on_disconnect(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` once if the client leaves before the present request is answered.

        It is synchronous, called in the turn of the loop that saw the client leave, and costs no
        task; `receive()` tells the same as `http.disconnect`.
        """
        if self._phase is Phase.CLOSED:
            watcher()
        else:
            self._watchers.append(watcher)

    def _tell_watchers(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer if nothing was answered yet, and close; an app that runs sees a disconnect."""
        self._telemetry.count("http_refused")
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and not cycle.response_complete:
            answered = cycle.response_started
            cycle.disconnected = True
            cycle.message_event.set()
        else:
            answered = self._phase is Phase.DRAIN
        if not answered and not self.transport.is_closing():
            self.transport.write(refusal.answer(self.server_state.default_headers))
        self._close()
        self._tell_watchers()

    def _close(self) -> None:
        """Close so that the client can still read the answer (RFC 9112 §9.6)."""
        self._phase = Phase.CLOSED
        self._buffer.clear()
        transport = self.transport
        if not transport.is_closing() and transport.can_write_eof():
            self.flow.resume_reading()
            transport.write_eof()
            self._alarm.due_in(self._limits.linger_s)
        else:
            transport.close()
            self._alarm.due_in(self._limits.linger_s + self._limits.write_stall_s)

    # Time

    def _on_alarm(self) -> None:
        now = self.loop.time()
        phase = self._phase
        if phase is Phase.BUSY:
            self._check_pace(now)
        elif phase is Phase.BODY and (self._app_was_slow or self._waits_for_app()):
            # The client was held up by the app, so it gets another full period.
            self._app_was_slow = self._waits_for_app()
            self._body_ends += self._limits.body_idle_s
            self._alarm.due_in(self._limits.body_idle_s)
        elif phase is Phase.BODY and now < self._body_ends and now < self._alarm.due:
            self._alarm.sleep_until(min(self._alarm.due, self._body_ends))
        elif phase is not Phase.BODY and now < self._alarm.due:
            self._alarm.sleep_until(self._alarm.due)
        elif phase is Phase.HEAD or phase is Phase.BODY:
            self._refuse(TOO_SLOW)
        elif phase is Phase.CLOSED:
            self.transport.abort()
        elif phase is Phase.IDLE and self.transport.get_write_buffer_size():
            self._check_pace(now)
        else:
            self._close()

    def _waits_for_app(self) -> bool:
        return self.flow.read_paused or self.cycle.waiting_for_100_continue

    def _check_pace(self, now: float) -> None:
        """An answer is on its way: the app may take its time, the reader may not."""
        size = self.transport.get_write_buffer_size()
        waits = self.flow.write_paused or self.transport.is_closing() or self._phase is Phase.IDLE
        if size and waits:
            if self._stalled_at is not None and size > self._stalled_at - _READING_PACE:
                self._phase = Phase.CLOSED
                self.transport.abort()
                return
            self._stalled_at = size
        self._alarm.sleep_until(now + self._limits.write_stall_s)


__all__ = ["BoundedProtocol", "Phase"]
