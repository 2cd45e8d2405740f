"""Logins at rest: what a person's login gave, each version under a key of its own that is wrapped.

The store alone opens nothing, and a box cannot be moved to another credential. A refresh token that
is used gives the next, so writing is replacing. Above: the backend of kind `oauth`.
"""

from __future__ import annotations

import os

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from midflight.domain.errors import StoreUnavailable
from midflight.domain.value import Value
from midflight.services.ports.keys import KeyWrap
from midflight.services.ports.store import Store

_NONCE_LENGTH = 12


class _Box(Value):
    """A box and its wrapped key. Stored: append, never change."""

    wrapped: bytes
    box: bytes


class SealedLogins:
    """`Logins` of `services/ports/logins.py`."""

    def __init__(self, *, store: Store, wrap: KeyWrap) -> None:
        """`wrap` is that of the sealing keys of runs; ids keep the two apart."""
        self._store = store
        self._wrap = wrap

    async def get(self, name: str) -> str | None:
        """As the port says."""
        stored = await self._store.get_snapshot(_key(name))
        if not stored:
            return None
        try:
            kept = msgspec.msgpack.decode(stored, type=_Box)
            # Under the id of this credential, whatever it says: a box that was moved does not open.
            key = self._wrap.unwrap(kept.wrapped, key_id=_key(name))
            nonce, box = kept.box[:_NONCE_LENGTH], kept.box[_NONCE_LENGTH:]
            return AESGCM(key).decrypt(nonce, box, _key(name).encode()).decode()
        except (InvalidTag, ValueError, msgspec.MsgspecError):
            pass
        raise StoreUnavailable(
            f"The login of credential {name} does not open.",
            hint=f"It was altered; log in again: midflight credential login {name}.",
        )

    async def put(self, name: str, text: str) -> None:
        """As the port says."""
        key, nonce = AESGCM.generate_key(bit_length=256), os.urandom(_NONCE_LENGTH)
        known = _key(name)
        box = _Box(
            wrapped=self._wrap.wrap(key, key_id=known),
            box=nonce + AESGCM(key).encrypt(nonce, text.encode(), known.encode()),
        )
        await self._store.put_snapshot(known, msgspec.msgpack.encode(box))

    async def forget(self, name: str) -> None:
        """As the port says."""
        if await self._store.get_snapshot(_key(name)):
            await self._store.put_snapshot(_key(name), b"")


def _key(name: str) -> str:
    return f"login:{name}"


__all__ = ["SealedLogins"]
