"""Midflight as an OAuth client in tests, and authorization servers that say what a test wants."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from credential_kit import Asked, Secrets, credential
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.oauth import OAuthBackend

SECRET = "client-secret-of-the-tests-/+%: 1"
READ, WRITE = "reports:read", "reports:write"


def pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


CLIENT, WORKLOADS = pem(), pem()
SECRETS = {"file:key": CLIENT, "env:SECRET": SECRET}


@asynccontextmanager
async def client(
    issuer: str, *, secrets: dict[str, str] | None = None, **more: Any
) -> AsyncGenerator[OAuthBackend]:
    subject_token = more.pop("subject_token", None)
    keyed = {"client_id": "keyed", "private_key": "file:key", "resource": "urn:test:opaque"}
    basic = {"client_id": "basic", "client_secret": "env:SECRET", "resource": "urn:test:opaque"}
    base = keyed if "method" not in more else basic
    one = OAuthBackend(
        credential("oauth", {"issuer": issuer, **base, **more}, scopes=(READ, WRITE)),
        references=Secrets(secrets or dict(SECRETS)),
        clock=SystemClock(),
        subject_token=subject_token,
    )
    try:
        yield one
    finally:
        await one.close()


GOOD = {"access_token": "tok", "token_type": "Bearer", "expires_in": 60, "scope": READ}


def pretending(token: Any, *, metadata: dict[str, Any] | None = None) -> Callable[[Asked], Any]:
    def answer(one: Asked) -> Any:
        base = f"http://{one.headers['host']}"
        if "well-known" in one.path:
            known = {
                "issuer": base,
                "token_endpoint": f"{base}/token",
                "revocation_endpoint": f"{base}/revoke",
            }
            return 200, {**known, **(metadata or {})}
        return (200, {}) if one.path == "/revoke" else token

    return answer


__all__ = [
    "CLIENT",
    "GOOD",
    "READ",
    "SECRET",
    "WORKLOADS",
    "WRITE",
    "client",
    "pem",
    "pretending",
]
