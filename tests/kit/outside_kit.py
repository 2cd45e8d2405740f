"""Tokens of other issuers, for tests: RSA keys beside those of `identity_kit`, key sets, claims.

Nothing here uses the product's own encoders, and each token is made by joserfc, by PyJWT, or by
hand.
"""

from __future__ import annotations

import json
import warnings
from typing import Any

import jwt as pyjwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from identity_kit import NOW, EdwardsKey, Key, b64, by_hand
from joserfc import jws as joserfc_jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import RSAKey

from midflight.domain.outside_token import Profile

CI = "https://ci.example.test"
AUDIENCE = "https://plane.example.test"


class RsaKey:
    """An RSA key, 2,048 bits unless said otherwise; `algorithm` is RS256 or PS256."""

    def __init__(
        self,
        bits: int = 2_048,
        *,
        algorithm: str = "RS256",
        private: rsa.RSAPrivateKey | None = None,
    ) -> None:
        self.algorithm = algorithm
        self.private = private or rsa.generate_private_key(public_exponent=65_537, key_size=bits)
        numbers = self.private.public_key().public_numbers()
        self.public_jwk: dict[str, Any] = {
            "kty": "RSA",
            "n": b64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
            "e": b64(numbers.e.to_bytes(3, "big")),
        }
        self.jkt = f"rsa-{numbers.n % 1_000_003}"

    def sign(self, message: bytes) -> bytes:
        if self.algorithm == "PS256":
            scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
            return self.private.sign(message, scheme, hashes.SHA256())
        return self.private.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def joserfc(self) -> RSAKey:
        return RSAKey.import_key(self.private)

    def with_scheme(self, algorithm: str) -> RsaKey:
        return RsaKey(algorithm=algorithm, private=self.private)


AnyKey = Key | EdwardsKey | RsaKey


def by_pyjwt(header: dict[str, Any], claims: dict[str, Any], key: AnyKey) -> str:
    signer = pyjwt.PyJWS(algorithms=["ES256", "EdDSA", "RS256", "PS256"])
    text = json.dumps(claims).encode()
    return signer.encode(text, key.private, algorithm=header.get("alg"), headers=header)


def by_joserfc(header: dict[str, Any], claims: dict[str, Any], key: AnyKey) -> str:
    registry = joserfc_jws.JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
    registry.max_header_length = 100_000
    registry.max_payload_length = 1_000_000
    text = json.dumps(claims).encode()
    with warnings.catch_warnings():
        # RFC 9864 calls the name EdDSA deprecated; issuers go on using it.
        warnings.simplefilter("ignore", SecurityWarning)
        return joserfc_jws.serialize_compact(header, text, key.joserfc(), registry=registry)


LIBRARIES = {"joserfc": by_joserfc, "pyjwt": by_pyjwt}
BUILDS = {**LIBRARIES, "bytes": by_hand}


def jwks_of(*keys: AnyKey, **changes: Any) -> dict[str, Any]:
    """The key set of an issuer, as it publishes it; `...` leaves a member out."""
    entries: list[dict[str, Any]] = []
    for key in keys:
        entry = {**key.public_jwk, "kid": key.jkt, "use": "sig", "alg": key.algorithm, **changes}
        entries.append({name: value for name, value in entry.items() if value is not ...})
    return {"keys": entries}


def header_of(key: AnyKey, **changes: Any) -> dict[str, Any]:
    header = {"typ": "JWT", "alg": key.algorithm, "kid": key.jkt, **changes}
    return {name: value for name, value in header.items() if value is not ...}


def claims_of(**changes: Any) -> dict[str, Any]:
    """Good claims of a token of another issuer, with changes; `...` leaves one out."""
    claims = {
        "iss": CI,
        "sub": "repo:acme@1/app@2:ref:refs/heads/main",
        "aud": AUDIENCE,
        "iat": NOW - 5,
        "nbf": NOW - 5,
        "exp": NOW + 300,
        "jti": "ci-token-1",
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not ...}


def profile_of(*keys: AnyKey, **changes: Any) -> Profile:
    values: dict[str, Any] = {
        "kind": "CI token",
        "issuer": CI,
        "audience": AUDIENCE,
        "algorithms": tuple(key.algorithm for key in keys) or ("RS256",),
        **changes,
    }
    return Profile(**values)
