"""Key rings: which key signs for which purpose, rotated with an overlap and withdrawn at once.

The states are `domain/key_ring.py`'s, the open signers `key_signers.py`'s; here are the effects.
Every change is durable before it counts, and is recorded with who made it. Above stand the mints
of tokens and `midflight keys`; below the store of rings and the sources of keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from midflight.domain import key_ring
from midflight.domain.errors import Conflict, MidflightError, NotFound, Unavailable
from midflight.domain.identity import Author
from midflight.domain.key_ring import KeyState, Ring, RingKey, Rings
from midflight.domain.value import JSONObject, Value
from midflight.services.changes import record_change
from midflight.services.key_signers import KeysInUse
from midflight.services.ports.clock import Clock
from midflight.services.ports.key_rings import KeySource, RingStore
from midflight.services.ports.keys import Purpose, Signer
from midflight.services.ports.recorder import Recorder

log = structlog.get_logger(__name__)

SWEEPER = Author(name="midflight", proof="key-rotation")
PUBLISHED = (Purpose.ACCESS_TOKEN, Purpose.TRANSACTION_TOKEN, Purpose.CLIENT)
"""What `/.well-known/jwks.json` serves. Keys of JWT-SVIDs are in the SPIFFE bundle instead, and
those of SETs in a set of their own, so that no verifier of tokens takes a SET for one."""


class KeyView(Value):
    """One key as operators see it. Times are Unix seconds."""

    purpose: Purpose
    kid: str
    algorithm: str
    backend: str
    state: KeyState
    since: int
    signs_from: int | None = None
    until: int | None = None


class Rotation(Value):
    """What a rotation did: the key that is coming, and from when it signs (Unix seconds)."""

    purpose: Purpose
    kid: str
    signs_from: int
    breaks: str = ""


class Withdrawal(Value):
    """What a withdrawal did: the key that is gone, and the one that signs."""

    purpose: Purpose
    kid: str
    signs: str


class KeyRings:
    """See the module."""

    def __init__(
        self,
        *,
        store: RingStore,
        sources: Mapping[str, KeySource],
        backends: Mapping[Purpose, str],
        clock: Clock,
    ) -> None:
        """Nothing is read or made yet.

        Args:
            store: where rings are kept.
            sources: what makes and holds keys, by backend.
            backends: which backend new keys of a purpose are made in; `file` where it says none.
            clock: for overlaps.
        """
        self._store = store
        self._used = KeysInUse(sources=sources, clock=clock)
        self._backends = dict(backends)
        self._clock = clock
        self._recorder: Recorder | None = None
        self._wanted: dict[Purpose, None] = {}
        self._changing = asyncio.Lock()

    def want(self, purpose: Purpose) -> None:
        """Say that there is to be a ring for it; before `start`, which makes it."""
        self._wanted[purpose] = None

    def on_withdrawn(self, act: Callable[[], None]) -> None:
        """Call it whenever a key is withdrawn, so that what it signed is believed no longer."""
        self._used.on_withdrawn(act)

    async def start(self, recorder: Recorder) -> None:
        """Read the rings, make those that are wanted, and have every signer prove itself.

        Raises:
            Misconfigured: rings or keys are not usable.
            Unavailable: a module or service that holds a key does not answer.
        """
        self._recorder = recorder
        async with self._changing:
            rings = await self._store.change(self._without_expired)
            names = {*rings, *(purpose.value for purpose in self._wanted)}
            for name in sorted(names):
                if name not in rings or rings[name].current is None:
                    rings = await self._with_new(Purpose(name), first=True)
            await self._used.adopt(rings)

    async def close(self) -> None:
        """Release all sources."""
        await self._used.close()

    # What the hot path asks

    def signer(self, purpose: Purpose) -> Signer:
        """Who signs for the purpose now. `Unavailable` if nobody can."""
        return self._used.signer(purpose)

    def jwks(self, *purposes: Purpose) -> JSONObject:
        """Public keys of these purposes that verify now, those that sign first (RFC 7517 §5)."""
        return self._used.jwks(*purposes)

    def published(self) -> JSONObject:
        """The key set that anybody may fetch."""
        return self.jwks(*PUBLISHED)

    # What operators do

    def list(self) -> Sequence[KeyView]:
        """All keys, by purpose, the one that signs first."""
        now = self._clock.now()
        return [
            KeyView(
                purpose=Purpose(name),
                kid=key.kid,
                algorithm=key.jwk["alg"],
                backend=key.backend,
                state=key.state,
                since=key.since,
                signs_from=key_ring.may_sign_at(ring) if key.state is KeyState.NEXT else None,
                until=key.until or None,
            )
            for name, ring in sorted(self._used.rings.items())
            for key in key_ring.expired(ring, now=now).keys
        ]

    async def rotate(
        self, purpose: Purpose | None, *, author: Author, at_once: bool = False
    ) -> Sequence[Rotation]:
        """Announce the next key of a purpose, or of all. It signs once every verifier can know it.

        With `at_once` it signs now: verifiers that cached the set refuse its tokens for up to
        five minutes.

        Raises:
            NotFound: no ring for that purpose.
            Conflict: it was rotated so often that too many keys verify.
            Unavailable: no key can be made or opened; nothing has changed.
        """
        async with self._changing:
            rings = await self._store.read()
            if purpose is not None and purpose.value not in rings:
                raise NotFound(
                    f"There are no keys for {purpose.value}.", hint="midflight keys list."
                )
            names = rings if purpose is None else (purpose.value,)
            crowded = [n for n in names if key_ring.crowded(rings[n], now=self._clock.now())]
            if crowded:
                raise Conflict(
                    f"{key_ring.MAX_RETIRED} keys for {crowded[0]} verify beside the one that signs"
                    " already.",
                    hint="Wait until one has expired; a key that others know is to be withdrawn.",
                )
            return [await self._rotate(Purpose(name), author, at_once=at_once) for name in names]

    async def withdraw(self, kid: str, *, author: Author) -> Withdrawal:
        """Drop a key that others may know. Every token that it signed stops, everywhere here.

        If it signs and no other can be made, nobody signs until one can.

        Raises:
            NotFound: no ring has it.
            LedgerUnavailable: it is gone, and that is not recorded.
        """
        async with self._changing:
            name, going = _find(await self._store.read(), kid)
            rings = await self._store.change(
                lambda now: _with(now, name, key_ring.withdrawn(now[name], kid))
            )
            try:
                if rings[name].current is None:
                    self._used.forget(rings)
                    rings = await self._with_new(Purpose(name), first=True)
                await self._used.adopt(rings)
            except MidflightError as error:
                log.warning("no_key_signs", purpose=name, why=error.message)
            await self._discard(going)
            current = self._used.rings[name].current
            signs = "" if current is None else current.kid
            await self._record(f"key.withdraw {name}", author, kid=kid, signs=signs)
            return Withdrawal(purpose=Purpose(name), kid=kid, signs=signs)

    async def sweep(self) -> None:
        """Move on what is due, and take over what another process has changed.

        Raises:
            Unavailable, Misconfigured: a key cannot be made or opened; what signed before signs on
                where it may. Other purposes are looked after all the same.
        """
        failed: MidflightError | None = None
        async with self._changing:
            try:
                await self._used.adopt(await self._store.read())
            except MidflightError as error:
                failed = error
            for name in list(self._used.rings):
                try:
                    await self._move_on(Purpose(name))
                except MidflightError as error:
                    failed = failed or error
        if failed is not None:
            raise failed

    # Inside

    def _backend(self, purpose: Purpose) -> str:
        return self._backends.get(purpose, "file")

    async def _move_on(self, purpose: Purpose) -> None:
        ring, now = self._used.rings[purpose.value], self._clock.now()
        at = key_ring.may_sign_at(ring)
        if ring.current is None:
            await self._used.adopt(await self._with_new(purpose, first=True))
            kid = self.signer(purpose).public_jwk["kid"]
            await self._record(f"key.rotate {purpose.value}", SWEEPER, kid=kid, before="")
        elif at is not None and now >= at:
            await self._promote(purpose, SWEEPER)
        elif at is None and ring.current.backend != self._backend(purpose):
            await self._rotate(purpose, SWEEPER, at_once=False)
        elif key_ring.expired(ring, now=now) is not ring:
            await self._used.adopt(await self._store.change(self._without_expired))

    async def _rotate(self, purpose: Purpose, author: Author, *, at_once: bool) -> Rotation:
        rings = await self._with_new(purpose)
        coming = rings[purpose.value].of(KeyState.NEXT)
        at = key_ring.may_sign_at(rings[purpose.value])
        if coming is None or at is None:
            raise Conflict("Another process has just rotated these keys.")
        await self._used.adopt(rings)
        if not at_once:
            await self._record(f"key.announce {purpose.value}", author, kid=coming.kid, at=at)
            return Rotation(purpose=purpose, kid=coming.kid, signs_from=at)
        now = self._clock.now()
        await self._promote(purpose, author, early=now < at)
        told = (
            f"Whoever cached the key set before refuses tokens of {coming.kid} for up to"
            f" {key_ring.CACHE_S // 60} minutes."
        )
        breaks = told if now < at else ""
        return Rotation(purpose=purpose, kid=coming.kid, signs_from=int(now), breaks=breaks)

    async def _promote(self, purpose: Purpose, author: Author, *, early: bool = False) -> None:
        name = purpose.value
        before = self._used.rings[name]
        coming, going = before.of(KeyState.NEXT), before.current
        assert coming is not None
        assert going is not None
        # Opened first: a key that cannot sign must not take over from one that does.
        signer = await self._used.source(coming.backend).open(purpose, coming)

        ours = False

        def change(rings: Rings) -> Rings:
            nonlocal ours
            now, ring = self._clock.now(), rings[name]
            ours = ring.of(KeyState.NEXT) == coming
            if ours:
                ring = key_ring.promoted(ring, now=int(now), life_s=purpose.life_s)
            return _with(rings, name, key_ring.expired(ring, now=now))

        rings = await self._store.change(change)
        if ours:
            self._used.put(purpose, signer)
        await self._used.adopt(rings)
        if not ours:
            return  # another process was first, and has recorded it
        await self._discard(going)
        await self._record(
            f"key.rotate {name}", author, kid=coming.kid, before=going.kid, early=early
        )

    async def _with_new(self, purpose: Purpose, *, first: bool = False) -> Rings:
        """The rings with a new key of the purpose: the next one, or with `first` one that signs.

        A key is not made where there is one, and is destroyed if another process was quicker.
        """
        name, backend = purpose.value, self._backend(purpose)
        wanted = KeyState.CURRENT if first else KeyState.NEXT
        stored = await self._store.read()
        if name in stored and stored[name].of(wanted) is not None:
            return stored
        source = self._used.source(backend)
        made = await source.make(purpose)
        key = RingKey(
            kid=made.jwk["kid"],
            jwk=made.jwk,
            backend=backend,
            handle=made.handle,
            state=KeyState.NEXT,
            since=int(self._clock.now()),
        )

        def change(rings: Rings) -> Rings:
            ring = rings.get(name, Ring(keys=()))
            if ring.of(wanted) is not None:
                return rings
            return _with(rings, name, key_ring.announced(ring, key))

        kept = False
        try:
            await source.open(purpose, key)
            rings = await self._store.change(change)
            kept = any(one.kid == key.kid for one in rings[name].keys)
        finally:
            if not kept:
                await self._discard(key)
        return rings

    def _without_expired(self, rings: Rings) -> Rings:
        now = self._clock.now()
        return {name: key_ring.expired(ring, now=now) for name, ring in rings.items()}

    async def _discard(self, key: RingKey) -> None:
        """Destroy a private half that nothing needs any more; it is out of use in any case."""
        try:
            await self._used.source(key.backend).discard(key)
        except MidflightError as error:
            log.warning("key_not_destroyed", kid=key.kid, backend=key.backend, why=error.message)

    async def _record(self, what: str, author: Author, **details: Any) -> None:
        if self._recorder is None:
            raise Unavailable("Keys are not in use yet.")
        await record_change(
            self._recorder,
            at=self._clock.now(),
            what=what,
            author=author,
            details=msgspec.to_builtins(details),
        )


def _find(rings: Rings, kid: str) -> tuple[str, RingKey]:
    for name, ring in rings.items():
        for key in ring.keys:
            if key.kid == kid:
                return name, key
    raise NotFound("No ring has a key of that id.", hint="midflight keys list.")


def _with(rings: Rings, name: str, ring: Ring) -> Rings:
    return {**rings, name: ring}


__all__ = ["PUBLISHED", "KeyRings", "KeyView", "Rotation", "Withdrawal"]
