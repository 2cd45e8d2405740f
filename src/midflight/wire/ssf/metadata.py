"""What the transmitter says of itself (SSF 1.0 §7.1), and where its endpoints are."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from midflight.domain.shared_stream import Method
from midflight.domain.value import JSONObject

WELL_KNOWN: Final = "/.well-known/ssf-configuration"
JWKS: Final = "/ssf/jwks.json"
STREAM: Final = "/ssf/stream"
STATUS: Final = "/ssf/status"
ADD_SUBJECT: Final = "/ssf/subjects/add"
REMOVE_SUBJECT: Final = "/ssf/subjects/remove"
VERIFY: Final = "/ssf/verify"
POLL: Final = "/ssf/poll/"
RECEIVE: Final = "/ssf/receive/"


def well_known(issuer: str) -> str:
    """Path of the document of an issuer: before its own path, if it has one (SSF 1.0 §7.2)."""
    return WELL_KNOWN + urlsplit(issuer).path.rstrip("/")


def document_url(issuer: str) -> str:
    """Where the document of another transmitter is."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}{well_known(issuer)}"


def metadata(*, issuer: str, base: str) -> JSONObject:
    """The document.

    Args:
        issuer: `iss` of the SETs, exactly.
        base: where the endpoints are, without a slash at the end.
    """
    return {
        "spec_version": "1_0",
        "issuer": issuer,
        "jwks_uri": base + JWKS,
        "delivery_methods_supported": [Method.PUSH.value, Method.POLL.value],
        "configuration_endpoint": base + STREAM,
        "status_endpoint": base + STATUS,
        "add_subject_endpoint": base + ADD_SUBJECT,
        "remove_subject_endpoint": base + REMOVE_SUBJECT,
        "verification_endpoint": base + VERIFY,
        "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
        "default_subjects": "ALL",
    }


__all__ = [
    "ADD_SUBJECT",
    "JWKS",
    "POLL",
    "RECEIVE",
    "REMOVE_SUBJECT",
    "STATUS",
    "STREAM",
    "VERIFY",
    "WELL_KNOWN",
    "document_url",
    "metadata",
    "well_known",
]
