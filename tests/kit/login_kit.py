"""An OpenID provider as far as ID tokens go: its metadata, its keys, and tokens made by PyJWT."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt as pyjwt
from identity_kit import Key

CLIENT_ID = "midflight"
PERSON = "olivia"


class LoginProvider:
    """Its issuer is where it listens."""

    def __init__(self) -> None:
        self.key = Key()
        self.issuer = ""
        self.asked: list[str] = []

    def id_token(
        self, *, header: dict[str, Any] | None = None, key: Key | None = None, **claims: Any
    ) -> str:
        """An ID token of a person for this plane; `...` leaves a claim out."""
        now = int(time.time())
        told = {
            "iss": self.issuer,
            "sub": PERSON,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "jti": secrets.token_hex(8),
            **claims,
        }
        told = {name: value for name, value in told.items() if value is not ...}
        signer = pyjwt.PyJWS(algorithms=["ES256"])
        return signer.encode(
            json.dumps(told).encode(),
            (key or self.key).private,
            algorithm="ES256",
            headers={"kid": "p1", "typ": "JWT", **(header or {})},
        )

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            self.asked.append(path)
            documents = {
                "/.well-known/openid-configuration": {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.issuer}/authorize",
                    "token_endpoint": f"{self.issuer}/token",
                    "jwks_uri": f"{self.issuer}/keys",
                },
                "/keys": {"keys": [{**self.key.public_jwk, "kid": "p1", "alg": "ES256"}]},
            }
            body = json.dumps(documents.get(path, {})).encode()
            status = b"200 OK" if path in documents else b"404 Not Found"
            writer.write(
                b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%b" % (status, len(body), body)
            )
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def login_provider() -> AsyncIterator[LoginProvider]:
    """One that listens on loopback."""
    provider = LoginProvider()
    server = await asyncio.start_server(provider.answer, "127.0.0.1", 0)
    provider.issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield provider
    finally:
        server.close()
        await server.wait_closed()


__all__ = ["CLIENT_ID", "PERSON", "LoginProvider", "login_provider"]
