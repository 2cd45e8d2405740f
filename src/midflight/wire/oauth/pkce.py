"""Proof Key for Code Exchange, S256 alone (RFC 7636; OAuth 2.1 §7.5.2 refuses `plain`)."""

from __future__ import annotations

import hmac
import re

from midflight.domain import jose

METHOD = "S256"
# 32 bytes in canonical base64url: the two unused bits of the last character are zero.
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}\Z")


def is_challenge(text: str) -> bool:
    """Whether this has the form of an S256 challenge."""
    return _CHALLENGE.match(text) is not None


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 §4.2)."""
    return jose.digest(verifier.encode("ascii"))


def verifies(verifier: str, challenge: str) -> bool:
    """Whether the verifier is the one of the challenge, in the same time whatever it is."""
    if _VERIFIER.match(verifier) is None:
        return False
    return hmac.compare_digest(challenge_of(verifier), challenge)


__all__ = ["METHOD", "challenge_of", "is_challenge", "verifies"]
