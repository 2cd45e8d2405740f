"""OpenBao as a verifier that others wrote: our access tokens and JWT-SVIDs hold there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from counterpart_kit import OpenBao, openbao
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey

from midflight.adapters.clock import SystemClock
from midflight.adapters.keys.es256 import Es256TokenSigner
from midflight.wire.spiffe.jwt import jwt_svid_claims
from midflight.wire.tokens import access_claims

pytestmark = pytest.mark.openbao

ISSUER = "https://plane.example.test"
RESOURCE = f"{ISSUER}/mcp"
WORKLOAD = "spiffe://example.test/agents/triage"


def pem(signer: Es256TokenSigner) -> str:
    """The public key that signs now, as OpenBao takes it."""
    key = ECKey.import_key(signer.public_jwks()["keys"][0])
    public: Any = key.public_key
    encoded: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode("ascii")


@pytest.fixture(scope="module")
def signers() -> dict[str, Es256TokenSigner]:
    """One key a purpose, as a plane has them."""
    return {name: Es256TokenSigner.fresh(clock=SystemClock()) for name in ("access", "svid")}


@pytest.fixture(scope="module")
def bao(
    tmp_path_factory: pytest.TempPathFactory, signers: dict[str, Es256TokenSigner]
) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao")) as server:
        for name, signer in signers.items():
            issuer = {"bound_issuer": ISSUER} if name == "access" else {}
            server.call("POST", f"sys/auth/{name}", {"type": "jwt"})
            server.call(
                "POST",
                f"auth/{name}/config",
                {
                    "jwt_validation_pubkeys": [pem(signer)],
                    "jwt_supported_algs": ["ES256"],
                    **issuer,
                },
            )
            server.call(
                "POST",
                f"auth/{name}/role/triage",
                {
                    "role_type": "jwt",
                    "user_claim": "sub",
                    "bound_audiences": [RESOURCE],
                    "bound_subject": WORKLOAD,
                    "clock_skew_leeway": -1,
                    "expiration_leeway": -1,
                    "not_before_leeway": -1,
                },
            )
        yield server


def accepted(bao: OpenBao, mount: str, token: str) -> bool:
    answer = bao.ask("POST", f"auth/{mount}/login", {"role": "triage", "jwt": token}, token="")
    assert answer.status_code in {200, 400}, answer.text
    return answer.status_code == 200


def access(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    given: dict[str, Any] = {
        "issuer": ISSUER,
        "resource": RESOURCE,
        "workload": WORKLOAD,
        "token": "tok_1",
        "issued_at": int(time.time()),
        "lifetime_s": 300,
        "run": "run_1",
        "thumbprint": None,
    }
    return access_claims(**{**given, **changes})


def svid(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    given: dict[str, Any] = {
        "subject": WORKLOAD,
        "audience": [RESOURCE],
        "token": "svid_1",
        "issued_at": int(time.time()),
        "lifetime_s": 300,
    }
    return jwt_svid_claims(**{**given, **changes})


def test_an_access_token_of_ours_holds(bao: OpenBao, signers: dict[str, Es256TokenSigner]) -> None:
    assert accepted(bao, "access", signers["access"].sign(*access()))


def test_a_jwt_svid_of_ours_holds(bao: OpenBao, signers: dict[str, Es256TokenSigner]) -> None:
    assert accepted(bao, "svid", signers["svid"].sign(*svid()))


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://other.example.test"},
        {"resource": "https://other.example.test/mcp"},
        {"workload": "spiffe://example.test/agents/other"},
        {"issued_at": int(time.time()) - 3_600},
    ],
    ids=str,
)
def test_what_the_token_is_not_for_is_refused(
    bao: OpenBao, signers: dict[str, Es256TokenSigner], changes: dict[str, Any]
) -> None:
    assert not accepted(bao, "access", signers["access"].sign(*access(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"audience": ["spiffe://example.test/agents/other"]},
        {"subject": "spiffe://example.test/agents/other"},
        {"issued_at": int(time.time()) - 3_600},
    ],
    ids=str,
)
def test_what_the_svid_is_not_for_is_refused(
    bao: OpenBao, signers: dict[str, Es256TokenSigner], changes: dict[str, Any]
) -> None:
    assert not accepted(bao, "svid", signers["svid"].sign(*svid(**changes)))


def test_no_key_signs_for_two_purposes(bao: OpenBao, signers: dict[str, Es256TokenSigner]) -> None:
    assert not accepted(bao, "access", signers["svid"].sign(*access()))
    assert not accepted(bao, "svid", signers["access"].sign(*svid()))
