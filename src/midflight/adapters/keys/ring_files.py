"""Rings in one file, `keys/signing-keys.json`, and rings in memory: the two `RingStore`s.

One file for all purposes, so that no crash and no second process can put one key into two rings:
each change reads it, checks the result, and replaces it whole under a lock. It holds the private
halves of keys of the backend `file`; of others it holds names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from midflight.adapters.keys.private_files import PrivateDirectory
from midflight.adapters.keys.public_keys import public_key
from midflight.adapters.keys.token_file import TOKEN_FILE, earlier_rings
from midflight.domain.errors import Misconfigured
from midflight.domain.key_ring import Ring, Rings, problems
from midflight.domain.value import Value
from midflight.services.ports.keys import Purpose

RING_FILE = "signing-keys.json"
_FORMAT = "midflight-signing-keys-v1"


class MemoryRings:
    """`RingStore` that ends with the process."""

    def __init__(self) -> None:
        """No rings yet."""
        self._rings: dict[str, Ring] = {}

    async def read(self) -> Rings:
        """See `RingStore.read`."""
        return dict(self._rings)

    async def change(self, change: Callable[[Rings], Rings]) -> Rings:
        """See `RingStore.change`."""
        self._rings = dict(sound(change(dict(self._rings))))
        return dict(self._rings)


class RingFiles:
    """`RingStore` in a private directory."""

    def __init__(self, directory: Path) -> None:
        """Nothing is read yet."""
        self._directory = directory

    async def read(self) -> Rings:
        """See `RingStore.read`."""
        return await asyncio.to_thread(self._read)

    async def change(self, change: Callable[[Rings], Rings]) -> Rings:
        """See `RingStore.change`. The change runs in a thread."""
        return await asyncio.to_thread(self._change, change)

    def _read(self) -> Rings:
        with PrivateDirectory(self._directory) as files, files.locked():
            return self._stored(files)

    def _change(self, change: Callable[[Rings], Rings]) -> Rings:
        with PrivateDirectory(self._directory) as files, files.locked():
            before = self._stored(files)
            after = sound(change(before))
            if after != before or files.read(RING_FILE) is None:
                files.write(RING_FILE, _dump(after))
                # What it held stands in the rings now; a second copy of a key is one too many.
                files.remove(TOKEN_FILE)
        return after

    def _stored(self, files: PrivateDirectory) -> Rings:
        content = files.read(RING_FILE)
        if content is not None:
            return sound(_load(content))
        earlier = files.read(TOKEN_FILE)
        return {} if earlier is None else sound(earlier_rings(earlier))


def sound(rings: Rings) -> Rings:
    """The rings, if they are what rings may be.

    Raises:
        Misconfigured: with everything that is wrong, and nothing of a key but ids.
    """
    found = problems(rings)
    for name, ring in rings.items():
        try:
            purpose = Purpose(name)
        except ValueError:
            found.append(f"there is no purpose {name[:64]!r}")
            continue
        for key in ring.keys:
            try:
                public_key(key.jwk, purpose)
            except Misconfigured:
                found.append(f"the key {key.kid} is not a key for {purpose.value}")
                continue
            if key.jwk["kid"] != key.kid:
                found.append(f"the key {key.kid} is named otherwise than it is")
    if found:
        raise Misconfigured(
            "The rings of signing keys are not usable.",
            found,
            hint="Restore them from a backup; without one, remove them and mint tokens again.",
        )
    return rings


class _RingFile(Value, forbid_unknown_fields=True):
    format: str
    rings: dict[str, Ring]


def _load(content: bytes) -> Mapping[str, Ring]:
    stored: _RingFile | None = None
    try:
        stored = msgspec.json.decode(content, type=_RingFile)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        stored = None
    if stored is None or stored.format != _FORMAT:
        raise Misconfigured(
            f"The key file {RING_FILE} is damaged or of another version.",
            hint="Restore it from a backup; without one, remove it and mint tokens again.",
        )
    return stored.rings


def _dump(rings: Rings) -> bytes:
    return msgspec.json.encode(_RingFile(format=_FORMAT, rings=dict(rings)))


__all__ = ["RING_FILE", "MemoryRings", "RingFiles", "sound"]
