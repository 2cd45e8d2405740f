"""A gateway that sends security events, its receivers, and SETs verified by PyJWT."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import jwt as pyjwt
from identity_kit import Key
from oauth_kit import ASSERTION, OAuthServer, oauth_server

from gateways import OPERATOR
from midflight.domain.authorization import Client
from midflight.domain.identity import Workload
from midflight.domain.revocation import Scope, ScopeKind

CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
SSF = "https://schemas.openid.net/secevent/ssf/event-type/"
REVOKED = CAEP + "session-revoked"
PUSH, POLL = "urn:ietf:rfc:8935", "urn:ietf:rfc:8936"
SOC = "spiffe://midflight.internal/services/soc"
SIEM = "spiffe://midflight.internal/services/siem"


class Sink:
    """An endpoint that SETs are pushed to: keeps what came, answers as told."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[dict[str, str], str]] = []
        self.answers: list[tuple[int, bytes]] = []
        self._came = asyncio.Condition()

    async def came(self, count: int) -> list[tuple[dict[str, str], str]]:
        """All requests, once there are so many."""
        async with asyncio.timeout(20), self._came:
            await self._came.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader)
            status, answer = self.answers.pop(0) if self.answers else (202, b"")
            head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n"
            head += "Content-Type: application/json\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + answer)
            await writer.drain()
        except asyncio.IncompleteReadError:
            return  # whoever connected said nothing
        finally:
            writer.close()
        async with self._came:
            self.requests.append(request)
            self._came.notify_all()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Sink]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/events"
            yield self


async def _read(reader: asyncio.StreamReader) -> tuple[dict[str, str], str]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:])}
    return headers, (await reader.readexactly(int(headers.get("content-length", "0")))).decode()


class Receiver:
    """One registered client, its tokens and its requests."""

    def __init__(self, server: OAuthServer, client: str, key: Key) -> None:
        self.server = server
        self.client = client
        self.key = key
        self.held = ""

    async def token(self, scope: str | None = None) -> httpx2.Response:
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION,
            "client_assertion": self.server.assertion(self.client, key=self.key),
        }
        if scope is not None:
            form["scope"] = scope
        return await self.server.token(**form)

    async def log_in(self, scope: str = "ssf.read ssf.manage") -> Receiver:
        answer = await self.token(scope)
        assert answer.status_code == 200, answer.text
        assert answer.json()["expires_in"] <= 3_600
        self.held = answer.json()["access_token"]
        return self

    async def call(self, method: str, path: str, **more: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.held}", **more.pop("headers", {})}
        url = path if path.startswith("http") else self.server.url + path
        return await self.server.http.request(method, url, headers=headers, **more)

    async def create(self, **body: Any) -> dict[str, Any]:
        asked = {"events_requested": [REVOKED, CAEP + "credential-change"], **body}
        answer = await self.call("POST", "/ssf/stream", json=asked)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def poll(self, stream: dict[str, Any], **body: Any) -> dict[str, str]:
        asked = {"returnImmediately": True, **body}
        answer = await self.call("POST", stream["delivery"]["endpoint_url"], json=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()["sets"]

    async def first(self, stream: dict[str, Any]) -> dict[str, Any]:
        """The first event that comes, waited for, verified and acknowledged."""
        answer = await self.call(
            "POST", stream["delivery"]["endpoint_url"], json={"maxEvents": 1}, timeout=30
        )
        ((jti, text),) = answer.json()["sets"].items()
        claims = await self.verified(text)
        assert claims["jti"] == jti
        await self.poll(stream, ack=[jti], maxEvents=0)
        return claims

    async def verified(self, text: str) -> dict[str, Any]:
        """The claims of a SET, as PyJWT verifies it with the keys that are published."""
        document = (
            await self.server.http.get(f"{self.server.url}/.well-known/ssf-configuration")
        ).json()
        jwks = (await self.server.http.get(document["jwks_uri"])).json()
        header = pyjwt.get_unverified_header(text)
        assert (header["typ"], header["alg"]) == ("secevent+jwt", "RS256")
        (jwk,) = [key for key in jwks["keys"] if key["kid"] == header["kid"]]
        key = pyjwt.PyJWK(jwk)
        assert key.key.key_size >= 2_048
        claims = pyjwt.decode(
            text,
            key,
            algorithms=["RS256"],
            audience=self.client,
            issuer=document["issuer"],
            options={"require": ["iss", "iat", "jti", "aud"]},
        )
        assert not {"sub", "exp"} & claims.keys()
        assert len(claims["events"]) == 1
        assert claims["sub_id"]["format"]
        assert claims["txn"]
        return claims


async def receiver(
    server: OAuthServer, client: str = "soc", workload: str = SOC, **more: Any
) -> Receiver:
    """A receiver that is registered, with both scopes unless said otherwise."""
    key = Key()
    await server.plane.inventory.register(
        Workload(
            id=workload,
            owner="secops",
            escalation="oncall",
            review_by=int(time.time()) + 86_400,
            kind="service",
        ),
        OPERATOR,
    )
    await server.plane.oauth.clients.add(
        Client(
            id=client,
            workload=workload,
            name=client,
            keys=({**key.public_jwk, "kid": "k1"},),
            **{"scope": ("ssf.manage", "ssf.read"), **more},
        ),
        OPERATOR,
    )
    return Receiver(server, client, key)


@contextlib.asynccontextmanager
async def transmitter(folder: Path, **more: Any) -> AsyncIterator[OAuthServer]:
    """A gateway that sends events."""
    ssf = {"transmit": True, "push_to_private": True, **more.pop("ssf", {})}
    async with oauth_server(folder, ssf=ssf, **more) as server:
        yield server


async def revoke(server: OAuthServer, kind: ScopeKind, name: str, reason: str = "stolen") -> str:
    receipt = await server.plane.interruption.revoke(
        Scope(kind=kind, id=name), reason=reason, author=OPERATOR
    )
    assert receipt.durable
    await server.plane.signals.transmitting.emitting.settle()
    return receipt.revocation.id


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)
