"""The token signer: ES256 (RFC 7518 §3.4) by joserfc, with keys that roll over.

Three ages of key: the *upcoming* one is published before it signs, so that verifiers which cache
the set know it in time; the *signing* one; and *retired* ones, public halves only, which verify
until every token they signed has ended. Keys are in memory here; `file.py` keeps them on disk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from midflight.domain import jose
from midflight.domain.errors import Misconfigured
from midflight.domain.value import JSONObject, Value
from midflight.services.ports.clock import Clock

OVERLAP_S = 960
"""How long a retired key verifies: the longest life of a token (900 s), and clocks apart."""


class RetiredKey(Value):
    """The public half of a key that no longer signs, and until when it verifies (Unix s)."""

    jwk: JSONObject
    until: int


class TokenKeys(Value):
    """All keys of the token signer. `signing` and `upcoming` are private; the repr shows ids."""

    signing: JSONObject
    upcoming: JSONObject | None = None
    retired: tuple[RetiredKey, ...] = ()

    def __repr__(self) -> str:
        return f"TokenKeys(signing={self.signing.get('kid')!r})"

    def __rich_repr__(self) -> Any:
        yield "signing", self.signing.get("kid")


def fresh_keys() -> TokenKeys:
    """A new key that signs at once, and nothing before or after it."""
    return TokenKeys(signing=_fresh())


def announced(keys: TokenKeys) -> TokenKeys:
    """With an upcoming key, made now unless there is one."""
    return msgspec.structs.replace(keys, upcoming=keys.upcoming or _fresh())


def rotated(keys: TokenKeys, *, now: float) -> TokenKeys:
    """The upcoming key signs, the signing one is retired, its private half dropped."""
    ahead = announced(keys)
    assert ahead.upcoming is not None
    retired = RetiredKey(jwk=_public(_imported(keys.signing)), until=math.ceil(now) + OVERLAP_S)
    kept = tuple(key for key in keys.retired if key.until > now)
    return TokenKeys(signing=ahead.upcoming, retired=(retired, *kept))


class Es256TokenSigner:
    """`TokenSigner` over keys in memory."""

    def __init__(self, keys: TokenKeys, *, clock: Clock) -> None:
        """`Misconfigured` if a key is no ES256 key with its thumbprint as id."""
        self._clock = clock
        self._use(keys)

    @classmethod
    def fresh(cls, *, clock: Clock) -> Es256TokenSigner:
        """With a key that exists in this process alone."""
        return cls(fresh_keys(), clock=clock)

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """A compact JWS; `alg` and `kid` are the signer's, whatever `header` says. About 45 µs."""
        protected = {**header, "alg": "ES256", "kid": self._key.kid}
        return jwt.encode(protected, dict(claims), self._key, algorithms=["ES256"])

    async def mint(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """See `sign`."""
        return self.sign(header, claims)

    def public_jwks(self) -> dict[str, Any]:
        """Public keys that verify now: the signing one, the upcoming one, retired ones."""
        now = self._clock.now()
        retired = (key.jwk for key in self._keys.retired if key.until > now)
        return {"keys": [dict(jwk) for jwk in (*self._public, *retired)]}

    def announce(self) -> str:
        """Publish the next key and return its id; it does not sign yet."""
        self._use(announced(self._keys))
        return self._public[1]["kid"]

    def rotate(self) -> str:
        """Sign with the next key from now on and return its id.

        Announce it longer before than verifiers cache the key set (five minutes), unless the
        key is withdrawn in an emergency.
        """
        self._use(rotated(self._keys, now=self._clock.now()))
        return self._public[0]["kid"]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kid={self._key.kid!r})"

    def _use(self, keys: TokenKeys) -> None:
        signing = _imported(keys.signing)
        public = [_public(signing)]
        if keys.upcoming is not None:
            public.append(_public(_imported(keys.upcoming)))
        self._keys, self._key, self._public = keys, signing, tuple(public)


def _fresh() -> JSONObject:
    return dict(ECKey.generate_key("P-256", private=True, auto_kid=True).as_dict(private=True))


def _imported(jwk: JSONObject) -> ECKey:
    key: ECKey | None = None
    try:
        key = ECKey.import_key(jwk)
        key.get_op_key("sign")  # parses it now, and checks that the halves belong together
    except (JoseError, ValueError, TypeError):
        key = None
    # joserfc 1.8 imports an EC key whatever its `kty` says.
    plain = key is not None and jwk.get("kty") == "EC" and key.curve_name == "P-256"
    if key is None or not plain or key.kid != _public(key)["kid"]:
        raise Misconfigured("A token signing key is not a private P-256 JWK with its own id.")
    return key


def _public(key: ECKey) -> JSONObject:
    members = key.as_dict(private=False)
    plain: JSONObject = {name: members[name] for name in ("kty", "crv", "x", "y")}
    return {**plain, "kid": jose.thumbprint(plain), "use": "sig", "alg": "ES256"}


__all__ = [
    "OVERLAP_S",
    "Es256TokenSigner",
    "RetiredKey",
    "TokenKeys",
    "announced",
    "fresh_keys",
    "rotated",
]
