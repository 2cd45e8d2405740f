"""An OpenID provider whose backchannel says what a test wants it to say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs

from login_kit import LoginProvider

CLIENT = "midflight-approvals"


class LyingProvider(LoginProvider):
    """`starts` and `says` make the bodies of its two endpoints; `told` is what it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, dict[str, str]]] = []
        self.starts: Callable[[], tuple[int, Any]] = lambda: (
            200,
            {"auth_req_id": secrets.token_hex(8), "expires_in": 300, "interval": 1},
        )
        self.says: Callable[[dict[str, str]], tuple[int, Any]] = lambda _: (
            400,
            {"error": "authorization_pending"},
        )

    def token(self, **more: Any) -> tuple[int, Any]:
        """A token response with an ID token for this client."""
        return 200, {"id_token": self.id_token(**{"aud": CLIENT, "sub": "sub-of-ada", **more})}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            length = next(
                (
                    int(line.split(":")[1])
                    for line in head.lower().split("\r\n")
                    if line.startswith("content-length:")
                ),
                0,
            )
            form = parse_qs((await reader.readexactly(length)).decode())
            flat = {name: values[0] for name, values in form.items()}
            self.told.append((path, flat))
            status, body = self._answer(path, flat)
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            writer.write(
                b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%b" % (status, len(raw), raw)
            )
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def _answer(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        match path:
            case "/.well-known/openid-configuration":
                return 200, {
                    "issuer": self.issuer,
                    "backchannel_authentication_endpoint": f"{self.issuer}/start",
                    "token_endpoint": f"{self.issuer}/token",
                    "jwks_uri": f"{self.issuer}/keys",
                }
            case "/keys":
                return 200, {"keys": [{**self.key.public_jwk, "kid": "p1", "alg": "ES256"}]}
            case "/start":
                return self.starts()
            case "/token":
                return self.says(form)
            case _:
                return 404, {}


@contextlib.asynccontextmanager
async def lying_provider() -> AsyncIterator[LyingProvider]:
    """One that listens on loopback."""
    provider = LyingProvider()
    server = await asyncio.start_server(provider.answer, "127.0.0.1", 0)
    provider.issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield provider
    finally:
        server.close()
        await server.wait_closed()


def settings_of(provider: LyingProvider) -> dict[str, Any]:
    """Settings in which ada and bob are asked there."""
    people = {name: {"login_hint": name, "subject": f"sub-of-{name}"} for name in ("ada", "bob")}
    ciba = {"issuer": provider.issuer, "client_id": CLIENT, "people": people}
    return {"approvals": {"ciba": ciba}}


__all__ = ["CLIENT", "LyingProvider", "lying_provider", "settings_of"]
