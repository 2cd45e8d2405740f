"""SPIFFE documents on the wire, decoded and verified in one door each.

    encode_bundle, decode_bundle   Trust bundle format: a JWK set with `spiffe_sequence`  bundle.py
    verify_x509_svid               a chain against the bundle of its trust domain         x509.py
    verify_jwt_svid                a JWT-SVID against the bundle of its trust domain      jwt.py
    jwt_svid_claims                header and claims of one that is to be signed          jwt.py
    wit_svid_claims                the same of a WIT-SVID, which is bound to a key        wit.py

Pure: time and bundles are arguments. It issues nothing and remembers nothing (`services/svids.py`,
`services/bundles.py`). This package satisfies `services/ports/spiffe.Documents` as a module.
"""

from midflight.wire.spiffe.bundle import decode_bundle, encode_bundle, jwks, wit_jwks
from midflight.wire.spiffe.jwt import JwtSvidClaims, jwt_svid_claims, verify_jwt_svid
from midflight.wire.spiffe.wit import wit_svid_claims
from midflight.wire.spiffe.x509 import verify_x509_svid

__all__ = [
    "JwtSvidClaims",
    "decode_bundle",
    "encode_bundle",
    "jwks",
    "jwt_svid_claims",
    "verify_jwt_svid",
    "verify_x509_svid",
    "wit_jwks",
    "wit_svid_claims",
]
