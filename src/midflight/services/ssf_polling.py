"""Answers polls of receivers (RFC 8936 §2): what was taken goes, what waits is given, in order.

A SET is given again until it is acknowledged. A poll may wait for an event, in bounds: meanwhile it
is in flight, and a revocation of who waits ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from midflight.domain.errors import Malformed
from midflight.domain.identity import Caller
from midflight.domain.revocation import ScopeKind
from midflight.domain.shared_stream import Method, Stream
from midflight.domain.value import Value
from midflight.services.flights import Flight, FlightKind
from midflight.services.interruption import Interruption
from midflight.services.ports.ssf_store import SharedSignalStore
from midflight.services.ssf_outbox import Outbox
from midflight.services.ssf_streams import TooMany

LONG_POLL_S = 25.0
"""How long a poll waits for an event; below the minute after which much in between gives up."""
MAX_WAITING = 2
"""Polls of one stream that wait at a time."""


class Poller(Value):
    """Who polls.

    Attributes:
        caller: as proved.
        scopes: all whose revocation ends the waiting.
        check: raises, of the tree, if he would not be let in now.
    """

    caller: Caller
    scopes: frozenset[tuple[ScopeKind, str]]
    check: Callable[[], Awaitable[None]]


class PollAnswers:
    """See the module."""

    def __init__(
        self,
        *,
        store: SharedSignalStore,
        outbox: Outbox,
        interruption: Interruption,
        long_poll_s: float = LONG_POLL_S,
    ) -> None:
        """`long_poll_s` bounds a poll that waits."""
        self._store = store
        self._outbox = outbox
        self._interruption = interruption
        self._long = long_poll_s

    async def poll(
        self,
        stream: Stream,
        who: Poller,
        *,
        most: int,
        wait: bool,
        acks: Sequence[str],
        errors: Mapping[str, tuple[str, str]],
    ) -> tuple[Mapping[str, str], bool]:
        """SETs by id, and whether there are more.

        Raises:
            Malformed: the stream is pushed.
            TooMany: too many polls of it wait already.
            Interrupted: who polls was revoked while he waited.
            Unavailable: nobody can sign, or the store does not answer.
        """
        if stream.method is not Method.POLL:
            raise Malformed("The events of this stream are pushed.")
        for jti, (err, description) in errors.items():
            await self._outbox.refused(stream.id, jti, f"{err}: {description}")
        if acks:
            await self._outbox.delivered(stream.id, acks)
        if most == 0:
            return {}, bool(await self._outbox.waiting(stream, limit=1))
        sets, more = await self._look(stream, most)
        if sets or not wait:
            return sets, more
        return await self._waited(stream.id, who, most)

    async def _waited(
        self, stream_id: str, who: Poller, most: int
    ) -> tuple[Mapping[str, str], bool]:
        # In the turn in which it begins to wait: many at once must not all find room.
        if self._outbox.waiters(stream_id) >= MAX_WAITING:
            raise TooMany("Other polls of this stream wait already.")
        flight = Flight(
            record="",
            run=who.caller.run or "",
            workload=who.caller.workload,
            upstream="",
            name="ssf/poll",
            scopes=who.scopes,
            began=self._interruption.clock.monotonic(),
            kind=FlightKind.POLL,
            token=who.caller.token,
        )
        self._interruption.take_off(flight)
        try:
            with self._outbox.watching(stream_id) as woken:
                flight.on_cut(lambda _: woken.set())
                found = await self._next(stream_id, flight, woken, most)
            # What ends him and is no revocation: he is disabled, his review is overdue.
            await who.check()
            flight.look()
            return found
        finally:
            self._interruption.leave(flight)

    async def _next(
        self, stream_id: str, flight: Flight, woken: asyncio.Event, most: int
    ) -> tuple[Mapping[str, str], bool]:
        """What comes within the time that a poll waits."""
        try:
            async with asyncio.timeout(self._long):
                while True:
                    woken.clear()
                    flight.look()
                    stream = await self._store.get_ssf_stream(stream_id)
                    if stream is None:
                        return {}, False
                    sets, more = await self._look(stream, most)
                    if sets:
                        return sets, more
                    await woken.wait()
        except TimeoutError:
            return {}, False

    async def _look(self, stream: Stream, most: int) -> tuple[Mapping[str, str], bool]:
        waiting = await self._outbox.waiting(stream, limit=most + 1)
        sets = {each.event.jti: await self._outbox.signed(each) for each in waiting[:most]}
        return sets, len(waiting) > most


__all__ = ["LONG_POLL_S", "MAX_WAITING", "PollAnswers", "Poller"]
