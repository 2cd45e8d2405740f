"""Sealing: arguments and intents are kept under a key of their run that can be erased.

Erasing the key erases them in every copy of the ledger and leaves the chain whole. AES-256-GCM
with a random 96-bit nonce; the key's id, which is the run's, is the associated data, so a box
cannot be moved to another run. The data key is stored wrapped (`KeyWrap`), never bare.

Keys and nonces come from the operating system and not from the `Clock` port: a nonce that a test
double repeats would open everything sealed under the key.
"""

from __future__ import annotations

import base64
import os
from collections import OrderedDict

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from midflight.domain.canonical import canonical
from midflight.domain.errors import Conflict, Malformed
from midflight.domain.records import Sealed
from midflight.domain.value import JSON, JSONObject
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import KeyWrap
from midflight.services.ports.store import Store

_KEY_BITS = 256
_NONCE_LENGTH = 12
_NONCES = 256


class Sealer:
    """Seals for open runs, opens for whoever may read, erases for good.

    Args:
        store: keeps the wrapped keys.
        wrap: wraps and unwraps them.
        clock: tells how old a cached key is.
        capacity: how many runs' keys stay in memory, the last used ones.
        trust_s: seconds after which a cached key is looked up again, which bounds how long another
            replica can go on sealing under a key that was erased.
    """

    def __init__(
        self,
        store: Store,
        wrap: KeyWrap,
        clock: Clock,
        *,
        capacity: int = 100_000,
        trust_s: float = 300.0,
    ) -> None:
        self._store = store
        self._wrap = wrap
        self._clock = clock
        self._capacity = capacity
        self._trust_s = trust_s
        self._nonces: list[bytes] = []
        self._keys: OrderedDict[str, tuple[AESGCM, float]] = OrderedDict()

    async def key_for(self, run_id: str) -> None:
        """Have the run's key at hand, making it at first use; then `seal` works for the run.

        Raises:
            Conflict: the key was erased while this process was using it.
            StoreUnavailable: the store does not answer, or the stored key does not open.
        """
        cached = self._keys.get(run_id)
        if cached is not None and self._clock.monotonic() < cached[1]:
            self._keys.move_to_end(run_id)
            return
        wrapped = await self._store.get_seal_key(run_id)
        if wrapped is None and cached is not None:
            self._keys.pop(run_id, None)
            raise Conflict(
                f"The sealing key of {run_id} was erased, so the run cannot be recorded any more.",
                hint="Open a new run.",
            )
        if wrapped is None:
            wrapped = await self._make(run_id)
        self._remember(run_id, AESGCM(self._wrap.unwrap(wrapped, key_id=run_id)))

    def seal(self, run_id: str, plaintext: JSON) -> Sealed:
        """Seal a JSON value under the run's key. Synchronous, a few µs.

        Raises:
            Conflict: the key is not at hand; `await key_for(run_id)` before.
            UnicodeEncodeError: only for values no strict decoder produces (lone surrogates).
        """
        cached = self._keys.get(run_id)
        if cached is None:
            raise Conflict(f"The sealing key of {run_id} is not loaded.")
        nonce = self._nonce()
        box = cached[0].encrypt(nonce, canonical(plaintext), run_id.encode())
        return Sealed(key=run_id, nonce=nonce, box=box)

    def _nonce(self) -> bytes:
        # Drawn many at a time: the system call costs 10 µs, as much as all else of a seal.
        if not self._nonces:
            drawn = os.urandom(_NONCE_LENGTH * _NONCES)
            self._nonces = [
                drawn[at : at + _NONCE_LENGTH] for at in range(0, len(drawn), _NONCE_LENGTH)
            ]
        return self._nonces.pop()

    async def open(self, sealed: Sealed) -> JSON:
        """The value again, or None if the key was erased.

        The store is always asked, so that an erasure counts at once wherever it was done.

        Raises:
            Malformed: the box does not open under its key.
            StoreUnavailable: the store does not answer, or the stored key does not open.
        """
        key = await self._stored_key(sealed.key)
        return None if key is None else _opened(key, sealed)

    async def open_arguments(self, sealed: Sealed | None) -> tuple[JSONObject, JSONObject] | None:
        """Judged arguments and parameters, as the guard seals them; None if they are erased.

        Raises as `open`.
        """
        match None if sealed is None else await self.open(sealed):
            case [dict(arguments), dict(params)]:  # pyright: ignore[reportUnknownVariableType]
                return arguments, params  # pyright: ignore[reportUnknownVariableType]
            case _:
                return None

    def seal_text(self, run_id: str, text: str) -> str:
        """Seal text into text, for a column of the store. `Conflict` as `seal`."""
        sealed = self.seal(run_id, text)
        return base64.b64encode(sealed.nonce + sealed.box).decode("ascii")

    async def open_text(self, run_id: str, sealed: str | None) -> str | None:
        """The text again; None if there is none, or its key was erased.

        A cached key is good enough: an erasure takes what was sealed into the store with it.

        Raises:
            Malformed: it does not open under the run's key.
            StoreUnavailable: the store does not answer, or the stored key does not open.
        """
        if sealed is None:
            return None
        cached = self._keys.get(run_id)
        key = cached[0] if cached is not None else await self._stored_key(run_id)
        if key is None:
            return None
        try:
            raw = base64.b64decode(sealed, validate=True)
        except ValueError:
            raw = b""
        nonce, box = raw[:_NONCE_LENGTH], raw[_NONCE_LENGTH:]
        return str(_opened(key, Sealed(key=run_id, nonce=nonce, box=box)))

    async def derive(self, key_id: str, *, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose, from the sealing key of that id, made at first use.

        It goes with the sealing key when that is erased (HKDF-SHA-256, RFC 5869).

        Raises:
            StoreUnavailable: the store does not answer, or the stored key does not open.
        """
        wrapped = await self._store.get_seal_key(key_id)
        if wrapped is None:
            wrapped = await self._make(key_id)
        derivation = HKDF(hashes.SHA256(), length=32, salt=None, info=purpose.encode())
        return derivation.derive(self._wrap.unwrap(wrapped, key_id=key_id))

    async def erase(self, run_id: str) -> bool:
        """Forget the run's key for good. False if there was none."""
        try:
            return await self._store.erase_seal_key(run_id)
        finally:
            self._keys.pop(run_id, None)

    async def _stored_key(self, run_id: str) -> AESGCM | None:
        wrapped = await self._store.get_seal_key(run_id)
        return None if wrapped is None else AESGCM(self._wrap.unwrap(wrapped, key_id=run_id))

    async def _make(self, run_id: str) -> bytes:
        wrapped = self._wrap.wrap(AESGCM.generate_key(bit_length=_KEY_BITS), key_id=run_id)
        try:
            await self._store.put_seal_key(run_id, wrapped)
        except Conflict:
            # Another task or replica was first; its key is the run's.
            existing = await self._store.get_seal_key(run_id)
            if existing is None:
                raise
            return existing
        return wrapped

    def _remember(self, run_id: str, key: AESGCM) -> None:
        self._keys[run_id] = (key, self._clock.monotonic() + self._trust_s)
        self._keys.move_to_end(run_id)
        while len(self._keys) > self._capacity:
            self._keys.popitem(last=False)


def _opened(key: AESGCM, sealed: Sealed) -> JSON:
    try:
        plaintext = key.decrypt(sealed.nonce, sealed.box, sealed.key.encode())
        return msgspec.json.decode(plaintext)
    except (InvalidTag, ValueError) as error:
        raise Malformed(
            "A sealed value does not open under its key: it was altered, or its key was "
            "erased and made again.",
            hint="`midflight ledger verify` tells whether the ledger was altered.",
        ) from error


__all__ = ["Sealer"]
