"""What the authorization server needs read: `AuthorizationProofs` and `AssertionProofs`."""

from midflight.wire.oauth.assertions import SPIFFE_TYPE, TYPE, subject_of, verify_assertion
from midflight.wire.oauth.identity_assertions import verify_identity_assertion
from midflight.wire.oauth.pkce import is_challenge, verifies
from midflight.wire.oauth.redirects import allowed, problem
from midflight.wire.tokens.dpop import verify_key_proof
from midflight.wire.tokens.jwk import is_thumbprint, is_verifying_key

ASSERTION_TYPE = TYPE
SVID_ASSERTION_TYPE = SPIFFE_TYPE

__all__ = [
    "ASSERTION_TYPE",
    "SVID_ASSERTION_TYPE",
    "allowed",
    "is_challenge",
    "is_thumbprint",
    "is_verifying_key",
    "problem",
    "subject_of",
    "verifies",
    "verify_assertion",
    "verify_identity_assertion",
    "verify_key_proof",
]
