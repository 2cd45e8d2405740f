"""Which public keys a bundle may hold as JWT authorities (JWT-SVID §2: the algorithms allowed).

Other trust domains choose other keys than ours, so this takes what the standard allows. It
verifies nothing: `wire/tokens/keys.py` chooses the key of a token.
"""

from __future__ import annotations

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from midflight.domain.errors import Malformed
from midflight.domain.value import JSONObject

MIN_RSA_BITS = 2_048

_CURVES = frozenset({"P-256", "P-384", "P-521"})
_MEMBERS = {"EC": ("kty", "crv", "x", "y"), "RSA": ("kty", "n", "e")}
_SECRETS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def jwt_key(jwk: JSONObject) -> ECKey | RSAKey:
    """The public key of a JWT authority.

    Raises:
        Malformed: private, symmetric, of another kind, too small, or not a key.
    """
    kind = jwk.get("kty")
    if kind not in {"EC", "RSA"} or _SECRETS & jwk.keys():
        raise Malformed("A JWT authority is not a public EC or RSA key.")
    members = {name: jwk.get(name) for name in _MEMBERS[kind]}
    if not all(isinstance(value, str) for value in members.values()):
        raise Malformed("A JWT authority is not a public EC or RSA key.")
    key: ECKey | RSAKey | None = None
    plain: dict[str, str | list[str]] = {name: str(value) for name, value in members.items()}
    try:
        key = ECKey.import_key(plain) if kind == "EC" else RSAKey.import_key(plain)
        key.get_op_key("verify")  # parses it now: off the curve is an error
    except (JoseError, ValueError, TypeError, KeyError):
        key = None
    if key is None or (isinstance(key, ECKey) and key.curve_name not in _CURVES):
        raise Malformed("A JWT authority is not a public EC or RSA key.")
    if isinstance(key, RSAKey) and key.get_op_key("verify").key_size < MIN_RSA_BITS:
        raise Malformed("A JWT authority is an RSA key of less than 2,048 bits.")
    return key


__all__ = ["jwt_key"]
