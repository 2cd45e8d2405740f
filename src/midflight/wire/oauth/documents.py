"""What the authorization server says of itself (RFC 8414 §2), and its answers in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from midflight.domain.authorization import AuthorizationRefused, Refusal
from midflight.domain.value import JSONObject
from midflight.wire.oauth.assertions import ALGORITHMS
from midflight.wire.oauth.pkce import METHOD
from midflight.wire.tokens.dpop import ALGORITHMS as PROOF_ALGORITHMS

WELL_KNOWN = "/.well-known/oauth-authorization-server"
AUTHORIZE, TOKEN, REVOKE, INTROSPECT = (
    "/oauth/authorize",
    "/oauth/token",
    "/oauth/revoke",
    "/oauth/introspect",
)
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ID_JAG = "urn:ietf:params:oauth:grant-profile:id-jag"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


def server_metadata(
    *,
    issuer: str,
    base: str,
    resource: str,
    scopes: Sequence[str],
    documents: bool,
    people: bool,
    mtls: bool,
    assertions: bool = False,
) -> JSONObject:
    """The metadata document.

    Args:
        issuer: the issuer, exactly as tokens have it.
        base: where the endpoints are, without a slash at the end.
        resource: the one resource that tokens are for.
        scopes: values worth asking for.
        documents: whether Client ID Metadata Documents are taken.
        people: whether people can log in, so that there are codes.
        mtls: whether clients can show certificates.
        assertions: whether identity assertions are taken; of whom is nobody's business
            (draft-ietf-oauth-identity-assertion-authz-grant-03, "Metadata Disclosure").
    """
    methods = ["private_key_jwt", "none"]
    if mtls:
        methods.append("tls_client_auth")
    grants = ["client_credentials", EXCHANGE]
    if people:
        grants = ["authorization_code", "refresh_token", *grants]
    if assertions:
        grants = [*grants, JWT_BEARER]
    found: JSONObject = {
        "issuer": issuer,
        "token_endpoint": base + TOKEN,
        "revocation_endpoint": base + REVOKE,
        "introspection_endpoint": base + INTROSPECT,
        "jwks_uri": f"{base}/.well-known/jwks.json",
        "scopes_supported": list(scopes),
        # RFC 8414 §2 requires the member; without people nothing is in it.
        "response_types_supported": ["code"] if people else [],
        "response_modes_supported": ["query"],
        "grant_types_supported": grants,
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "introspection_endpoint_auth_methods_supported": [
            method for method in methods if method != "none"
        ],
        "introspection_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "code_challenge_methods_supported": [METHOD],
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": documents,
        "dpop_signing_alg_values_supported": list(PROOF_ALGORITHMS),
        "tls_client_certificate_bound_access_tokens": mtls,
        "protected_resources": [resource],
    }
    if people:
        found["authorization_endpoint"] = base + AUTHORIZE
    if assertions:
        found["authorization_grant_profiles_supported"] = [ID_JAG]
    return found


def refusal(error: AuthorizationRefused) -> bytes:
    """The body of a refusal (RFC 6749 §5.2). ASCII; quotes and backslashes do not appear in it."""
    return body({"error": error.refusal.value, "error_description": _plain(str(error))})


def body(answer: JSONObject) -> bytes:
    """Any answer."""
    return json.dumps(answer, separators=(",", ":")).encode("ascii")


def described(refused: Refusal, message: str) -> dict[str, str]:
    """The parameters of a refusal that goes back by redirect (RFC 6749 §4.1.2.1)."""
    return {"error": refused.value, "error_description": _plain(message)}


def _plain(text: str) -> str:
    # RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in text)[:500]


__all__ = [
    "AUTHORIZE",
    "EXCHANGE",
    "INTROSPECT",
    "REVOKE",
    "TOKEN",
    "WELL_KNOWN",
    "body",
    "described",
    "refusal",
    "server_metadata",
]
