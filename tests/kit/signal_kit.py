"""A source of signals: signs as Standard Webhooks says, by hand, and sends over a real socket."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import time
from typing import Any

import httpx2

from gateways import AGENT, Gateway
from midflight.domain.records import Found, Record

SECRET, BEFORE, OTHER = (bytes([each]) * 32 for each in b"abc")
_IDS = itertools.count(1)


def written(secret: bytes) -> str:
    """As it stands in a file of secrets."""
    return "whsec_" + base64.b64encode(secret).decode()


def body_of(**data: Any) -> bytes:
    """What the source says; a finding about the agent unless `data` says otherwise."""
    said = {"workload": AGENT, "strength": "fair", "seen": "the answers look jailbroken"}
    return json.dumps({"type": "finding", "data": said | data}).encode()


def signature(secret: bytes, message: str, at: int | str, body: bytes) -> str:
    """Made without Midflight's own code."""
    mac = hmac.new(secret, f"{message}.{at}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


def headers(body: bytes, secret: bytes = SECRET, *, ago: int = 0, **given: str) -> dict[str, str]:
    """Headers of an honest message; `given` overrides (`id`, `timestamp`, `signature`)."""
    message = given.get("id", f"msg_{next(_IDS)}")
    at = given.get("timestamp", str(int(time.time()) - ago))
    return {
        "content-type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": at,
        "webhook-signature": given.get("signature", signature(secret, message, at, body)),
    }


async def post(
    gateway: Gateway, body: bytes, sent: dict[str, str] | None = None, *, to: str = "classifier"
) -> tuple[int, dict[str, Any]]:
    """Status and answer."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.post(
            f"{gateway.url}/signals/{to}", content=body, headers=sent or headers(body)
        )
        return answer.status_code, answer.json()


def source(
    name: str = "classifier", variable: str = "SIGNAL_SECRET", **more: Any
) -> dict[str, Any]:
    """A `[[signals]]` table that may speak of every agent."""
    about = {"workloads": ("spiffe://midflight.internal/agents/*",)}
    return {"name": name, "secret": f"env:{variable}"} | about | more


async def records(gateway: Gateway) -> list[Record]:
    """Every record so far."""
    await gateway.plane.ledger.flush()
    return [each.record for each in await gateway.plane.ledger.tail(10_000) if each.record]


async def findings(gateway: Gateway) -> list[Found]:
    """What was found so far."""
    return [record for record in await records(gateway) if isinstance(record, Found)]
