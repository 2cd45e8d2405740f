"""What `services/key_rings.py` stands on: where rings are kept, and what makes and holds keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from midflight.domain.key_ring import RingKey, Rings
from midflight.domain.value import Discreet, JSONObject
from midflight.services.ports.keys import Purpose, Signer


class MadeKey(Discreet):
    """A fresh key: its public half with `kid`, `use` and `alg`, and how its maker finds it."""

    shown: ClassVar[tuple[str, ...]] = ("jwk",)

    jwk: JSONObject
    handle: JSONObject


class RingStore(Protocol):
    """Keeps the rings of a deployment, shared by its processes."""

    async def read(self) -> Rings:
        """The rings as they stand, by purpose; none before the first change.

        Raises:
            Misconfigured: damaged, readable by others, one key with two purposes, or a key that
                is not what its purpose asks for.
        """
        ...

    async def change(self, change: Callable[[Rings], Rings]) -> Rings:
        """Apply a pure change to what stands now, alone, and return what is durable then.

        After a crash it is the old rings or the new ones. `Misconfigured` as above, of the result
        too: then nothing has changed.
        """
        ...


class KeySource(Protocol):
    """Makes private keys and holds them: files, a hardware module, a key service."""

    async def make(self, purpose: Purpose) -> MadeKey:
        """A new key for the purpose. `Unavailable` if it cannot be made."""
        ...

    async def open(self, purpose: Purpose, key: RingKey) -> Signer:
        """A signer with that key, which has proven that it signs with it.

        Raises:
            Misconfigured: the private half is gone, or belongs to another public one.
            Unavailable: it does not answer.
        """
        ...

    async def discard(self, key: RingKey) -> None:
        """Destroy the private half. `Unavailable` if it does not answer; gone already is fine."""
        ...

    async def close(self) -> None:
        """Release connections and sessions."""
        ...


__all__ = ["KeySource", "MadeKey", "RingStore"]
