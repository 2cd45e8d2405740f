"""Tokens and proofs for tests, made three ways: by joserfc, by PyJWT, and by hand.

Nothing here uses the product's own encoders, so a mistake that reader and writer share would show.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import jwt as pyjwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey, OKPKey

from midflight.adapters.keys.es256 import Es256TokenSigner, TokenKeys
from midflight.domain.identity import Author, Workload
from midflight.services.identity import Identity
from midflight.services.presented import Credentials
from midflight.testing import FakeClock
from midflight.wire import tokens

NOW = 1_800_000_000
ISSUER = "https://plane.example.test"
RESOURCE = "https://plane.example.test/mcp"
JWKS_URI = "https://plane.example.test/.well-known/jwks.json"
DOMAIN = "example.test"
WORKLOAD = "spiffe://example.test/agents/triage"
URL = "https://plane.example.test/mcp/git"
AUTHOR = Author(name="alice", proof="peer-uid:1000")


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


class Key:
    """A P-256 key, and what an attacker or client does with it."""

    algorithm = "ES256"

    def __init__(self, private: ec.EllipticCurvePrivateKey | None = None) -> None:
        self.private = private or ec.generate_private_key(ec.SECP256R1())
        numbers = self.private.public_key().public_numbers()
        self.public_jwk: dict[str, Any] = {
            "kty": "EC",
            "crv": "P-256",
            "x": b64(numbers.x.to_bytes(32, "big")),
            "y": b64(numbers.y.to_bytes(32, "big")),
        }
        secret = self.private.private_numbers().private_value
        self.private_jwk = {**self.public_jwk, "d": b64(secret.to_bytes(32, "big"))}
        self.jkt = jkt_of(self.public_jwk)

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def joserfc(self) -> ECKey:
        return ECKey.import_key(self.private_jwk)


class EdwardsKey:
    """An Ed25519 key. `algorithm` is RFC 8037's name of it or RFC 9864's."""

    def __init__(self, algorithm: str = "EdDSA") -> None:
        self.algorithm = algorithm
        self.private = ed25519.Ed25519PrivateKey.generate()
        public = b64(self.private.public_key().public_bytes_raw())
        self.public_jwk: dict[str, Any] = {"kty": "OKP", "crv": "Ed25519", "x": public}
        self.private_jwk = {**self.public_jwk, "d": b64(self.private.private_bytes_raw())}
        self.jkt = jkt_of(self.public_jwk)

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)

    def joserfc(self) -> OKPKey:
        return OKPKey.import_key(self.private_jwk)


def jkt_of(jwk: dict[str, Any]) -> str:
    required = {name: jwk[name] for name in ("crv", "kty", "x", "y") if name in jwk}
    text = json.dumps(required, sort_keys=True, separators=(",", ":"))
    return b64(hashlib.sha256(text.encode()).digest())


Build = Callable[[dict[str, Any], dict[str, Any], Any], str]


def by_hand(header: dict[str, Any], claims: dict[str, Any], key: Any) -> str:
    return sealed(json.dumps(header).encode(), json.dumps(claims).encode(), key.sign)


def by_pyjwt(header: dict[str, Any], claims: dict[str, Any], key: Any) -> str:
    payload = json.dumps(claims).encode()
    algorithm = header.get("alg")
    signer = pyjwt.PyJWS(algorithms=["ES256", "EdDSA"])
    return signer.encode(payload, key.private, algorithm=algorithm, headers=header)


def by_joserfc(header: dict[str, Any], claims: dict[str, Any], key: Any) -> str:
    registry = joserfc_jws.JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
    registry.max_header_length = 100_000
    registry.max_payload_length = 1_000_000
    payload = json.dumps(claims).encode()
    return joserfc_jws.serialize_compact(header, payload, key.joserfc(), registry=registry)


BUILDS: dict[str, Build] = {"joserfc": by_joserfc, "pyjwt": by_pyjwt, "bytes": by_hand}


def sealed(header: bytes, payload: bytes, sign: Callable[[bytes], bytes]) -> str:
    """A compact JWS over exactly these bytes."""
    signing_input = f"{b64(header)}.{b64(payload)}"
    return f"{signing_input}.{b64(sign(signing_input.encode()))}"


def header_of(key: Key, **changes: Any) -> dict[str, Any]:
    header = {"typ": "at+jwt", "alg": "ES256", "kid": key.jkt, **changes}
    return {name: value for name, value in header.items() if value is not ...}


def claims_of(**changes: Any) -> dict[str, Any]:
    """Good claims with changes; `...` leaves one out."""
    claims = {
        "iss": ISSUER,
        "sub": WORKLOAD,
        "aud": RESOURCE,
        "client_id": WORKLOAD,
        "jti": "tok_abcdefgh",
        "iat": NOW,
        "exp": NOW + 600,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not ...}


def proof_header(key: Any, **changes: Any) -> dict[str, Any]:
    header = {"typ": "dpop+jwt", "alg": key.algorithm, "jwk": key.public_jwk, **changes}
    return {name: value for name, value in header.items() if value is not ...}


def proof_claims(token: str, **changes: Any) -> dict[str, Any]:
    claims = {
        "jti": "proof-1",
        "htm": "POST",
        "htu": URL,
        "iat": NOW,
        "ath": b64(hashlib.sha256(token.encode()).digest()),
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not ...}


def proof_for(
    token: str, key: Any, *, build: Build = by_hand, header: Any = None, **claims: Any
) -> str:
    return build(proof_header(key, **(header or {})), proof_claims(token, **claims), key)


class Ticket:
    """A record that is durable at once."""

    def __init__(self, number: int) -> None:
        self.id = f"w:{number}"

    async def durable(self) -> None:
        return


class Recorder:
    """Keeps what is recorded."""

    available = True

    def __init__(self) -> None:
        self.records: list[Any] = []

    def append(self, record: Any) -> Ticket:
        self.records.append(record)
        return Ticket(len(self.records))


def signer_of(key: Key, clock: FakeClock) -> Es256TokenSigner:
    """A signer whose key the test knows."""
    return Es256TokenSigner(TokenKeys(signing={**key.private_jwk, "kid": key.jkt}), clock=clock)


def identity_of(store: Any, key: Key, clock: FakeClock, **settings: Any) -> Identity:
    values: dict[str, Any] = {
        "store": store,
        "signer": signer_of(key, clock),
        "clock": clock,
        "recorder": Recorder(),
        "proofs": tokens,
        "issuer": ISSUER,
        "resource": RESOURCE,
        "trust_domain": DOMAIN,
        "jwks_uri": JWKS_URI,
        **settings,
    }
    return Identity(**values)


def bearer(token: str, **changes: Any) -> Credentials:
    values: dict[str, Any] = {
        "authorization": (f"Bearer {token}",),
        "method": "POST",
        "url": URL,
        "peer": "127.0.0.1:5000",
        **changes,
    }
    return Credentials(**values)


def dpop(token: str, *proofs: str, **changes: Any) -> Credentials:
    values: dict[str, Any] = {"authorization": (f"DPoP {token}",), "dpop": proofs, **changes}
    return bearer(token, **values)


def workload_of(**changes: Any) -> Workload:
    values: dict[str, Any] = {
        "id": WORKLOAD,
        "owner": "alice",
        "escalation": "oncall",
        "review_by": NOW + 86_400,
        **changes,
    }
    return Workload(**values)
