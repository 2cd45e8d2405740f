"""A bare client for the HTTP server, and an app that notes what reaches it.

The client writes the bytes that it is told to and parses nothing but answers, so that a test says
exactly what is on the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httptools

from midflight.adapters.telemetry.quiet import QuietTelemetry
from midflight.apps.server.asgi import Receive, Scope, Send
from midflight.apps.server.limits import Limits
from midflight.apps.server.listeners import TcpListener
from midflight.apps.server.respond import send_json
from midflight.apps.server.serve import serving
from midflight.domain.value import Value

Behaviour = Callable[[Scope, Receive, Send], Awaitable[None]]


class Request(Value):
    """A request as the app saw it. `body` is None if the client left before it was complete."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes | None


class Answer(Value):
    """An answer as the client saw it."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Recorder:
    """An ASGI app that notes every request and then does what `then` says, or answers 200."""

    def __init__(self, then: Behaviour | None = None) -> None:
        self.requests: list[Request] = []
        self.scopes: list[Scope] = []
        self.started = 0
        self._then = then

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started += 1
        self.scopes.append(scope)
        body: bytes | None = b""
        while body is not None:
            event = await receive()
            if event["type"] != "http.request":
                body = None
                break
            body += event["body"]
            if not event["more_body"]:
                break
        self.requests.append(
            Request(
                method=scope["method"],
                path=scope["path"],
                headers=tuple(scope["headers"]),
                body=body,
            )
        )
        if self._then is not None:
            await self._then(scope, receive, send)
        else:
            await send_json(send, b'"ok"')


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._unread = b""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        """The next answer; `EOFError` if the connection ends before it is complete."""
        while True:
            parsed = _first(self._unread)
            if parsed is not None:
                answer, size = parsed
                self._unread = self._unread[size:]
                return answer
            data = await self.reader.read(65_536)
            if not data:
                raise EOFError
            self._unread += data

    async def rest(self) -> bytes:
        """Everything until the server closes; what came before a reset counts."""
        pieces: list[bytes] = []
        with contextlib.suppress(ConnectionError):
            while piece := await self.reader.read(65_536):
                pieces.append(piece)
        return b"".join(pieces)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def abort(self) -> None:
        self.writer.transport.abort()


class _Sink:
    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self._headers: dict[bytes, bytes] = {}
        self._body = b""
        self._status = b""

    def on_message_begin(self) -> None:
        self._headers, self._body = {}, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.answers.append(Answer(status=0, headers=self._headers, body=self._body))


def parse_answers(data: bytes) -> list[Answer]:
    """Every complete answer in `data`, interim ones too; an unfinished last one is left out."""
    found: list[Answer] = []
    while parsed := _first(data):
        answer, size = parsed
        found.append(answer)
        data = data[size:]
    return found


def _first(data: bytes) -> tuple[Answer, int] | None:
    """The first complete answer and its size in bytes."""
    end = data.find(b"\r\n\r\n") + 4
    if end < 4:
        return None
    sink = _Sink()
    parser = httptools.HttpResponseParser(sink)
    parser.feed_data(data[:end])
    # One byte at a time behind the head, to know where the answer ends.
    while not sink.answers and end < len(data):
        parser.feed_data(data[end : end + 1])
        end += 1
    if not sink.answers:
        return None
    answer = sink.answers[0]
    status = parser.get_status_code()
    return Answer(status=status, headers=answer.headers, body=answer.body), end


async def connect(port: int, host: str = "127.0.0.1") -> Client:
    """Open a connection."""
    return Client(*await asyncio.open_connection(host, port))


async def conversation(port: int, *pieces: bytes) -> bytes:
    """Send pieces, each once the one before it was taken, and read until the server closes."""
    client = await connect(port)
    try:
        for piece in pieces:
            try:
                await client.send(piece)
            except ConnectionError:
                break
            for _ in range(5):
                await asyncio.sleep(0)
        return await client.rest()
    finally:
        await client.close()


@asynccontextmanager
async def running(
    app: Any, limits: Limits | None = None, *, telemetry: QuietTelemetry | None = None
) -> AsyncGenerator[int]:
    """Serve `app` on a free port of 127.0.0.1; yields the port."""
    listener = TcpListener(name="test", app=app)
    async with serving([listener], limits, telemetry=telemetry) as bound:
        yield bound[0].port


async def until(condition: Callable[[], bool], *, turns: int = 20_000) -> None:
    """Turn the loop until a condition holds; fails after `turns`."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never held")


async def passing(seconds: float) -> None:
    """Let the server's deadlines pass. Only for what must not happen meanwhile."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, passed.set)
    await passed.wait()


def request(
    method: str = "GET", path: str = "/", *, headers: Iterable[str] = (), body: bytes = b""
) -> bytes:
    """A well-formed request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


__all__ = [
    "Answer",
    "Client",
    "Recorder",
    "Request",
    "connect",
    "conversation",
    "parse_answers",
    "passing",
    "request",
    "running",
    "until",
]
