"""Streams of legacy clients that outlive their connection: the answer waits until they come back.

2025-11-25, Transports §Resumability and Redelivery. A call that takes long gets a stream that
begins with an event of no data, whose id is a cursor; a GET with the last id goes on behind it.
What is kept is bounded and belongs to one session, which belongs to one caller. A prompt answer is
a JSON document and is not kept. Above stands `legacy.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable

from midflight.apps.gateway.sinks import ResponseWriter
from midflight.apps.server.asgi import Send
from midflight.apps.server.respond import send_sse_chunk, send_sse_end
from midflight.wire import sse

RESUMABLE_SINCE = "2025-11-25"
"""Clients of older versions do not understand an event without data."""

BEGIN_AFTER_S = 0.2
"""How long an answer may take before its stream begins, and can be resumed from then on."""

RETRY_MS = 1_000
MAX_KEPT_BYTES = 64 * 1024 * 1024
"""Kept for all sessions together; see `Kept`."""

_OVERHEAD = 1_024
_EVENT_ID = re.compile(r"([1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})")


class Log:
    """The messages of one stream. It has one reader at a time: the last that came."""

    def __init__(self, kept: Kept, session: str, workload: str, number: int) -> None:
        """Made by `Kept.open`."""
        self._kept = kept
        self.session = session
        self.workload = workload
        self.number = number
        self.messages: list[bytes] = []
        self.size = 0
        self.count = 0
        self.ended = False
        self.lost = False
        self.readers = 1
        self._changed = asyncio.Event()

    def append(self, message: bytes) -> bytes:
        """Keep a message, unless the log is lost; the event that carries it."""
        self.count += 1
        if not self.lost:
            self.messages.append(message)
            self._kept.grow(self, len(message))
        self.wake()
        return sse.encode(message, id=f"{self.number}-{self.count}")

    def event(self, position: int) -> bytes:
        """The event at a position; the one at 0 carries nothing but its id."""
        cursor = f"{self.number}-{position}"
        if position == 0:
            return sse.encode(b"", id=cursor, retry=RETRY_MS)
        return sse.encode(self.messages[position - 1], id=cursor)

    def lose(self) -> None:
        """Keep nothing any more: it goes on for its first reader, and for nobody after that."""
        self.lost = True
        self.messages.clear()
        self.wake()

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self.wake()

    def wake(self) -> None:
        """Have whoever reads look again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def next_change(self) -> asyncio.Event:
        """Is set by the next message, the end, or another reader: take it before you look."""
        return self._changed


class Kept:
    """The streams of all sessions that can be resumed."""

    def __init__(self, *, max_bytes: int = MAX_KEPT_BYTES) -> None:
        """Beyond `max_bytes` the oldest stream is forgotten, of the workload that keeps most."""
        self._max_bytes = max_bytes
        self._logs: dict[tuple[str, int], Log] = {}
        self._sizes: dict[str, int] = {}
        self._size = 0
        self._numbers = itertools.count(1)

    def open(self, session: str, workload: str) -> Log:
        """A fresh log of a session."""
        log = Log(self, session, workload, next(self._numbers))
        self._logs[session, log.number] = log
        self.grow(log, _OVERHEAD)
        return log

    def find(self, session: str, event_id: str) -> tuple[Log, int] | None:
        """The log behind an event id of this session, and the position that the client has."""
        found = _EVENT_ID.fullmatch(event_id)
        log = self._logs.get((session, int(found[1]))) if found else None
        if found is None or log is None or int(found[2]) > len(log.messages):
            return None
        return log, int(found[2])

    def grow(self, log: Log, size: int) -> None:
        """Count what a log keeps, and make room for it."""
        if self._logs.get((log.session, log.number)) is not log:
            return
        log.size += size
        self._size += size
        self._sizes[log.workload] = self._sizes.get(log.workload, 0) + size
        while self._size > self._max_bytes:
            most = max(self._sizes, key=self._sizes.__getitem__)
            self._forget(next(found for found in self._logs.values() if found.workload == most))

    def forget(self, session: str) -> None:
        """Forget the streams of a session that has ended."""
        for log in [log for log in self._logs.values() if log.session == session]:
            self._forget(log)

    def _forget(self, log: Log) -> None:
        del self._logs[log.session, log.number]
        log.lose()
        self._size -= log.size
        self._sizes[log.workload] -= log.size
        if not self._sizes[log.workload]:
            del self._sizes[log.workload]


class ResumableWriter(ResponseWriter):
    """The response to one request of a legacy client that understands cursors."""

    def __init__(self, send: Send, open_log: Callable[[], Log]) -> None:
        """Begins a stream by itself when the answer is not there after `BEGIN_AFTER_S`."""
        super().__init__(send)
        self._open_log = open_log
        self._log: Log | None = None
        self._finished = False
        # The timer begins the stream beside the call that writes on it.
        self._lock = asyncio.Lock()
        self._beginning: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(BEGIN_AFTER_S, self._begin_soon)

    async def event(self, message: bytes) -> None:
        """Send a message before the final one, now or when the client comes back."""
        async with self._lock:
            await self._write(await self._begun(), message)

    async def keep_alive(self) -> None:
        """Say nothing; it is not kept."""
        async with self._lock:
            log = await self._begun()
            if log.readers == 1:
                await send_sse_chunk(self._send, sse.COMMENT)

    async def finish(self, message: bytes, *, status: int = 200) -> None:
        """Send the final message, now or when the client comes back."""
        self._timer.cancel()
        async with self._lock:
            self._finished = True
            if self._log is None:
                await super().finish(message, status=status)
                return
            await self._write(self._log, message)
            self._log.end()
            await send_sse_end(self._send)

    def close(self) -> None:
        """Whatever has happened, nothing more will be written."""
        self._timer.cancel()
        self._finished = True
        if self._log is not None:
            self._log.end()

    def _begin_soon(self) -> None:
        self._beginning = asyncio.get_running_loop().create_task(self._begin())

    async def _begin(self) -> None:
        async with self._lock:
            if not self._finished:
                await self._begun()

    async def _begun(self) -> Log:
        if self._log is None:
            await self._start()
            self._log = self._open_log()
            await send_sse_chunk(self._send, self._log.event(0))
        return self._log

    async def _write(self, log: Log, message: bytes) -> None:
        event = log.append(message)
        if log.readers == 1:
            await send_sse_chunk(self._send, event)


async def read_on(
    log: Log,
    position: int,
    send: Send,
    *,
    until: set[asyncio.Future[None]],
    is_denied: Callable[[], bool] = lambda: False,
) -> None:
    """Send what stands behind a position and what comes; the reader before is done with it.

    What wakes it is in `until`; once it `is_denied` nothing is sent, woken or not.
    """
    log.readers += 1
    reader = log.readers
    log.wake()
    while not is_denied() and not any(stop.done() for stop in until):
        change = log.next_change()
        if log.lost:
            return
        if position < len(log.messages):
            position += 1
            await send_sse_chunk(send, log.event(position))
            continue
        if log.ended or log.readers != reader:
            return
        waiting = asyncio.ensure_future(change.wait())
        try:
            await asyncio.wait({waiting, *until}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()


__all__ = [
    "BEGIN_AFTER_S",
    "MAX_KEPT_BYTES",
    "RESUMABLE_SINCE",
    "Kept",
    "Log",
    "ResumableWriter",
    "read_on",
]
