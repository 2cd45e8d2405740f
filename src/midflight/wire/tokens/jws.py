"""The strict reader of compact JWS (RFC 7515 §7.1), and the check of a signature.

Stricter than the RFC where leniency has been an attack: canonical base64url only (no padding, no
stray bits in the last character, so one token has one text), no duplicate member names (both
joserfc 1.8 and PyJWT 2.15 let the last one win), a size cap before anything is parsed. It says
nothing about keys, claims or time; `access.py` and `dpop.py` do.
"""

from __future__ import annotations

import re

from joserfc.jws import JWSRegistry

from midflight.domain import jose
from midflight.domain.errors import Malformed
from midflight.domain.value import JSONObject, Value
from midflight.wire import json
from midflight.wire.tokens.jwk import PublicKey

MAX_TOKEN_CHARS = 8192
"""Checked before parsing: PyJWT parses a 2 MB header in 0.12 s, joserfc has caps of its own."""

MAX_DEPTH = 6
"""A JWK in a header is an object in an object; a chain of actors is one for each of them."""

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\Z")

# "EdDSA" is RFC 8037's name, "Ed25519" RFC 9864's, of the same signature.
_ALGORITHMS = {
    "ES256": JWSRegistry.algorithms["ES256"],
    "EdDSA": JWSRegistry.algorithms["Ed25519"],
    "Ed25519": JWSRegistry.algorithms["Ed25519"],
    # Of other issuers only: which algorithms count is said by whoever calls.
    **{
        name: JWSRegistry.algorithms[name]
        for name in ("ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
    },
}


class Jws(Value):
    """A decoded compact JWS whose signature has not been checked."""

    header: JSONObject
    payload: JSONObject
    signing_input: bytes
    signature: bytes


def decode_compact(text: str) -> Jws:
    """Decode three base64url parts, the first two JSON objects.

    Raises:
        Malformed: too long, not three parts, not canonical base64url, not a JSON object, or a
            member name twice in one object. The message never repeats the text.
    """
    if len(text) > MAX_TOKEN_CHARS:
        raise Malformed("The token is longer than 8 KiB.")
    parts = _COMPACT.match(text)
    if parts is None:
        raise Malformed("The token is not three base64url parts.")
    header, payload, signature = parts.groups()
    return Jws(
        header=_object(base64url(header)),
        payload=_object(base64url(payload)),
        signing_input=text[: parts.end(2)].encode("ascii"),
        signature=base64url(signature),
    )


def base64url(text: str) -> bytes:
    """Decode unpadded, canonical base64url (RFC 4648 §5, RFC 7515 §2). `Malformed` if it is not."""
    try:
        return jose.from_base64url(text)
    except ValueError:
        raise Malformed("A part of the token is not canonical base64url.") from None


def _object(raw: bytes) -> JSONObject:
    value = json.decode(raw, max_depth=MAX_DEPTH)
    if not isinstance(value, dict):
        raise Malformed("A part of the token is not a JSON object.")
    return value


def signature_holds(jws: Jws, *, algorithm: str, key: PublicKey) -> bool:
    """Whether `key` signed it with `algorithm`. False, too, if the key is for another algorithm.

    ES256 costs about 65 µs, Ed25519 about 80.
    """
    model = _ALGORITHMS.get(algorithm)
    if model is None or algorithm not in key.algorithms:
        return False
    return bool(model.verify(jws.signing_input, jws.signature, key.key))


__all__ = [
    "MAX_DEPTH",
    "MAX_TOKEN_CHARS",
    "Jws",
    "base64url",
    "decode_compact",
    "signature_holds",
]
