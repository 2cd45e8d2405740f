"""Fresh key pairs for those who hold an identity that is bound to a key."""

from __future__ import annotations

from joserfc.jwk import ECKey

from midflight.domain.value import JSONObject


def new_pair() -> JSONObject:
    """A private P-256 JWK with `alg` (RFC 7517), a secret. About 20 µs; nothing keeps it here."""
    made = ECKey.generate_key("P-256", private=True).as_dict(private=True)
    return {**{name: made[name] for name in ("kty", "crv", "x", "y", "d")}, "alg": "ES256"}


__all__ = ["new_pair"]
