"""Trust bundles as JSON (SPIFFE Trust Domain and Bundle §4): a JWK set with two members more.

An entry of a `use` that is not known is passed over, as the standard says; an entry of a known one
that cannot be read refuses the whole bundle, so that whoever holds an older one keeps it. The use
of WIT-SVIDs is incubating: what cannot be read of it is passed over, lest it cost the others; two
keys of one `kid`, whichever of these uses they have, refuse the bundle all the same. An empty list
of keys is a bundle: everything of that trust domain is revoked. It says nothing about whether a
bundle is newer than another; `services/bundles.py` does.
"""

from __future__ import annotations

import base64
import contextlib
from typing import Any, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from midflight.domain import jose
from midflight.domain.errors import Malformed, TooLarge
from midflight.domain.spiffe import TrustBundle
from midflight.domain.value import JSONObject
from midflight.wire import json
from midflight.wire.spiffe.keys import jwt_key

MAX_BUNDLE_BYTES = 1_048_576
MAX_KEYS = 128
MAX_KID = 256
X509_USE = "x509-svid"
JWT_USE = "jwt-svid"
WIT_USE = "wit-svid"

_DEPTH = 4
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def encode_bundle(bundle: TrustBundle) -> bytes:
    """The JSON of a bundle, with authorities of every use."""
    keys = [_x509_jwk(der) for der in bundle.x509_authorities]
    keys.extend({**jwk, "use": JWT_USE} for jwk in bundle.jwt_authorities)
    keys.extend({**jwk, "use": WIT_USE} for jwk in bundle.wit_authorities)
    return json.encode(
        {
            "keys": keys,
            "spiffe_sequence": bundle.sequence,
            "spiffe_refresh_hint": bundle.refresh_hint_s,
        }
    )


def jwks(bundle: TrustBundle) -> bytes:
    """The JWT authorities alone, as the Workload API hands them out (`JWTBundlesResponse`)."""
    return json.encode({"keys": [{**jwk, "use": JWT_USE} for jwk in bundle.jwt_authorities]})


def wit_jwks(bundle: TrustBundle) -> bytes:
    """The WIT authorities alone (`WITBundlesResponse`)."""
    return json.encode({"keys": [{**jwk, "use": WIT_USE} for jwk in bundle.wit_authorities]})


def decode_bundle(raw: bytes, *, trust_domain: str) -> TrustBundle:
    """Read a bundle that is said to be of `trust_domain`.

    Raises:
        TooLarge: over 1 MiB.
        Malformed: not a bundle; an authority that is none; a `kid` twice.
    """
    if len(raw) > MAX_BUNDLE_BYTES:
        raise TooLarge("The trust bundle is larger than 1 MiB.")
    document = json.as_object(json.decode(raw, max_depth=_DEPTH))
    entries = None if document is None else document.get("keys")
    if document is None or not isinstance(entries, list):
        raise Malformed("The trust bundle is not a JSON object with a list of keys.")
    listed = cast("list[Any]", entries)
    if len(listed) > MAX_KEYS:
        raise Malformed(f"The trust bundle has more than {MAX_KEYS} keys.")
    certificates: list[bytes] = []
    keys: list[JSONObject] = []
    wit_keys: list[JSONObject] = []
    for entry in listed:
        jwk = json.as_object(entry)
        if jwk is None:
            raise Malformed("A key of the trust bundle is not a JSON object.")
        match jwk.get("use"):
            case "x509-svid":
                certificates.append(_authority(jwk))
            case "jwt-svid":
                keys.append(_jwt_authority(jwk))
            case "wit-svid":
                with contextlib.suppress(Malformed):
                    wit_keys.append(_jwt_authority(jwk))
            case _:
                continue
    if len({jwk["kid"] for jwk in (*keys, *wit_keys)}) != len(keys) + len(wit_keys):
        raise Malformed("Two JWT or WIT authorities of the trust bundle have the same kid.")
    return TrustBundle(
        trust_domain=trust_domain,
        x509_authorities=tuple(dict.fromkeys(certificates)),
        jwt_authorities=tuple(keys),
        sequence=_number(document, "spiffe_sequence", 0),
        refresh_hint_s=_number(document, "spiffe_refresh_hint", 300),
        wit_authorities=tuple(wit_keys),
    )


def _number(document: JSONObject, name: str, default: int) -> int:
    value = document.get(name, default)
    if type(value) is not int or value < 0:
        raise Malformed(f"{name} of the trust bundle is not a whole number from 0.")
    return value


def _authority(jwk: JSONObject) -> bytes:
    given = jwk.get("x5c")
    chain = cast("list[Any]", given) if isinstance(given, list) else []
    one = chain[0] if len(chain) == 1 else None
    if not isinstance(one, str):
        raise Malformed("An X.509 authority of the trust bundle has not exactly one certificate.")
    try:
        der = base64.b64decode(one, validate=True)
        certificate = x509.load_der_x509_certificate(der)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        _public_members(certificate.public_key())
    except _UNREADABLE:
        raise Malformed("An X.509 authority of the trust bundle is no certificate.") from None
    if not constraints.value.ca:
        raise Malformed("An X.509 authority of the trust bundle may not sign certificates.")
    return der


def _jwt_authority(jwk: JSONObject) -> JSONObject:
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
        raise Malformed("A JWT authority of the trust bundle has no kid.")
    jwt_key(jwk)
    return {name: value for name, value in jwk.items() if name != "use"}


def _x509_jwk(der: bytes) -> JSONObject:
    from_certificate = x509.load_der_x509_certificate(der).public_key()
    return {
        **_public_members(from_certificate),
        "use": X509_USE,
        "x5c": [base64.b64encode(der).decode("ascii")],
    }


def _public_members(key: object) -> JSONObject:
    """`kty` and the members of the public key, which readers of JWK sets expect beside `x5c`."""
    match key:
        case ec.EllipticCurvePublicKey():
            numbers = key.public_numbers()
            size = (key.curve.key_size + 7) // 8
            return {
                "kty": "EC",
                "crv": f"P-{key.curve.key_size}",
                "x": jose.base64url(numbers.x.to_bytes(size, "big")),
                "y": jose.base64url(numbers.y.to_bytes(size, "big")),
            }
        case rsa.RSAPublicKey():
            numbers = key.public_numbers()
            return {"kty": "RSA", "n": _of_number(numbers.n), "e": _of_number(numbers.e)}
        case ed25519.Ed25519PublicKey():
            return {"kty": "OKP", "crv": "Ed25519", "x": jose.base64url(key.public_bytes_raw())}
        case _:
            raise Malformed("An X.509 authority has a key of an unknown kind.")


def _of_number(number: int) -> str:
    return jose.base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))


__all__ = [
    "JWT_USE",
    "MAX_BUNDLE_BYTES",
    "WIT_USE",
    "X509_USE",
    "decode_bundle",
    "encode_bundle",
    "jwks",
    "wit_jwks",
]
