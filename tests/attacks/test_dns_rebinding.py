"""A web page whose name comes to resolve to 127.0.0.1 gets nothing from a local listener.

The same requests as the scenario `dns-rebinding-protection` of the MCP conformance suite, over real
sockets, and the ways around a careless check.
"""

from __future__ import annotations

import pytest
from server_kit import Recorder, conversation, parse_answers, running

from midflight.apps.server.asgi import Receive, Scope, Send
from midflight.apps.server.origin import OriginPolicy
from midflight.apps.server.respond import send_error
from midflight.domain.errors import MidflightError

pytestmark = pytest.mark.anyio


class Guarded:
    """An app behind the check."""

    def __init__(self, policy: OriginPolicy) -> None:
        self.app = Recorder()
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._policy.admit(scope)
        except MidflightError as error:
            await send_error(send, error)
            return
        await self.app(scope, receive, send)


async def ask(port: int, *headers: str) -> int:
    lines = ["POST /mcp HTTP/1.1", *headers, "Content-Length: 2", "Connection: close", "", "{}"]
    data = "\r\n".join(lines).replace("PORT", str(port)).encode()
    [answer] = parse_answers(await conversation(port, data))
    return answer.status


@pytest.mark.parametrize(
    "headers",
    [
        ("Host: evil.example.com", "Origin: http://evil.example.com"),
        ("Host: evil.example.com:PORT", "Origin: http://evil.example.com:PORT"),
        ("Host: evil.example.com:PORT",),
        ("Host: 127.0.0.1:PORT", "Origin: http://evil.example.com"),
        ("Host: 127.0.0.1:PORT", "Origin: null"),
        ("Host: 127.0.0.1:PORT", "Origin: "),
        ("Host: 127.0.0.1:PORT", "Origin: https://127.0.0.1:PORT"),
        ("Host: 127.0.0.1:PORT", "Origin: http://127.0.0.1:PORT.evil.example.com"),
        ("Host: 127.0.0.1:PORT", "Origin: http://127.0.0.1:PORT/"),
        ("Host: 127.0.0.1:PORT", "Origin: http://127.0.0.1:1"),
        ("Host: 127.0.0.1:PORT", "Origin: http://127.0.0.1"),
        ("Host: 127.0.0.1:PORT", "Origin: http://user@127.0.0.1:PORT"),
        ("Host: 127.0.0.1:PORT", "Origin: http://127.0.0.1:PORT, http://evil.example.com"),
        ("Host: 127.0.0.1:PORT", "Origin: moz-extension://127.0.0.1:PORT"),
        ("Host: 127.0.0.1",),
        ("Host: 127.0.0.1:1",),
        ("Host: 127.0.0.1:PORT.evil.example.com",),
        ("Host: localhost.evil.example.com:PORT",),
        ("Host: evil.localhost:PORT",),
        ("Host: localhost.:PORT",),
        ("Host: 127.1:PORT",),
        ("Host: 2130706433:PORT",),
        ("Host: 0.0.0.0:PORT",),
        ("Host: user@127.0.0.1:PORT",),
        ("Host: [::ffff:127.0.0.1]:PORT",),
        ("Host: ",),
    ],
)
async def test_a_page_of_another_name_is_refused(headers: tuple[str, ...]) -> None:
    guarded = Guarded(OriginPolicy())
    async with running(guarded) as port:
        assert await ask(port, *headers) == 403
    assert guarded.app.started == 0


@pytest.mark.parametrize(
    "headers",
    [
        ("X: y",),
        ("Host: 127.0.0.1:PORT", "Host: 127.0.0.1:PORT"),
        ("Host: 127.0.0.1:PORT", "Host: evil.example.com"),
        ("Host: 127.0.0.1:PORT", "Origin: http://127.0.0.1:PORT", "Origin: http://evil"),
    ],
)
async def test_a_missing_or_repeated_name_is_malformed(headers: tuple[str, ...]) -> None:
    guarded = Guarded(OriginPolicy())
    async with running(guarded) as port:
        assert await ask(port, *headers) == 400
    assert guarded.app.started == 0


async def test_a_request_of_http_1_0_without_host_is_malformed() -> None:
    guarded = Guarded(OriginPolicy())
    async with running(guarded) as port:
        [answer] = parse_answers(await conversation(port, b"GET / HTTP/1.0\r\n\r\n"))
    assert answer.status == 400
    assert guarded.app.started == 0


@pytest.mark.parametrize(
    "headers",
    [
        ("Host: 127.0.0.1:PORT", "Origin: http://127.0.0.1:PORT"),
        ("Host: localhost:PORT", "Origin: http://localhost:PORT"),
        ("Host: LOCALHOST:PORT", "Origin: http://Localhost:PORT"),
        ("Host: [::1]:PORT",),
        ("Host: 127.0.0.1:PORT",),
        ("Host: localhost:PORT", "Origin: http://127.0.0.1:PORT"),
    ],
)
async def test_the_listener_s_own_names_pass(headers: tuple[str, ...]) -> None:
    guarded = Guarded(OriginPolicy())
    async with running(guarded) as port:
        assert await ask(port, *headers) == 200


async def test_names_of_the_settings_pass_and_only_they() -> None:
    policy = OriginPolicy(["plane.example", "edge.example:8443"], ["https://console.example"])
    guarded = Guarded(policy)
    async with running(guarded) as port:
        assert await ask(port, "Host: plane.example:PORT") == 200
        assert await ask(port, "Host: edge.example:8443") == 200
        assert await ask(port, "Host: 127.0.0.1:PORT", "Origin: https://console.example") == 200
        assert await ask(port, "Host: 127.0.0.1:PORT", "Origin: http://console.example") == 403
        assert await ask(port, "Host: console.example") == 403
        assert await ask(port, "Host: edge.example:PORT") == 403
