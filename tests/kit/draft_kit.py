"""A gateway whose experiments are on, and what clients of transaction tokens and ID-JAGs make."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt as pyjwt
from identity_kit import Key, by_hand
from oauth_kit import (
    ACCESS_TOKEN,
    ASSERTION,
    CLIENT,
    OTHER,
    TOKEN_EXCHANGE,
    OAuthServer,
    oauth_server,
)

from gateways import OPERATOR
from midflight.domain.authorization import Client
from midflight.domain.records import Issued

TRANSACTION_TOKEN = "urn:ietf:params:oauth:token-type:txn_token"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
PROFILE = "urn:ietf:params:oauth:grant-profile:id-jag"
DOMAIN = "midflight.internal"
NEXT = "next-service"
PROVIDER = "https://login.example.test"
PERSON = "u-7311"


class Drafts:
    """The server of a test, with a second client that is next in a chain of calls."""

    def __init__(self, server: OAuthServer, provider: Key) -> None:
        self.server = server
        self.provider = provider
        self.next_key = Key()

    async def prepare(self) -> None:
        await self.server.plane.oauth.clients.add(
            Client(
                id=NEXT,
                workload=OTHER,
                name="Next in the chain",
                keys=({**self.next_key.public_jwk, "kid": "k1"},),
            ),
            OPERATOR,
        )

    # Transaction tokens

    def as_client(self, client: str = CLIENT) -> dict[str, str]:
        """A fresh client assertion."""
        key = {CLIENT: self.server.key, NEXT: self.next_key}[client]
        return {
            "client_assertion_type": ASSERTION,
            "client_assertion": self.server.assertion(client, key=key),
        }

    async def access(self, key: Key, **form: str) -> str:
        """An access token of a run of the agent."""
        return (await self.server.exchanged(key, **form))["access_token"]

    async def ask(
        self, subject: str, *, key: Key | None = None, client: str = CLIENT, **changes: Any
    ) -> Any:
        """A request for a transaction token; `...` leaves a parameter out."""
        form = {
            "grant_type": TOKEN_EXCHANGE,
            "requested_token_type": TRANSACTION_TOKEN,
            "audience": DOMAIN,
            "scope": "mcp",
            "subject_token": subject,
            "subject_token_type": ACCESS_TOKEN,
            **self.as_client(client),
            **changes,
        }
        form = {name: value for name, value in form.items() if value is not ...}
        return await self.server.token(key=key, **form)

    async def transaction(self, key: Key, **changes: Any) -> str:
        """A transaction token for a fresh run of the agent."""
        answer = await self.ask(await self.access(key), key=key, **changes)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    async def replace(self, token: str, *, client: str = NEXT, **changes: Any) -> Any:
        """A request for another transaction token for this one."""
        return await self.ask(
            token, client=client, **{"subject_token_type": TRANSACTION_TOKEN, **changes}
        )

    async def verified(self, token: str) -> dict[str, Any]:
        """The claims of a transaction token, by PyJWT and the published keys."""
        keys = (await self.server.http.get(f"{self.server.url}/.well-known/jwks.json")).json()
        kid = pyjwt.get_unverified_header(token)["kid"]
        (jwk,) = [key for key in keys["keys"] if key["kid"] == kid]
        return pyjwt.decode(
            token,
            pyjwt.PyJWK(jwk),
            algorithms=["ES256"],
            audience=DOMAIN,
            issuer=self.server.issuer,
            options={"require": ["exp", "iat", "iss", "sub", "aud", "jti"]},
        )

    # Identity assertions

    def id_jag(
        self,
        *,
        header: dict[str, Any] | None = None,
        signed_by: Key | None = None,
        **claims: Any,
    ) -> str:
        """An identity assertion of the provider; `...` leaves a claim out."""
        now = int(time.time())
        told = {
            "iss": PROVIDER,
            "sub": PERSON,
            "aud": self.server.issuer,
            "client_id": CLIENT,
            "resource": self.server.resource,
            "scope": "mcp:git effect:read",
            "jti": secrets.token_hex(8),
            "iat": now,
            "exp": now + 300,
            **claims,
        }
        told = {name: value for name, value in told.items() if value is not ...}
        head = {"alg": "ES256", "kid": "p1", "typ": "oauth-id-jag+jwt", **(header or {})}
        head = {name: value for name, value in head.items() if value is not ...}
        return by_hand(head, told, signed_by or self.provider)

    async def present(
        self, assertion: str, *, key: Key | None = None, client: str = CLIENT, **changes: Any
    ) -> Any:
        """A request with an identity assertion; `...` leaves a parameter out."""
        form = {
            "grant_type": JWT_BEARER,
            "assertion": assertion,
            **self.as_client(client),
            **changes,
        }
        form = {name: value for name, value in form.items() if value is not ...}
        return await self.server.token(key=key, **form)

    # What is left of it

    async def issued(self, what: str) -> list[Issued]:
        """Records of what was issued."""
        await self.server.plane.ledger.flush()
        tail = await self.server.plane.ledger.tail(1_000)
        found = [f.record for f in tail if isinstance(f.record, Issued)]
        return [record for record in found if record.what == what]


def provider_table(folder: Path, provider: Key, **changes: Any) -> tuple[dict[str, Any], ...]:
    """`[[oauth.id_jag_issuer]]` with one row."""
    place = folder / "provider.json"
    jwk = {**provider.public_jwk, "kid": "p1", "use": "sig", "alg": "ES256"}
    place.write_text(json.dumps({"keys": [jwk]}), encoding="utf-8")
    return ({"issuer": PROVIDER, "jwks_file": place, "algorithms": ("ES256",), **changes},)


@contextlib.asynccontextmanager
async def drafts(folder: Path, **row: Any) -> AsyncIterator[Drafts]:
    """A gateway with `[oauth] experimental`, and a provider whose ID-JAGs it takes."""
    provider = Key()
    oauth = {"experimental": True, "id_jag_issuer": provider_table(folder, provider, **row)}
    async with oauth_server(folder, oauth=oauth) as server:
        made = Drafts(server, provider)
        await made.prepare()
        yield made


def error_of(answer: Any) -> tuple[int, str]:
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() == {"error", "error_description"}, answer.text
    return answer.status_code, answer.json()["error"]


def unverified_claims(token: str) -> dict[str, Any]:
    return pyjwt.decode(token, options={"verify_signature": False})


__all__ = [
    "CLIENT",
    "DOMAIN",
    "JWT_BEARER",
    "NEXT",
    "PERSON",
    "PROFILE",
    "PROVIDER",
    "TRANSACTION_TOKEN",
    "Drafts",
    "drafts",
    "error_of",
    "provider_table",
    "unverified_claims",
]
