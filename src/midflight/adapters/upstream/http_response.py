"""One HTTP/1.1 response: filled by its connection, emptied by one reader, in bounded memory."""

from __future__ import annotations

import asyncio
from typing import Protocol

from midflight.adapters.upstream.http_client import Gate, HttpLimits
from midflight.domain.errors import UpstreamBroken


class Carrier(Protocol):
    """What a response needs of its connection."""

    loop: asyncio.AbstractEventLoop
    limits: HttpLimits

    def give_up(self, response: Response) -> None:
        """End its exchange, if that is the one that is carried."""
        ...

    def fail(self, error: Exception) -> None:
        """Drop the connection and let the reader see `error`."""
        ...

    def resume_reading(self) -> None:
        """The reader has taken what was buffered."""
        ...


class Response:
    """One response. Its connection fills it; one reader empties it."""

    __slots__ = (
        "_connection",
        "_waiter",
        "buffered",
        "chunks",
        "complete",
        "error",
        "gate",
        "has_head",
        "headers",
        "peer",
        "started",
        "status",
        "streamed",
    )

    def __init__(self, connection: Carrier, *, gate: Gate, peer: str) -> None:
        self._connection = connection
        self._waiter: asyncio.Future[None] | None = None
        self.gate = gate
        self.peer = peer
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.buffered = 0
        self.started = False
        self.has_head = False
        self.streamed = False
        self.complete = False
        self.error: Exception | None = None

    def header(self, name: bytes) -> str:
        """The first header of that lower-case name, or an empty text."""
        for key, value in self.headers:
            if len(key) == len(name) and key.lower() == name:
                return value.decode("latin-1")
        return ""

    async def head(self) -> None:
        """Wait until status and headers are there."""
        while not self.has_head:
            if self.error is not None:
                raise self.error
            await self._wait()

    async def chunk(self) -> bytes:
        """The next bytes of the body, or none at its end."""
        self.streamed = True
        while not self.chunks:
            if self.error is not None:
                raise self.error
            if self.complete:
                return b""
            await self._wait()
        return self._take()

    async def read(self) -> bytes:
        """The whole body, up to the limit."""
        limit = self._connection.limits.body
        parts: list[bytes] = []
        size = 0
        while True:
            if self.chunks:
                part = self._take()
                if self.complete and not parts and len(part) <= limit:
                    return part
                size += len(part)
                parts.append(part)
            if size > limit:
                self._connection.fail(broken(self.peer, f"sent a body of over {limit} bytes"))
            if self.error is not None:
                raise self.error
            if self.complete:
                return b"".join(parts)
            await self._wait()

    def close(self) -> None:
        """Close the connection unless the exchange is over. This wakes no reader."""
        if not self.complete and self.error is None:
            self._waiter = None
            self._connection.give_up(self)

    def wake(self) -> None:
        """Tell the reader that something changed."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = self._connection.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _take(self) -> bytes:
        chunks = self.chunks
        part = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self.chunks = []
        self.buffered = 0
        self._connection.resume_reading()
        return part


def broken(peer: str, text: str) -> UpstreamBroken:
    """The error for an exchange whose outcome is lost."""
    return UpstreamBroken(
        f"Upstream {peer} {text}.", hint="Whether the action took effect is not known."
    )


__all__ = ["Carrier", "Response", "broken"]
