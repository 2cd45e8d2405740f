"""A gateway whose authorization server tests talk to, and a client written by hand."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from counterpart_kit import free_port
from identity_kit import Key, by_hand

from gateways import AGENT, OPERATOR, Gateway, running_gateway
from midflight.domain.authorization import Client
from midflight.domain.identity import Workload

CLIENT = "build-bot"
PUBLIC = "editor"
REDIRECT = "http://127.0.0.1/callback"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
OTHER = "spiffe://midflight.internal/agents/two"
EDITOR = "spiffe://midflight.internal/clients/editor"


class OAuthServer:
    """A running gateway, its clients' keys, and requests to it."""

    def __init__(self, gateway: Gateway, url: str, http: httpx2.AsyncClient) -> None:
        self.gateway = gateway
        self.plane = gateway.plane
        self.url = url
        self.issuer = url
        self.resource = f"{url}/mcp"
        self.token_url = f"{url}/oauth/token"
        self.http = http
        self.key = Key()

    async def prepare(self) -> None:
        """Workloads, clients, and the authority of the trust domain."""
        for workload, owner in ((OTHER, "team-one"), (EDITOR, OPERATOR.name)):
            await self.plane.inventory.register(
                Workload(
                    id=workload,
                    owner=owner,
                    escalation="oncall",
                    review_by=int(time.time()) + 86_400,
                ),
                OPERATOR,
            )
        clients = self.plane.oauth.clients
        await clients.add(
            Client(
                id=CLIENT,
                workload=AGENT,
                name="Build bot",
                keys=({**self.key.public_jwk, "kid": "k1"},),
            ),
            OPERATOR,
        )
        await clients.add(
            Client(id=PUBLIC, workload=EDITOR, name="Editor", redirect_uris=(REDIRECT,)), OPERATOR
        )

    # What a client makes

    def svid(self, workload: str = AGENT, **claims: Any) -> str:
        """A JWT-SVID for the server."""
        now = int(time.time())
        told = {
            "sub": workload,
            "aud": [self.issuer],
            "iat": now,
            "exp": now + 300,
            "jti": secrets.token_hex(8),
            **claims,
        }
        return self.plane.parts.svid_signer.sign({"typ": "JWT"}, told)

    def assertion(self, client: str = CLIENT, *, key: Key | None = None, **claims: Any) -> str:
        """A client assertion."""
        now = int(time.time())
        told = {
            "iss": client,
            "sub": client,
            "aud": self.issuer,
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_hex(8),
            **claims,
        }
        told = {name: value for name, value in told.items() if value is not ...}
        return by_hand({"alg": "ES256", "kid": "k1", "typ": "JWT"}, told, key or self.key)

    def proof(self, key: Key, url: str | None = None, **claims: Any) -> str:
        """A DPoP proof for the token endpoint."""
        told = {
            "jti": secrets.token_hex(8),
            "htm": "POST",
            "htu": url or self.token_url,
            "iat": int(time.time()),
            **claims,
        }
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.public_jwk}
        return by_hand(header, told, key)

    # Requests

    async def post(
        self, path: str, form: dict[str, str], *, proof: str | None = None, **more: Any
    ) -> httpx2.Response:
        headers = dict(more.pop("headers", {}))
        if proof is not None:
            headers["DPoP"] = proof
        return await self.http.post(self.url + path, data=form, headers=headers, **more)

    async def token(self, *, key: Key | None = None, **form: str) -> httpx2.Response:
        """The token endpoint, with a proof of `key`."""
        proof = None if key is None else self.proof(key)
        return await self.post("/oauth/token", form, proof=proof)

    def authenticated(self, **form: str) -> dict[str, str]:
        """A form with a fresh client assertion."""
        return {
            "client_assertion_type": ASSERTION,
            "client_assertion": self.assertion(),
            **form,
        }

    async def exchanged(self, key: Key, workload: str = AGENT, **form: str) -> dict[str, Any]:
        """A token for an SVID."""
        answer = await self.token(
            key=key,
            grant_type=TOKEN_EXCHANGE,
            subject_token=self.svid(workload),
            subject_token_type=JWT,
            **form,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def tools(self, token: str, key: Key) -> httpx2.Response:
        """`tools/list` at the resource, with a proof."""
        ath = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest())[:-1].decode()
        return await self.http.post(
            self.resource,
            json=modern_request("tools/list"),
            headers={
                **MODERN_HEADERS,
                "mcp-method": "tools/list",
                "authorization": f"DPoP {token}",
                "dpop": self.proof(key, self.resource, ath=ath),
            },
        )

    async def log_in(self, query: dict[str, str]) -> httpx2.Response:
        """The way of a person to the question, by the development login."""
        page = await self.http.get(f"{self.url}/oauth/authorize", params=query)
        if page.status_code != 200 or 'name="decision"' in page.text:  # logged in already
            return page
        code, _ = self.plane.oauth.people.new_code(OPERATOR)
        back = await self.http.post(
            f"{self.url}/oauth/login", data={"ticket": ticket_of(page.text), "code": code}
        )
        if back.status_code != 303:
            return back
        return await self.http.get(self.url + back.headers["location"])

    async def answer(self, page: httpx2.Response, **form: str) -> httpx2.Response:
        """What a person answers to the question."""
        return await self.http.post(
            f"{self.url}/oauth/consent",
            data={"ticket": ticket_of(page.text), "decision": "allow", **form},
        )


MODERN_HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
}


def modern_request(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}


META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def ticket_of(page: str) -> str:
    found = re.search(r'name="ticket" value="([^"]+)"', page)
    assert found is not None, page
    return found[1]


BACK = "http://127.0.0.1:51234/callback"


class Attempt:
    """One request for a code, with its verifier."""

    def __init__(self, server: OAuthServer, **changes: str) -> None:
        self.verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(self.verifier.encode()).digest()
        self.query = {
            "response_type": "code",
            "client_id": PUBLIC,
            "redirect_uri": BACK,
            "state": "s-1",
            "resource": server.resource,
            "code_challenge": base64.urlsafe_b64encode(digest)[:-1].decode(),
            "code_challenge_method": "S256",
            **changes,
        }

    def form(self, code: str, **changes: str) -> dict[str, str]:
        return {
            "grant_type": "authorization_code",
            "client_id": PUBLIC,
            "code": code,
            "redirect_uri": BACK,
            "code_verifier": self.verifier,
            **changes,
        }


async def code_of(server: OAuthServer, attempt: Attempt, **answer: str) -> str:
    page = await server.log_in(attempt.query)
    assert page.status_code == 200, page.text
    back = await server.answer(page, **answer)
    assert back.status_code == 303, back.text
    told = parse_qs(urlsplit(back.headers["location"]).query)
    assert back.headers["location"].startswith(f"{BACK}?")
    assert (told["state"], told["iss"]) == (["s-1"], [server.issuer])
    return told["code"][0]


@contextlib.asynccontextmanager
async def oauth_server(folder: Path, **more: Any) -> AsyncIterator[OAuthServer]:
    """A gateway without upstreams, whose public URL is the one it listens on."""
    port = more.pop("port", None) or free_port()
    address = f"127.0.0.1:{port}"
    url = f"http://{address}"
    gateway = {"listen": address, "public_url": url}
    upstreams = more.pop("upstreams", ())
    async with (
        running_gateway(folder, upstreams, gateway=gateway, **more) as running,
        httpx2.AsyncClient(timeout=30, trust_env=False) as http,
    ):
        server = OAuthServer(running, url, http)
        await server.prepare()
        yield server
