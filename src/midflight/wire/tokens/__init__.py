"""Tokens and proofs: what a caller presents, decoded and verified in one door each.

    verify_access_token   at+jwt, ES256, minted by Midflight (RFC 9068)       access.py
    verify                a JWT that somebody else signed, by its profile     verify.py
    verify_transaction_token   one of Midflight's for its trust domain        transaction.py
    verify_proof          DPoP proof of possession (RFC 9449)                 dpop.py
    challenge             the WWW-Authenticate header (RFC 6750, 9449, 9728)  resource.py
    resource_metadata     the protected resource metadata document (RFC 9728) resource.py

Pure: time, keys and names are arguments; nothing here remembers a jti or reads a clock, which is
`services/identity.py`'s part. This package satisfies `services/ports/proofs.Proofs` as a module.

No library is trusted with the parsing: both libraries that were tried accept duplicate claims and
tokens of another type, so the strict reader of `jws.py` runs first and joserfc checks signatures.
"""

from midflight.wire.tokens.access import (
    AccessToken,
    access_claims,
    is_access_token,
    verify_access_token,
)
from midflight.wire.tokens.certificate import (
    Certificate,
    certificate_thumbprint,
    read_certificate,
)
from midflight.wire.tokens.dpop import Proof, verify_proof
from midflight.wire.tokens.jwk import is_thumbprint, thumbprint
from midflight.wire.tokens.resource import challenge, metadata_url, resource_metadata
from midflight.wire.tokens.transaction import (
    TransactionToken,
    transaction_claims,
    transaction_context,
    verify_transaction_token,
)
from midflight.wire.tokens.verify import unverified, verify

__all__ = [
    "AccessToken",
    "Certificate",
    "Proof",
    "TransactionToken",
    "access_claims",
    "certificate_thumbprint",
    "challenge",
    "is_access_token",
    "is_thumbprint",
    "metadata_url",
    "read_certificate",
    "resource_metadata",
    "thumbprint",
    "transaction_claims",
    "transaction_context",
    "unverified",
    "verify",
    "verify_access_token",
    "verify_proof",
    "verify_transaction_token",
]
