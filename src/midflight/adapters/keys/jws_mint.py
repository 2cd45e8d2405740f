"""Tokens from whatever holds the key: the JWS is put together here and signed by a `Signer`.

joserfc signs with keys that it holds itself, so for modules and services the signing input is made
here (RFC 7515 §5.1); tests verify the result with joserfc and with PyJWT. Whether a signer signs
with the key it claims has been tried when it was opened (`public_keys.proven`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from midflight.domain import jose
from midflight.domain.errors import Unavailable
from midflight.services.ports.keys import LocalSigner, Purpose, Signer


class Keys(Protocol):
    """What a mint needs of the rings."""

    def signer(self, purpose: Purpose) -> Signer:
        """Who signs for the purpose now. `Unavailable` if nobody can."""
        ...

    def jwks(self, *purposes: Purpose) -> dict[str, Any]:
        """The public keys of these purposes that verify now, the signing one first."""
        ...


class JwsMint:
    """`TokenSigner` for one purpose, with whichever key signs when a token is made."""

    def __init__(self, keys: Keys, purpose: Purpose) -> None:
        """Nothing is opened yet."""
        self._keys = keys
        self._purpose = purpose

    async def mint(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """See `TokenSigner.mint`. With a key in a file it waits for nothing."""
        signer = self._keys.signer(self._purpose)
        text = _signing_input(signer, header, claims)
        return _compact(text, await signer.sign(text))

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """See `TokenSigner.sign`."""
        signer = self._keys.signer(self._purpose)
        sign_now = getattr(signer, "sign_now", None)
        if sign_now is None:
            raise Unavailable(
                f"Keys for {self._purpose.value} are not in this process and must be waited for.",
            )
        local: LocalSigner = signer  # type: ignore[assignment] -- it has what makes it one
        text = _signing_input(local, header, claims)
        return _compact(text, local.sign_now(text))

    def public_jwks(self) -> dict[str, Any]:
        """See `TokenSigner.public_jwks`."""
        return self._keys.jwks(self._purpose)


def _signing_input(signer: Signer, header: Mapping[str, Any], claims: Mapping[str, Any]) -> bytes:
    protected = {**header, "alg": signer.algorithm, "kid": signer.public_jwk["kid"]}
    parts = (msgspec.json.encode(protected), msgspec.json.encode(dict(claims)))
    return ".".join(map(jose.base64url, parts)).encode("ascii")


def _compact(text: bytes, signature: bytes) -> str:
    return f"{text.decode('ascii')}.{jose.base64url(signature)}"


__all__ = ["JwsMint", "Keys"]
