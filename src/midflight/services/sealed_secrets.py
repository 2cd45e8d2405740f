"""Static secrets at rest: each under a key of its own, which is wrapped (`KeyWrap`).

The store alone opens nothing, and a box cannot be moved to another id. A static secret is debt: it
lives until somebody changes it, so its age is what posture shows. Above: the sealed backend, the
control API.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from midflight.domain.errors import Malformed, Misconfigured, StoreUnavailable
from midflight.domain.identity import Author
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import KeyWrap
from midflight.services.ports.lease_store import LeaseStore, SealedSecret

MAX_LENGTH = 65_536
"""Characters of a secret: the longest are private keys."""
_NONCE_LENGTH = 12


class SealedSecrets:
    """See the module."""

    def __init__(self, *, store: LeaseStore, wrap: KeyWrap, clock: Clock) -> None:
        """`wrap` is that of the sealing keys of runs; ids keep the two apart."""
        self._store = store
        self._wrap = wrap
        self._clock = clock

    async def seal(self, text: str, *, author: Author) -> str:
        """Keep a secret, and return its id. `Malformed` if it is empty or too long."""
        if not 0 < len(text) <= MAX_LENGTH:
            raise Malformed(f"A secret is 1 to {MAX_LENGTH:,} characters.")
        secret_id = f"sealed_{self._clock.token()}"
        key, nonce = AESGCM.generate_key(bit_length=256), os.urandom(_NONCE_LENGTH)
        try:
            plain = text.encode()
        except UnicodeEncodeError:
            raise Malformed("A secret is text in UTF-8.") from None
        await self._store.put_sealed_secret(
            SealedSecret(
                id=secret_id,
                wrapped=self._wrap.wrap(key, key_id=secret_id),
                box=nonce + AESGCM(key).encrypt(nonce, plain, secret_id.encode()),
                sealed_at=int(self._clock.now()),
                sealed_by=author.name,
            )
        )
        return secret_id

    async def open(self, secret_id: str) -> str:
        """The secret.

        Raises:
            Misconfigured: there is none of that id.
            StoreUnavailable: the store does not answer, or it does not open.
        """
        stored = await self._store.get_sealed_secret(secret_id)
        if stored is None:
            raise Misconfigured(
                f"There is no sealed secret {secret_id}.",
                hint="midflight credential add --replace seals another one.",
            )
        key = self._wrap.unwrap(stored.wrapped, key_id=secret_id)
        nonce, box = stored.box[:_NONCE_LENGTH], stored.box[_NONCE_LENGTH:]
        try:
            return AESGCM(key).decrypt(nonce, box, secret_id.encode()).decode()
        except (InvalidTag, ValueError):
            pass
        raise StoreUnavailable(
            f"Sealed secret {secret_id} does not open.",
            hint="It was altered; restore the store from a backup, or seal it again.",
        )

    async def sealed_at(self, secret_id: str) -> int | None:
        """When it was sealed (Unix seconds), or None if there is none."""
        stored = await self._store.get_sealed_secret(secret_id)
        return None if stored is None else stored.sealed_at

    async def forget(self, secret_id: str) -> bool:
        """Forget it for good. False if there was none."""
        return await self._store.delete_sealed_secret(secret_id)


__all__ = ["MAX_LENGTH", "SealedSecrets"]
