"""A transmitter that is not ours: SETs made by PyJWT, pushed to a gateway that listens to it."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
from counterpart_kit import free_port
from outside_kit import RsaKey, by_pyjwt, jwks_of

from gateways import AGENT, Gateway, running_gateway

IDP = "https://idp.example.org"
HERE = "https://midflight.example.org"
SECRET = "of-the-transmitter"
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
SSF = "https://schemas.openid.net/secevent/ssf/event-type/"
REVOKED = CAEP + "session-revoked"


@cache
def idp_key() -> RsaKey:
    """The transmitter's key, made once."""
    return RsaKey()


def subject(name: str = AGENT, issuer: str = IDP) -> dict[str, Any]:
    return {"format": "iss_sub", "iss": issuer, "sub": name}


def claims_of(kind: str = REVOKED, event: dict[str, Any] | None = None, **more: Any) -> Any:
    """Claims of a good SET with changes; `...` leaves one out."""
    said = {"reason_admin": {"en": "Landspeed."}} if event is None else event
    claims = {
        "iss": IDP,
        "aud": HERE,
        "iat": int(time.time()),
        "jti": secrets.token_hex(8),
        "txn": "8675309",
        "sub_id": subject(),
        "events": {kind: said},
        **more,
    }
    return {name: value for name, value in claims.items() if value is not ...}


def set_of(claims: dict[str, Any] | None = None, *, key: Any = None, **header: Any) -> str:
    signer = key or idp_key()
    said = {"typ": "secevent+jwt", "alg": "RS256", "kid": idp_key().jkt, **header}
    said = {name: value for name, value in said.items() if value is not ...}
    return by_pyjwt(said, claims or claims_of(), signer)


class Listening:
    """A gateway that listens to `idp`, and pushes to it."""

    def __init__(self, gateway: Gateway, http: httpx2.AsyncClient) -> None:
        self.gateway = gateway
        self.plane = gateway.plane
        self.url = gateway.url
        self.http = http

    async def push(
        self, text: str | None = None, *, to: str = "idp", secret: str | None = SECRET, **more: Any
    ) -> httpx2.Response:
        headers = {
            "content-type": "application/secevent+jwt",
            "accept": "application/json",
            **({"authorization": f"Bearer {secret}"} if secret is not None else {}),
            **more.pop("headers", {}),
        }
        return await self.http.post(
            f"{self.url}/ssf/receive/{to}",
            content=(set_of() if text is None else text).encode(),
            headers={name: value for name, value in headers.items() if value is not None},
        )

    def revoked(self) -> list[tuple[str, str, str]]:
        """(scope, author, proof) of what is in force."""
        listed = self.plane.interruption.listing()
        return [(str(each.scope), each.author, each.proof) for each in listed]

    async def records(self, kind: type) -> list[Any]:
        await self.plane.ledger.flush()
        tail = await self.plane.ledger.tail(1_000)
        return [found.record for found in tail if isinstance(found.record, kind)]


def row(folder: Path, **more: Any) -> dict[str, Any]:
    """A row of `[[ssf.receive]]` whose keys and secret are in files."""
    keys, secret = folder / "idp.jwks", folder / "idp.secret"
    keys.write_text(json.dumps(jwks_of(idp_key())))
    secret.write_text(SECRET)
    secret.chmod(0o600)
    return {
        "name": "idp",
        "issuer": IDP,
        "audience": HERE,
        "jwks_file": keys,
        "push_secret": f"file:{secret}",
        "workloads": ("spiffe://midflight.internal/agents/*",),
        "names": {"ann@example.org": "owner ann", "dev-7": "credential crm", "00u1": "owner bob"},
        "tokens": True,
        **more,
    }


@contextlib.asynccontextmanager
async def listening(folder: Path, *rows: dict[str, Any], **more: Any) -> AsyncIterator[Listening]:
    """A running gateway that listens; with the one row of `row` unless said otherwise."""
    address = f"127.0.0.1:{free_port()}"
    settings = {
        "gateway": {"listen": address, "public_url": f"http://{address}"},
        "ssf": {"receive": rows or (row(folder),)},
        **more,
    }
    async with (
        running_gateway(folder, (), **settings) as gateway,
        httpx2.AsyncClient(timeout=30, trust_env=False) as http,
    ):
        yield Listening(gateway, http)
