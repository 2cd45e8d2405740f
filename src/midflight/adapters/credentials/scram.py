"""SCRAM-SHA-256 verifiers of PostgreSQL (RFC 5802, RFC 7677), made on our side.

`ALTER ROLE … PASSWORD 'SCRAM-SHA-256$…'` stores a verifier as it is, so the password itself is in
no statement, and in no log of the server. Only for passwords that we make: ASCII, so SASLprep
(RFC 4013) changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

ITERATIONS = 4_096
"""PostgreSQL's own number. The password has 256 bits, so stretching it adds nothing."""


def verifier(password: str, *, salt: bytes | None = None) -> str:
    """`SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.

    Raises:
        UnicodeEncodeError: the password is not ASCII.
    """
    salt = os.urandom(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ITERATIONS}:{_text(salt)}${_text(stored_key)}:{_text(server_key)}"


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


__all__ = ["ITERATIONS", "verifier"]
