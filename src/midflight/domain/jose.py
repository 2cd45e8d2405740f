"""How JOSE writes bytes, digests and the names of keys, each in one way. Pure text; no keys here.

Readers of tokens (`wire/tokens`), signers and everything else that binds something to a digest use
these, so that two of them cannot disagree about padding or the order of members.
"""

from __future__ import annotations

import base64
import hashlib

from midflight.domain.value import JSONObject

# RFC 7638 §3.2, RFC 8037 §2: the required members of each kind of key, in lexicographic order.
_REQUIRED = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}


def base64url(raw: bytes) -> str:
    """Unpadded base64url (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """The bytes again. `ValueError` unless it is unpadded, canonical base64url (RFC 4648 §5)."""
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # The decoder drops foreign characters and the unused bits of the last one; encoding does not.
    if base64url(raw) != text:
        raise ValueError("not canonical base64url")
    return raw


def digest(raw: bytes) -> str:
    """SHA-256 in base64url: `x5t#S256` of a certificate's DER (RFC 7515 §4.1.8), `S256`."""
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest())[:-1].decode("ascii")


def token_hash(token: str) -> str:
    """`ath` of an access token (RFC 9449 §4.2)."""
    return digest(token.encode("ascii"))


def thumbprint(jwk: JSONObject) -> str:
    """The SHA-256 thumbprint of a JWK (RFC 7638 §3).

    Args:
        jwk: an EC, OKP or RSA key whose members were checked: they are written as they are, and
            base64url and names of curves need no escaping. `KeyError` for another kind.
    """
    members = ",".join(f'"{name}":"{jwk[name]}"' for name in _REQUIRED[jwk["kty"]])
    return digest(f"{{{members}}}".encode("ascii"))


__all__ = ["base64url", "digest", "from_base64url", "thumbprint", "token_hash"]
