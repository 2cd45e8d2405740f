"""Bundle endpoints and identity providers that answer a byte at a time, in bombs, or under a flood.

Servers are real ones on loopback. What drips ends when its client has gone, and never before.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from identity_kit import Key, by_hand

from midflight.adapters.clock import SystemClock
from midflight.adapters.federation import endpoint
from midflight.adapters.federation.endpoint import WebEndpoint
from midflight.adapters.login import oidc
from midflight.adapters.login.oidc import OidcLogin
from midflight.domain.errors import MidflightError, Unauthenticated, Unavailable
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
DRIP_S = 0.02
"""Between two bytes: far below the limit of a step, so that only one for everything ends it."""


class Server:
    """Answers every path by `answer`, or drips for ever where that is None."""

    def __init__(self) -> None:
        self.answer: Callable[[str], bytes | None] = lambda _: None
        self.paths: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            self.paths.append(path)
            found = self.answer(path)
            if found is None:
                writer.write(HEAD + b"\r\n")
                gone = asyncio.ensure_future(asyncio.gather(reader.read(), return_exceptions=True))
                while not (await asyncio.wait({gone}, timeout=DRIP_S))[0]:
                    writer.write(b" ")
            else:
                writer.write(found)
                await writer.drain()
        writer.close()


@pytest.fixture
async def server() -> AsyncGenerator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield made


def document(value: Any, **headers: str) -> bytes:
    raw = json.dumps(value).encode()
    told = "".join(f"{name}: {text}\r\n" for name, text in headers.items()).encode()
    return HEAD + told + b"Content-Length: %d\r\n\r\n" % len(raw) + raw


def bomb() -> bytes:
    raw = gzip.compress(b" " * 50_000_000)
    return HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw


def bundles(server: Server) -> WebEndpoint:
    return WebEndpoint("other.test", server.url, loopback_http=True)


def provider(server: Server, clock: Any = None) -> OidcLogin:
    return OidcLogin(
        issuer=server.url,
        client_id="plane",
        client_secret=lambda: "s",
        claim="sub",
        redirect_uri="http://127.0.0.1/oauth/callback",
        clock=clock or SystemClock(),
    )


async def failed(work: Awaitable[object], kind: type[MidflightError]) -> str:
    async with asyncio.timeout(20):
        with pytest.raises(kind) as caught:
            await work
    return str(caught.value)


async def test_a_bundle_endpoint_that_drips_holds_up_nobody(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "TIMEOUT_S", 0.5)
    assert "takes over 0.5 s" in await failed(bundles(server).fetch(), Unavailable)


async def test_a_bundle_in_a_bomb_is_not_unpacked(server: Server) -> None:
    server.answer = lambda _: bomb()
    assert "coding" in await failed(bundles(server).fetch(), Unavailable)


async def test_a_provider_that_drips_holds_up_no_login_for_long(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "TIMEOUT_S", 0.5)
    begun = provider(server).begin(state="s", nonce="n", verifier="v" * 43)
    assert "cannot be reached" in await failed(begun, MidflightError)


async def test_a_provider_that_answers_in_a_bomb_is_not_unpacked(server: Server) -> None:
    server.answer = lambda _: bomb()
    begun = provider(server).begin(state="s", nonce="n", verifier="v" * 43)
    assert "coding" in await failed(begun, MidflightError)


@pytest.mark.parametrize(
    "where",
    ["https://idp.test/\r\nSet-Cookie: a=b", "https://idp.test/ a", "https://idp.test/\x7f"],
)
async def test_metadata_that_would_end_a_line_of_a_header_is_not_used(
    server: Server, where: str
) -> None:
    server.answer = lambda _: document(
        {
            "issuer": server.url,
            "authorization_endpoint": where,
            "token_endpoint": f"{server.url}/token",
            "jwks_uri": f"{server.url}/keys",
        }
    )
    begun = provider(server).begin(state="s", nonce="n", verifier="v" * 43)
    await failed(begun, Unauthenticated)


def made_up(server: Server, number: int) -> str:
    now = int(time.time())
    claims = {"iss": server.url, "sub": "eve", "aud": "plane", "iat": now, "exp": now + 60}
    return by_hand({"alg": "ES256", "kid": f"made-up-{number}", "typ": "JWT"}, claims, Key())


def speaking(server: Server) -> None:
    metadata = {
        "issuer": server.url,
        "authorization_endpoint": f"{server.url}/authorize",
        "token_endpoint": f"{server.url}/token",
        "jwks_uri": f"{server.url}/keys",
    }
    server.answer = lambda path: document({"keys": []} if path == "/keys" else metadata)


async def test_tokens_with_made_up_keys_are_no_flood_of_questions(server: Server) -> None:
    speaking(server)
    clock = FakeClock(time.time())
    asked = provider(server, clock)

    async def flood(first: int) -> None:
        found = await asyncio.gather(
            *(asked.person_of(made_up(server, first + n)) for n in range(40)),
            return_exceptions=True,
        )
        assert all(isinstance(error, Unauthenticated) for error in found)

    await flood(0)
    assert server.paths.count("/keys") == 1
    clock.advance(oidc.AGAIN_S + 1)
    await flood(100)
    assert server.paths.count("/keys") == 2
    assert len(server.paths) == 3  # and its metadata once


async def test_a_provider_that_is_down_is_not_asked_for_each_of_many(server: Server) -> None:
    server.answer = lambda _: b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
    clock = FakeClock(time.time())
    asked = provider(server, clock)
    for _ in range(2):
        await asyncio.gather(
            *(asked.person_of(made_up(server, n)) for n in range(40)), return_exceptions=True
        )
    assert len(server.paths) == 1
    clock.advance(oidc.RETRY_S + 1)
    speaking(server)
    await failed(asked.person_of(made_up(server, 99)), Unauthenticated)
    assert server.paths.count("/keys") == 1
