"""What a protected resource says of itself: WWW-Authenticate and its metadata document.

Clients find out here where tokens come from and how to present them (RFC 9728; MCP requires it).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from midflight.domain.value import JSONObject
from midflight.wire.tokens.dpop import ALGORITHMS

_WELL_KNOWN = "/.well-known/oauth-protected-resource"
# RFC 6750 §3: what error_description may hold.
_UNSAFE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


def challenge(*, error: str, description: str, metadata: str) -> str:
    """The value of `WWW-Authenticate` for a 401 answer.

    Args:
        error: RFC 6750 or RFC 9449 error code; empty when the caller presented nothing, for
            which RFC 6750 §3.1 asks not to say more.
        description: one sentence, safe for strangers.
        metadata: URL of the metadata document (RFC 9728 §5.1).
    """
    where = f'resource_metadata="{_quotable(metadata)}"'
    what = ""
    if error:
        what = f', error="{_quotable(error)}", error_description="{_quotable(description)}"'
    algorithms = f'algs="{" ".join(ALGORITHMS)}"'
    if error == "invalid_dpop_proof":  # RFC 9449 §7.1
        return f"DPoP {where}{what}, {algorithms}"
    return f"Bearer {where}{what}, DPoP {algorithms}"  # both are taken: RFC 9449 §7.2


def metadata_url(resource: str) -> str:
    """Where the metadata of a resource is: the well-known path goes before its path (§3.1)."""
    parts = urlsplit(resource)
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{_WELL_KNOWN}{path}"


def resource_metadata(
    *,
    resource: str,
    issuer: str,
    jwks_uri: str,
    name: str,
    scopes: Sequence[str] = (),
    mtls: bool = False,
) -> JSONObject:
    """The RFC 9728 §2 document of the resource.

    `bearer_methods_supported` is `header` alone: a token in a URL ends up in logs.
    """
    found: JSONObject = {
        "resource": resource,
        "authorization_servers": [issuer],
        "jwks_uri": jwks_uri,
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
        "dpop_bound_access_tokens_required": False,
        "resource_name": name,
    }
    if mtls:
        found["tls_client_certificate_bound_access_tokens"] = True
    if scopes:
        found["scopes_supported"] = list(scopes)
    return found


def _quotable(text: str) -> str:
    return _UNSAFE.sub(" ", text)


__all__ = ["challenge", "metadata_url", "resource_metadata"]
