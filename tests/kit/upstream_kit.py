"""What stands on the other side of the `Upstream` port in tests: flights, sinks, raw servers."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import Conflict, Interrupted
from midflight.domain.value import JSONObject
from midflight.services.ports.upstream import ClientRequest, OnCut, RunSeat

SEAT = RunSeat(run="run_one", workload="spiffe://example.org/agents/one")
ABLE = RunSeat(
    run="run_one",
    workload="spiffe://example.org/agents/one",
    capabilities={"elicitation": {"form": {}}},
)


class FakeFlight:
    """A flight that tests cut."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.looks = 0
        self.close: Callable[[], None] | None = None
        self.reason: str | None = None
        self._cut: OnCut | None = None

    def look(self) -> None:
        self.looks += 1
        if self.reason is not None:
            raise Interrupted(self.reason, revocation="rev_1")

    def on_cut(self, cut: OnCut) -> None:
        self._cut = cut
        if self.reason is not None:
            self.cut(self.reason)

    def left(self, nbytes: int) -> None:
        self.sent += nbytes

    def came(self, nbytes: int) -> None:
        self.received += nbytes

    def carried(self, close: Callable[[], None]) -> None:
        self.close = close

    def cut(self, reason: str = "revoked") -> None:
        self.reason = reason
        wake = None if self._cut is None else self._cut(reason)
        if wake is not None:
            wake()


class RecordingSink:
    """A caller that keeps what it hears, and answers questions by `answers`."""

    def __init__(
        self,
        capabilities: JSONObject | None = None,
        *,
        answers: Callable[[ClientRequest], Awaitable[JSONObject]] | None = None,
        takes_input_required: bool = False,
    ) -> None:
        self.capabilities = capabilities or {}
        self.takes_input_required = takes_input_required
        self.heard: list[tuple[str, JSONObject]] = []
        self.asked: list[ClientRequest] = []
        self._answers = answers
        self._changed = asyncio.Event()

    async def notify(self, method: str, params: JSONObject) -> None:
        self.heard.append((method, params))
        self._changed.set()

    async def ask(self, request: ClientRequest) -> JSONObject:
        self.asked.append(request)
        if self._answers is None:
            raise Conflict("Nobody is there.")
        return await self._answers(request)

    async def until_heard(self, method: str) -> JSONObject:
        async with asyncio.timeout(20):
            while True:
                for heard, params in self.heard:
                    if heard == method:
                        return params
                self._changed.clear()
                await self._changed.wait()


class Notices:
    """A notice handler that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, JSONObject]] = []
        self._changed = asyncio.Event()

    def __call__(self, run: str, method: str, params: JSONObject) -> None:
        self.heard.append((run, method, params))
        self._changed.set()

    async def until(self, run: str, method: str) -> JSONObject:
        async with asyncio.timeout(20):
            while True:
                for of, heard, params in self.heard:
                    if (of, heard) == (run, method):
                        return params
                self._changed.clear()
                await self._changed.wait()


def call_tool(name: str, arguments: JSONObject | None = None, **meta: object) -> Action:
    return Action(
        kind=ActionKind.CALL_TOOL,
        upstream="reference",
        name=name,
        method="tools/call",
        arguments=arguments or {},
        meta=meta,
    )


def listing(method: str = "tools/list", **params: object) -> Action:
    return Action(
        kind=ActionKind.LIST, upstream="reference", name=method, method=method, params=params
    )


def listening(*uris: str) -> Action:
    return Action(
        kind=ActionKind.SUBSCRIBE,
        upstream="reference",
        name="subscriptions/listen",
        method="subscriptions/listen",
        arguments={"resourceSubscriptions": list(uris)},
    )


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until something outside of it (a process, a socket) has come about."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


def certificate_for_localhost(folder: Path) -> Path:
    """A self-signed certificate and its key in one file, made now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    hour = dt.timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - hour)
        .not_valid_after(now + hour)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "localhost.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def raw_server(handler: Handler, *, ssl: object = None) -> AsyncIterator[str]:
    """A TCP server whose every byte the test decides; its URL. `handler` runs per connection."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError
        ):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=ssl)  # type: ignore[arg-type]
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if ssl else 'http'}://127.0.0.1:{port}/mcp"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """One HTTP request: its request line, headers by lower-case name, body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.rstrip("\r\n").split("\r\n")
    headers: dict[str, str] = {}
    for field in fields:
        name, _, value = field.partition(": ")
        headers[name.lower()] = value
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return line, headers, body


def response(
    body: bytes = b"", status: str = "200 OK", kind: str = "application/json", extra: str = ""
) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode("latin-1") + body
