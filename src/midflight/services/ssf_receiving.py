"""Takes SETs of others: verified, durable, acted on, and only then acknowledged.

One door for pushes and polls. A SET counts once for its receiver, also after a crash: it is noted
before it is acted on, and what was noted and not acted on is acted on at the next start. Above:
`apps/ssf`, `ssf_poller.py`. Below: `ssf_effects.py`, the store, the key sets of the transmitters.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping, Sequence

import structlog

from midflight.domain.errors import MidflightError, NotFound, Unavailable
from midflight.domain.security_event import (
    STREAM_UPDATED,
    VERIFICATION,
    SecurityEvent,
    SetError,
    SetRefused,
    short,
)
from midflight.domain.shared_receiver import Effect, Reachable
from midflight.domain.shared_stream import Incoming
from midflight.domain.value import Value
from midflight.services.key_sets import KeySets, KeySource, holds
from midflight.services.ports.clock import Clock
from midflight.services.ports.ssf_delivery import Sets
from midflight.services.ports.ssf_store import SharedSignalStore
from midflight.services.ssf_effects import Effects

log = structlog.get_logger(__name__)

EXPECTED_S = 3_600
"""How long a verification that was asked for is waited for."""


class Transmitter(Value):
    """One transmitter whose SETs are taken.

    Attributes:
        name: what settings call it.
        keys: where its keys are; `keys.issuer` is what `iss` must be.
        audience: what must be in `aud`.
        max_age_s: how old `iat` may be.
        reachable: whom it may speak of.
        effects: what follows, by the last part of a type.
    """

    name: str
    keys: KeySource
    audience: str
    max_age_s: int
    reachable: Reachable
    effects: Mapping[str, Effect]


class Taken(Value):
    """A SET that may be acknowledged. `outcome` says what was done; `again` that it was before."""

    jti: str
    outcome: str
    again: bool = False


class Receiving:
    """See the module."""

    def __init__(
        self,
        transmitters: Sequence[Transmitter],
        *,
        sets: Sets,
        key_sets: KeySets,
        store: SharedSignalStore,
        effects: Effects,
        clock: Clock,
    ) -> None:
        """`sets` reads SETs: `midflight.wire.ssf`."""
        self.transmitters = {each.name: each for each in transmitters}
        self._sets = sets
        self._key_sets = key_sets
        self._store = store
        self._effects = effects
        self._clock = clock
        self._one_at_a_time = {name: asyncio.Lock() for name in self.transmitters}
        self._expected: dict[str, tuple[str, float]] = {}

    async def start(self) -> None:
        """Act on what was taken and not acted on before the last end.

        What cannot be acted on now stays, and is acted on when it comes again or at the next start.
        """
        for incoming in await self._store.unfinished_ssf_sets():
            transmitter = self.transmitters.get(incoming.receiver)
            if transmitter is None:
                await self._store.finish_ssf_set(
                    incoming.receiver, incoming.jti, "no such transmitter any more"
                )
                continue
            try:
                await self.take(transmitter.name, incoming.text)
            except MidflightError as error:
                log.warning("ssf_set_left", receiver=incoming.receiver, why=error.message)

    async def take(self, name: str, text: str, *, jti: str | None = None) -> Taken:
        """Take one SET; when this returns it may be acknowledged.

        Args:
            name: of the transmitter it came from.
            text: the compact JWS.
            jti: what the transmitter calls it, where it says so apart from the SET (RFC 8936).

        Raises:
            SetRefused: it does not hold; it is not to come again.
            Unavailable: it could not be verified or made durable; it is to come again.
        """
        transmitter = self.transmitters[name]
        event = await self._verified(transmitter, text)
        if jti is not None and jti != event.jti:
            raise SetRefused(
                SetError.INVALID_REQUEST, "The SET has another jti than it is sent as."
            )
        async with self._one_at_a_time[name]:
            if event.kind == VERIFICATION:
                self._check_state(transmitter, event)
            fresh = Incoming(receiver=name, jti=event.jti, text=text, at=int(self._clock.now()))
            known = await self._store.take_ssf_set(fresh)
            if known is not None and known.outcome:
                return Taken(jti=event.jti, outcome=known.outcome, again=True)
            outcome = await self._act(transmitter, event, retried=known is not None)
            await self._store.finish_ssf_set(name, event.jti, outcome)
            return Taken(jti=event.jti, outcome=outcome)

    def expect(self, name: str) -> str:
        """A fresh `state` for a verification that somebody is about to ask a transmitter for.

        Raises:
            NotFound: there is no such transmitter.
        """
        if name not in self.transmitters:
            raise NotFound(
                f"No transmitter is called {name}.", hint="midflight ssf receivers shows them."
            )
        state = self._clock.token()
        self._expected[name] = (state, self._clock.monotonic() + EXPECTED_S)
        return state

    async def sweep(self) -> None:
        """Forget SETs that are too old to be taken again."""
        now = int(self._clock.now())
        for name, transmitter in self.transmitters.items():
            # Twice the age: a clock that was set back must not let one in again.
            await self._store.prune_ssf_sets(name, before=now - 2 * transmitter.max_age_s)

    # Inside

    async def _verified(self, transmitter: Transmitter, text: str) -> SecurityEvent:
        kid, asked = self._sets.hint(text).kid, self._clock.monotonic()
        jwks = await self._key_sets.jwks(transmitter.keys, kid=kid)
        try:
            return self._sets.verify_set(
                text,
                issuer=transmitter.keys.issuer,
                audience=transmitter.audience,
                jwks=jwks,
                now=self._clock.now(),
                max_age_s=transmitter.max_age_s,
            )
        except SetRefused as refused:
            if refused.err is not SetError.INVALID_KEY or not kid or holds(jwks, kid):
                raise
            if self._key_sets.lacks(transmitter.keys, kid=kid, since=asked):
                raise
            # Refused, it would never come again; and its key may be one that was added just now.
            raise Unavailable(
                "The SET names a key that its issuer had not when it was asked last.",
                hint="Send it again in half a minute.",
            ) from None

    async def _act(self, transmitter: Transmitter, event: SecurityEvent, *, retried: bool) -> str:
        if event.kind == VERIFICATION:
            self._expected.pop(transmitter.name, None)
            outcome = "verified"
        elif event.kind == STREAM_UPDATED:
            outcome = f"stream {event.event['status']}"
        else:
            effect = transmitter.effects.get(short(event.kind), Effect.NOTE)
            outcome = await self._effects.of(
                event,
                name=transmitter.name,
                reachable=transmitter.reachable,
                effect=effect,
                retried=retried,
            )
        await self._effects.record(event, name=transmitter.name, outcome=outcome)
        return outcome

    def _check_state(self, transmitter: Transmitter, event: SecurityEvent) -> None:
        """SSF 1.0 §8.1.4: a state is as expected. An event that nobody asked for has none."""
        state = event.event.get("state")
        if state is None:
            return
        expected, until = self._expected.get(transmitter.name, ("", 0.0))
        good = hmac.compare_digest(str(state).encode(), expected.encode())
        if not expected or not good or self._clock.monotonic() > until:
            raise SetRefused(
                SetError.INVALID_STATE, "This verification was not asked for with that state."
            )


__all__ = ["EXPECTED_S", "Receiving", "Taken", "Transmitter"]
