"""What tokens are bound to a certificate by (RFC 8705 §3.1)."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode


def certificate_thumbprint(der: bytes) -> str:
    """`x5t#S256` of a certificate."""
    return urlsafe_b64encode(hashlib.sha256(der).digest())[:-1].decode("ascii")


__all__ = ["certificate_thumbprint"]
