"""A private key that Midflight is known by at others: signs its assertions (RFC 7523, RFC 7515).

`PemSigner` is a `Signer` over a PEM text, read from a reference when it is needed; a `Signer` of
purpose `client` (file, hardware module, key service) takes its place where one is configured.
`own_token` says who Midflight is with it, where nobody has given it a name or a secret.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc.jwk import ECKey, RSAKey

from midflight.domain import jose
from midflight.domain.errors import Misconfigured
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import Signer

MIN_RSA_BITS = 2_048
OWN_TOKEN_S = 60

OwnToken: TypeAlias = Callable[[str], Awaitable[str]]
"""Makes a JWT for one audience that says who Midflight is, good for `OWN_TOKEN_S`."""


class PemSigner:
    """`Signer` with a P-256 or RSA key that is given as PEM."""

    def __init__(self, pem: str, *, named: str) -> None:
        """`named` is what errors call the key.

        Raises:
            Misconfigured: no unencrypted private key of these kinds, or RSA below 2,048 bits.
        """
        self._key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
        try:
            key = load_pem_private_key(pem.encode("utf-8"), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
            public = ECKey.import_key(key.public_key())
            self._key, self._algorithm = key, "ES256"
        elif isinstance(key, rsa.RSAPrivateKey) and key.key_size >= MIN_RSA_BITS:
            public = RSAKey.import_key(key.public_key())
            self._key, self._algorithm = key, "RS256"
        else:
            raise Misconfigured(
                f"{named} is not a private key that can be used.",
                hint="Give an unencrypted PEM: EC P-256, or RSA of 2,048 bits or more.",
            )
        members = dict(public.as_dict(private=False))
        members.pop("kid", None)
        more = {"kid": jose.thumbprint(members), "use": "sig", "alg": self._algorithm}
        self._public: dict[str, Any] = {**members, **more}

    @property
    def algorithm(self) -> str:
        """`ES256` or `RS256`."""
        return self._algorithm

    @property
    def public_jwk(self) -> dict[str, Any]:
        """The public key; its `kid` is its RFC 7638 thumbprint."""
        return dict(self._public)

    async def sign(self, message: bytes) -> bytes:
        """The JWS signature (RFC 7518 §3.3, §3.4)."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(message, padding.PKCS1v15(), SHA256())
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kid={self._public['kid']!r})"


async def signed_jwt(signer: Signer, claims: Mapping[str, Any], *, kid: bool = True) -> str:
    """A compact JWS of type `JWT` by a signer, with or without the key's id in its header."""
    header = {"alg": signer.algorithm, "typ": "JWT"}
    if kid:
        header["kid"] = signer.public_jwk["kid"]
    text = ".".join(jose.base64url(msgspec.json.encode(part)) for part in (header, dict(claims)))
    return f"{text}.{jose.base64url(await signer.sign(text.encode('ascii')))}"


def own_token(signer: Signer, *, issuer: str, clock: Clock) -> OwnToken:
    """What makes tokens of Midflight's own (RFC 7519), for who verifies them by its published keys.

    Args:
        signer: of purpose `client`.
        issuer: what they say in `iss` and `sub`: the issuer whose `jwks_uri` has the key.
        clock: time.
    """

    async def made(audience: str) -> str:
        now = int(clock.now())
        claims = {
            "iss": issuer,
            "sub": issuer,
            # One, and nothing else: a token for one server is good for no other.
            "aud": audience,
            "jti": clock.token(),
            "iat": now,
            "nbf": now,
            "exp": now + OWN_TOKEN_S,
        }
        return await signed_jwt(signer, claims)

    return made


__all__ = ["MIN_RSA_BITS", "OWN_TOKEN_S", "OwnToken", "PemSigner", "own_token", "signed_jwt"]
