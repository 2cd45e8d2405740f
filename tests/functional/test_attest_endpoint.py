"""`/attest/…` of a real gateway, as somebody from elsewhere meets it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from attest_kit import StandInMint, these
from cryptography.hazmat.primitives.asymmetric import ec
from holder_kit import PopAuthority, der, sign

from gateways import AGENT, OPERATOR

pytestmark = pytest.mark.anyio


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


async def post(url: str, path: str, body: Any) -> tuple[int, Any]:
    async with httpx2.AsyncClient() as client:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        said = await client.post(
            url + path, content=raw, headers={"content-type": "application/json"}
        )
        return said.status_code, said.json()


async def test_a_join_token_is_traded_for_an_identity_once(gateway_factory: Any) -> None:
    async with gateway_factory([]) as gateway:
        mint = StandInMint()
        gateway.plane.attesting.joining.issue_with(mint)
        new = await gateway.plane.join_tokens.create(AGENT, OPERATOR)
        body = {"token": new.token, "audience": ["https://api.example"]}
        status, said = await post(gateway.url, "/attest/join-token", body)
        assert (status, said["spiffe_id"]) == (200, AGENT)
        assert mint.asked == [(AGENT, f"join_token:{new.id}")]
        status, said = await post(gateway.url, "/attest/join-token", body)
        assert (status, said["code"]) == (401, "unauthenticated")


async def test_a_certificate_is_traded_for_an_identity(
    gateway_factory: Any, tmp_path: Path
) -> None:
    authority = PopAuthority(tmp_path)
    async with gateway_factory([], attestation={"x509pop": {"ca": authority.file}}) as gateway:
        gateway.plane.attesting.joining.issue_with(StandInMint())
        await gateway.plane.registration.add(
            spiffe_id=AGENT, selectors=these("x509pop:subject:cn:machine-1"), author=OPERATOR
        )
        key = ec.generate_private_key(ec.SECP256R1())
        _, asked = await post(gateway.url, "/attest/x509pop/challenge", {})
        algorithm, signature = sign(key, (asked["prefix"] + asked["challenge"]).encode())
        body = {
            "challenge": asked["challenge"],
            "chain": [b64(der(authority.issue(key)))],
            "algorithm": algorithm,
            "signature": b64(signature),
        }
        status, said = await post(gateway.url, "/attest/x509pop", body)
        assert (status, said["spiffe_id"]) == (200, AGENT)
        assert base64.b64decode(said["x509_svid"][0]) == b"leaf"
        status, said = await post(gateway.url, "/attest/x509pop", body)
        assert status == 401


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/attest/x509pop/challenge", {}, 503),
        ("/attest/x509pop/challenge", {"a": 1}, 400),
        ("/attest/x509pop", {}, 400),
        ("/attest/join-token", {"token": 1}, 400),
        ("/attest/join-token", {"token": "x", "more": 1}, 400),
        ("/attest/join-token", {"token": "mfjoin_x"}, 401),
        ("/attest/join-token", b"[1]", 400),
        ("/attest/join-token", b"\xff", 400),
        ("/attest/join-token", b"x" * 200_000, 413),
        ("/attest/else", {}, 404),
    ],
)
async def test_what_does_not_belong_here_is_refused_in_words(
    gateway_factory: Any, path: str, body: Any, status: int
) -> None:
    async with gateway_factory([]) as gateway:
        answered, said = await post(gateway.url, path, body)
        assert answered == status
        assert said["message"]
        assert "Traceback" not in str(said)
