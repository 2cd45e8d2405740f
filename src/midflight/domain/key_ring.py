"""The keys of one purpose over time: which is published, which signs, and for how long.

    state     published  signs  its private half
    next      yes        no     kept, so that verifiers know it before it signs
    current   yes        yes    kept
    retired   yes        no     dropped; verifies until the last token that it signed has ended

    announce   -> next                          at most one
    promote    next -> current, current -> retired
    expire     retired -> gone                  after `until`
    withdraw   any -> gone, remembered by id    at once, for a key that others may know

A key is `next` for longer than verifiers cache a key set, unless an emergency is worse than what
then fails. Everything here is pure: keys are made and opened by `services/key_rings.py`.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from midflight.domain.value import Discreet, JSONObject, Value

CACHE_S = 300
"""How long verifiers may keep a published key set: the `max-age` it is served with."""
MARGIN_S = 60
"""Added to both ends of an overlap: clocks that differ, and processes that look again later."""


MAX_RETIRED = 16
"""Of one ring, beside the key that signs. More rotations at once than that are no emergency any
more, and every verifier reads all of them."""
MAX_WITHDRAWN = 128
"""Ids that a ring remembers, so that withdrawing can never fill the file that it has to change."""


class KeyState(enum.StrEnum):
    """Where a key is in its life. See the table above."""

    NEXT = "next"
    CURRENT = "current"
    RETIRED = "retired"


class RingKey(Discreet):
    """One key of a ring. Its repr shows no key.

    Attributes:
        kid: RFC 7638 thumbprint of the public half.
        jwk: the public half, as published.
        backend: what holds the private half: `file`, `pkcs11`, `transit`.
        handle: by which the backend finds the private half. In a file it *is* the private half;
            empty once that is dropped.
        state: see `KeyState`.
        since: when it was first published, Unix seconds.
        until: when a retired key stops to verify, Unix seconds; 0 before.
    """

    shown: ClassVar[tuple[str, ...]] = ("kid", "state", "backend")

    kid: str
    jwk: JSONObject
    backend: str
    handle: JSONObject
    state: KeyState
    since: int
    until: int = 0


class Ring(Value):
    """All keys of one purpose, and the ids of those that were withdrawn from it."""

    keys: tuple[RingKey, ...]
    withdrawn: tuple[str, ...] = ()

    def of(self, state: KeyState) -> RingKey | None:
        """The first key in that state."""
        return next((key for key in self.keys if key.state is state), None)

    @property
    def current(self) -> RingKey | None:
        """The key that signs; None after it was withdrawn and until another could be made."""
        return self.of(KeyState.CURRENT)


Rings = Mapping[str, Ring]
"""Rings by purpose."""


def announced(ring: Ring, key: RingKey) -> Ring:
    """With `key` as the next one, unless there is one already.

    Where no key signs it signs at once: verifiers that do not know it are worse off without.
    """
    if ring.current is None:
        first = msgspec.structs.replace(key, state=KeyState.CURRENT)
        return msgspec.structs.replace(ring, keys=(first, *ring.keys))
    if ring.of(KeyState.NEXT) is not None:
        return ring
    coming = msgspec.structs.replace(key, state=KeyState.NEXT)
    return msgspec.structs.replace(ring, keys=(*ring.keys, coming))


def may_sign_at(ring: Ring) -> int | None:
    """When every verifier knows the next key (Unix seconds), or None if there is none."""
    coming = ring.of(KeyState.NEXT)
    return None if coming is None else coming.since + CACHE_S + MARGIN_S


def promoted(ring: Ring, *, now: int, life_s: int) -> Ring:
    """The next key signs; the one before verifies for the life of its tokens. No change if none."""
    if ring.of(KeyState.NEXT) is None:
        return ring
    keys: list[RingKey] = []
    for key in ring.keys:
        match key.state:
            case KeyState.NEXT:
                keys.insert(0, msgspec.structs.replace(key, state=KeyState.CURRENT))
            case KeyState.CURRENT:
                until = now + life_s + MARGIN_S
                state = KeyState.RETIRED
                keys.append(msgspec.structs.replace(key, state=state, until=until, handle={}))
            case KeyState.RETIRED:
                keys.append(key)
    return msgspec.structs.replace(ring, keys=tuple(keys))


def expired(ring: Ring, *, now: float) -> Ring:
    """Without the retired keys whose last token has ended."""
    keys = tuple(k for k in ring.keys if k.state is not KeyState.RETIRED or k.until > now)
    return ring if keys == ring.keys else msgspec.structs.replace(ring, keys=keys)


def crowded(ring: Ring, *, now: float) -> bool:
    """Whether it holds so many retired keys that none can be added before one has expired."""
    kept = (k for k in expired(ring, now=now).keys if k.state is KeyState.RETIRED)
    return sum(1 for _ in kept) >= MAX_RETIRED


def withdrawn(ring: Ring, kid: str) -> Ring:
    """Without that key, for good. If it signed, the next one signs instead, known or not."""
    going = next((key for key in ring.keys if key.kid == kid), None)
    if going is None:
        return ring
    keys = [key for key in ring.keys if key is not going]
    coming = ring.of(KeyState.NEXT)
    if going.state is KeyState.CURRENT and coming is not None:
        keys.remove(coming)
        keys.insert(0, msgspec.structs.replace(coming, state=KeyState.CURRENT))
    gone = (*ring.withdrawn, kid)[-MAX_WITHDRAWN:]
    return msgspec.structs.replace(ring, keys=tuple(keys), withdrawn=gone)


def problems(rings: Rings) -> list[str]:
    """What no set of rings may be; empty if it is sound."""
    found: list[str] = []
    for purpose, ring in rings.items():
        states = Counter(key.state for key in ring.keys)
        coming = states[KeyState.NEXT]
        if states[KeyState.CURRENT] > 1 or coming > 1 or (coming and not states[KeyState.CURRENT]):
            found.append(f"the ring {purpose} has more than one key that signs, or none and a next")
    uses = Counter(key.kid for ring in rings.values() for key in ring.keys)
    found += [f"the key {kid} stands in more than one place" for kid, n in uses.items() if n > 1]
    gone = {kid for ring in rings.values() for kid in ring.withdrawn}
    found += [f"the key {kid} was withdrawn and is back" for kid in uses if kid in gone]
    return found


__all__ = [
    "CACHE_S",
    "MARGIN_S",
    "MAX_RETIRED",
    "MAX_WITHDRAWN",
    "KeyState",
    "Ring",
    "RingKey",
    "Rings",
    "announced",
    "crowded",
    "expired",
    "may_sign_at",
    "problems",
    "promoted",
    "withdrawn",
]
