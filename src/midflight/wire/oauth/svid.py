"""JWT-SVIDs and X509-SVIDs as proofs at the authorization server (SPIFFE JWT-SVID, X509-SVID).

Keys come from the trust bundle of the trust domain that the subject names and from nowhere else.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.identity import spiffe_id, trust_domain
from midflight.domain.spiffe import MAX_JWT_TTL_S, TrustBundle
from midflight.domain.value import Value
from midflight.wire.tokens.jwk import public_key
from midflight.wire.tokens.jws import Jws, decode_compact, signature_holds

LEEWAY_S = 30
_HEADER = frozenset({"alg", "kid", "typ"})

Bundles = Callable[[str], TrustBundle | None]
"""The trust bundle of a trust domain by its name, or None where it is not trusted."""


class Svid(Value):
    """A verified SVID.

    Attributes:
        spiffe_id: the workload it is of.
        id: its `jti` or serial number, or a digest where it has none; what a single use is of.
        expires_at: Unix seconds.
        issued_at: Unix seconds, or None where it does not say.
    """

    spiffe_id: str
    id: str
    expires_at: int
    issued_at: int | None = None


class _Claims(msgspec.Struct):
    sub: str
    aud: str | list[str]
    exp: int
    iat: int | None = None
    nbf: int | None = None
    jti: str | None = None


def verify_jwt_svid(text: str, *, bundles: Bundles, audience: str, now: float) -> Svid:
    """A JWT-SVID for this audience alone. `Unauthenticated`, with one message, if it is not."""
    try:
        jws = decode_compact(text)
        claims = msgspec.convert(jws.payload, _Claims)
        subject = spiffe_id(claims.sub)
    except (Malformed, msgspec.ValidationError, ValueError):
        raise _refused() from None
    bundle = bundles(trust_domain(subject))
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if bundle is None or audiences != [audience] or not _signed(jws, bundle):
        raise _refused()
    began = max(claims.iat or 0, claims.nbf or 0)
    # A foreign authority may issue for longer than ours does; an hour is what is borne with.
    if began > now + LEEWAY_S or not now - LEEWAY_S < claims.exp <= now + 12 * MAX_JWT_TTL_S:
        raise _refused()
    return Svid(
        spiffe_id=subject,
        id=claims.jti or hashlib.sha256(text.encode("ascii")).hexdigest(),
        expires_at=claims.exp,
        issued_at=claims.iat,
    )


def verify_x509_svid(der: bytes, *, bundles: Bundles, now: float) -> Svid:
    """The X509-SVID of a connection whose handshake proved its key. `Unauthenticated` if none.

    It must be signed by an authority of the bundle itself; the chain of a connection that TLS has
    verified is not handed up, so intermediates belong in the bundle.
    """
    try:
        leaf = x509.load_der_x509_certificate(der)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        if len(uris) != 1:  # X509-SVID §2: exactly one
            raise _refused()
        subject = spiffe_id(uris[0])
        bundle = bundles(trust_domain(subject))
        if bundle is None or not any(_issued(leaf, each) for each in bundle.x509_authorities):
            raise _refused()
    except (ValueError, x509.ExtensionNotFound):
        raise _refused() from None
    starts = leaf.not_valid_before_utc.timestamp()
    ends = leaf.not_valid_after_utc.timestamp()
    if not starts - LEEWAY_S <= now < ends:
        raise _refused()
    return Svid(
        spiffe_id=subject,
        id=f"{leaf.serial_number:x}",
        expires_at=int(ends),
        issued_at=int(starts),
    )


def certificate_thumbprint(der: bytes) -> str:
    """`x5t#S256` of a certificate (RFC 8705 §3.1)."""
    return urlsafe_b64encode(hashlib.sha256(der).digest())[:-1].decode("ascii")


def _issued(leaf: x509.Certificate, authority: bytes) -> bool:
    try:
        leaf.verify_directly_issued_by(x509.load_der_x509_certificate(authority))
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _signed(jws: Jws, bundle: TrustBundle) -> bool:
    header = jws.header
    if header.keys() - _HEADER or header.get("typ", "JWT") not in {"JWT", "JOSE"}:
        return False
    for jwk in bundle.jwt_authorities:
        if jwk.get("kid") != header.get("kid"):
            continue
        try:
            plain = {name: value for name, value in jwk.items() if name != "use"}
            key = public_key(plain, algorithm=str(header.get("alg")))
        except Malformed:
            return False
        return signature_holds(jws, algorithm=str(header["alg"]), key=key)
    return False


def _refused() -> Unauthenticated:
    return Unauthenticated(
        "The SVID does not hold here.",
        hint="Fetch a fresh one for the issuer of this server as its one audience.",
    )


__all__ = ["Bundles", "Svid", "certificate_thumbprint", "verify_jwt_svid", "verify_x509_svid"]
