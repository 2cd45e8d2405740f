"""Makes DPoP proofs (RFC 9449): Midflight holds the key that an access token is bound to.

The other side of `wire/tokens/dpop.py`, which checks proofs. A key lives as long as its lease, in
memory. Implements `RequestSigner` of `services/ports/injection.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from midflight.domain import jose
from midflight.domain.errors import Malformed, Misconfigured
from midflight.domain.lease import Secret
from midflight.services.ports.clock import Clock
from midflight.wire.tokens.htu import normalised

KEY_FIELD = "dpop_jwk"
"""Field of a lease's secret that holds the private key as a JWK."""


class DpopKey:
    """An ES256 key that makes proofs."""

    def __init__(self, key: ECKey, *, clock: Clock) -> None:
        self._key, self._clock = key, clock
        members = key.as_dict(private=False)
        self._public: dict[str, Any] = {name: members[name] for name in ("kty", "crv", "x", "y")}

    @classmethod
    def fresh(cls, *, clock: Clock) -> DpopKey:
        """A key that was not there before."""
        return cls(ECKey.generate_key("P-256", private=True), clock=clock)

    @property
    def thumbprint(self) -> str:
        """What a bound token has as `cnf.jkt`."""
        return jose.thumbprint(self._public)

    def private_jwk(self) -> str:
        """The private key as JSON, for the lease's secret and nowhere else."""
        private = self._key.as_dict(private=True)
        return json.dumps({name: private[name] for name in ("kty", "crv", "x", "y", "d")})

    def proof(self, method: str, url: str, *, token: str = "", nonce: str = "") -> str:
        """A proof for one request (§4.2); with the token's hash once there is a token (§7).

        Raises:
            Malformed: not an http or https URL.
        """
        claims: dict[str, Any] = {
            "jti": self._clock.token(),
            "htm": method,
            "htu": normalised(url),
            "iat": int(self._clock.now()),
        }
        if token:
            claims["ath"] = jose.token_hash(token)
        if nonce:
            claims["nonce"] = nonce
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": self._public}
        return jwt.encode(header, claims, self._key, algorithms=["ES256"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.thumbprint!r})"


class DpopSigner:
    """`Authorization: DPoP …` and a proof for each request."""

    def __init__(self, key: DpopKey, *, token: str) -> None:
        self._key, self._token, self._nonce = key, token, ""

    @classmethod
    def of(cls, secret: Secret, *, clock: Clock) -> DpopSigner:
        """With the token and key of a lease. `Misconfigured` if it is not bound to one."""
        try:
            key = ECKey.import_key(json.loads(secret.fields[KEY_FIELD]))
            token = secret.fields["token"]
        except (KeyError, ValueError, JoseError):
            raise Misconfigured(
                "A credential that is bound to no key cannot be placed with DPoP.",
                hint="Set dpop = true in the credential's settings.",
            ) from None
        return cls(DpopKey(key, clock=clock), token=token)

    def sign(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Sequence[tuple[str, str]]:
        """The two headers for this request; a proof covers neither its headers nor its body."""
        del headers, body
        try:
            proof = self._key.proof(method, url, token=self._token, nonce=self._nonce)
        except Malformed:
            raise Misconfigured("The upstream's URL cannot stand in a DPoP proof.") from None
        return [("Authorization", f"DPoP {self._token}"), ("DPoP", proof)]

    def nonce(self, value: str) -> None:
        """Use what the upstream sent as `DPoP-Nonce` from now on (§9)."""
        self._nonce = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._key!r})"


__all__ = ["KEY_FIELD", "DpopKey", "DpopSigner"]
