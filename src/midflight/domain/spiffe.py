"""SPIFFE documents as values: trust bundles, and SVIDs of the three kinds."""

from __future__ import annotations

from midflight.domain.value import Discreet, JSONObject, Value

MAX_X509_TTL_S = 3_600
MAX_JWT_TTL_S = 300


class TrustBundle(Value):
    """What verifies the SVIDs of one trust domain. Bundles of two domains are never merged.

    Attributes:
        trust_domain: its name, without `spiffe://`.
        x509_authorities: DER certificates of the authorities.
        jwt_authorities: public JWKs, each with `kid`; empty means that nothing verifies.
        sequence: grows with every change (`spiffe_sequence`).
        refresh_hint_s: how often to look for a new one (`spiffe_refresh_hint`).
        wit_authorities: public JWKs for WIT-SVIDs, each with a `kid` that no other key has.
    """

    trust_domain: str
    x509_authorities: tuple[bytes, ...] = ()
    jwt_authorities: tuple[JSONObject, ...] = ()
    sequence: int = 0
    refresh_hint_s: int = 300
    wit_authorities: tuple[JSONObject, ...] = ()


class X509Svid(Discreet):
    """An X509-SVID with its private key. `chain` is DER, the leaf first; `key` is PKCS#8 DER."""

    shown = ("spiffe_id", "serial", "expires_at")

    spiffe_id: str
    serial: str
    chain: tuple[bytes, ...]
    key: bytes
    issued_at: int
    expires_at: int
    hint: str = ""


class JwtSvid(Discreet):
    """A JWT-SVID. `token` is the compact JWS; times in Unix seconds."""

    shown = ("spiffe_id", "jti", "expires_at")

    spiffe_id: str
    jti: str
    token: str
    audience: tuple[str, ...]
    issued_at: int
    expires_at: int
    hint: str = ""


class WitSvid(Discreet):
    """A WIT-SVID with its private key, a JWK. `token` is the compact JWS; times in Unix seconds.

    It is no bearer token: whoever shows it proves that key along with it (WIT-SVID §5).
    """

    shown = ("spiffe_id", "jti", "expires_at")

    spiffe_id: str
    jti: str
    token: str
    key: JSONObject
    issued_at: int
    expires_at: int
    hint: str = ""


__all__ = ["MAX_JWT_TTL_S", "MAX_X509_TTL_S", "JwtSvid", "TrustBundle", "WitSvid", "X509Svid"]
