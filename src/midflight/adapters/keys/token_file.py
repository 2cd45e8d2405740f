"""`token-signing.json`, in which versions before the rings kept the keys of access tokens.

It is read once, so that tokens minted before an upgrade hold until they end; then `ring_files.py`
puts a ring in its place.
"""

from __future__ import annotations

import msgspec

from midflight.adapters.keys.es256 import TokenKeys
from midflight.domain.errors import Misconfigured
from midflight.domain.key_ring import KeyState, Ring, RingKey, Rings
from midflight.domain.value import JSONObject, Value
from midflight.services.ports.keys import Purpose

TOKEN_FILE = "token-signing.json"  # noqa: S105 -- the name of a file
_FORMAT = "midflight-token-keys-v1"
_PUBLIC = ("kty", "crv", "x", "y")


def earlier_rings(content: bytes) -> Rings:
    """The ring of access tokens that the file holds; a key that never signed is left out.

    Raises:
        Misconfigured: that is not keys.
    """
    keys = _read(content)

    def ring_key(jwk: JSONObject, state: KeyState, until: int = 0) -> RingKey:
        public = {name: jwk[name] for name in _PUBLIC}
        private: JSONObject = {"jwk": jwk} if state is KeyState.CURRENT else {}
        purpose = Purpose.ACCESS_TOKEN
        stated = {**public, "kid": jwk["kid"], "use": purpose.use, "alg": purpose.algorithm}
        return RingKey(
            kid=jwk["kid"],
            jwk=stated,
            backend="file",
            handle=private,
            state=state,
            since=0,
            until=until,
        )

    current = ring_key(keys.signing, KeyState.CURRENT)
    retired = (ring_key(key.jwk, KeyState.RETIRED, key.until) for key in keys.retired)
    return {Purpose.ACCESS_TOKEN.value: Ring(keys=(current, *retired))}


class _TokenFile(Value, forbid_unknown_fields=True):
    format: str
    keys: TokenKeys


def _read(content: bytes) -> TokenKeys:
    stored: _TokenFile | None = None
    try:
        stored = msgspec.json.decode(content, type=_TokenFile)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        stored = None
    if stored is None or stored.format != _FORMAT:
        raise Misconfigured(
            f"The key file {TOKEN_FILE} is damaged or of another version.",
            hint="Restore it from a backup; without one, remove it and mint tokens again.",
        )
    return stored.keys


__all__ = ["TOKEN_FILE", "earlier_rings"]
