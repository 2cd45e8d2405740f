"""The outbox of security events: durable before anything is sent, in order within each stream.

An event is put once for every stream that wants it; what is in here survives the process. A stream
that is full takes no more: what finds no room is counted, recorded, and said when the stream goes
on. What was delivered is taken out afterwards, so a crash in between sends it again, with the same
`jti`. Above: whoever has something to say (`ssf_emitting.py`, `ssf_streams.py`). Below: the store.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Generator, Sequence

import msgspec

from midflight.domain.errors import LedgerUnavailable
from midflight.domain.records import Observed
from midflight.domain.security_event import (
    SET_TYPE,
    STREAM_UPDATED,
    VERIFICATION,
    SecurityEvent,
    claims_of,
)
from midflight.domain.shared_stream import Outgoing, Queued, Stream, StreamStatus
from midflight.domain.subject_identifiers import Opaque, Subject
from midflight.domain.value import JSONObject
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import TokenSigner
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.ssf_store import SharedSignalStore
from midflight.services.ports.telemetry import Telemetry

OWN_ROOM = 16
"""Events about a stream itself that find room in it though it is full."""


class Outbox:
    """See the module."""

    def __init__(
        self,
        *,
        store: SharedSignalStore,
        signer: TokenSigner,
        recorder: Recorder,
        clock: Clock,
        telemetry: Telemetry,
        issuer: str,
        bound: int,
    ) -> None:
        """`issuer` is the `iss` of SETs; `bound` how many wait in one stream at most."""
        self._store = store
        self._signer = signer
        self._recorder = recorder
        self._clock = clock
        self._telemetry = telemetry
        self.issuer = issuer
        self.bound = bound
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._listeners: list[Callable[[str], None]] = []

    def on_put(self, listener: Callable[[str], None]) -> None:
        """Tell this of each stream in which something new waits, or which goes on."""
        self._listeners.append(listener)

    # Putting

    async def tell(
        self,
        kind: str,
        subject: Subject,
        event: JSONObject,
        *,
        jti: str = "",
        txn: str = "",
    ) -> int:
        """Put an event for every stream that wants it; for how many it was.

        Args:
            kind: its type.
            subject: whom it is about.
            event: what stands under the type.
            jti: makes putting it twice as good as once, while it waits; default: a fresh one.
            txn: what caused it.

        Raises:
            StoreUnavailable: it is in none.
        """
        wanting = [s for s in await self._store.list_ssf_streams() if s.wants(kind, subject)]
        event = {"event_timestamp": int(self._clock.now()), **event}
        outgoing = [
            self._outgoing(stream, kind, subject, event, jti=jti, txn=txn) for stream in wanting
        ]
        await self._put(outgoing)
        return len(outgoing)

    async def put(self, stream: Stream, kind: str, subject: Subject, event: JSONObject) -> Outgoing:
        """Put an event for one stream, of which it is about itself."""
        outgoing = self._outgoing(stream, kind, subject, event)
        # That a stream is full must not keep its receiver from being told that it stops.
        await self._put([outgoing], extra=OWN_ROOM)
        return outgoing

    async def verify(self, stream: Stream, state: str | None) -> None:
        """Put a verification event (SSF 1.0 §8.1.4)."""
        event: JSONObject = {} if state is None else {"state": state}
        await self.put(stream, VERIFICATION, Opaque(id=stream.id), event)

    async def updated(self, stream: Stream, status: StreamStatus, reason: str) -> int:
        """Put a stream-updated event (SSF 1.0 §8.1.5), and return its number, or 0 without room."""
        event: JSONObject = {"status": status.value, **({"reason": reason} if reason else {})}
        put = await self.put(stream, STREAM_UPDATED, Opaque(id=stream.id), event)
        waiting = await self._store.queued_ssf_events(stream.id, limit=self.bound + OWN_ROOM)
        return next((each.number for each in waiting if each.event.jti == put.jti), 0)

    async def _put(self, events: Sequence[Outgoing], *, extra: int = 0) -> None:
        without = await self._store.queue_ssf_events(events, bound=self.bound + extra)
        self._telemetry.count("ssf_events_queued", len(events) - len(without))
        for event in without:
            self._telemetry.count("ssf_events_dropped")
            self.observed("ssf.overflow", event.stream, jti=event.jti, kind=event.kind)
        for name in {event.stream for event in events}:
            self.wake(name)

    def _outgoing(
        self,
        stream: Stream,
        kind: str,
        subject: Subject,
        event: JSONObject,
        *,
        jti: str = "",
        txn: str = "",
    ) -> Outgoing:
        now = self._clock.now()
        said = SecurityEvent(
            issuer=self.issuer,
            # One SET has one audience, so each stream has a SET of its own (SSF 1.0 §4.1.7).
            jti=f"{jti}.{stream.id}" if jti else f"set_{self._clock.token()}",
            issued_at=int(now),
            kind=kind,
            subject=subject,
            event=event,
            txn=txn or f"txn_{self._clock.token()}",
        )
        return Outgoing(
            stream=stream.id,
            jti=said.jti,
            kind=kind,
            claims=claims_of(said, audience=stream.aud),
            at=now,
        )

    # Taking

    async def waiting(self, stream: Stream, *, limit: int) -> Sequence[Queued]:
        """What may be delivered now, in order."""
        through = None if stream.status is StreamStatus.ENABLED else stream.through
        if through == 0:
            return []
        return await self._store.queued_ssf_events(stream.id, limit=limit, through=through)

    async def signed(self, queued: Queued) -> str:
        """The SET of an event. `Unavailable` if nobody can sign."""
        return await self._signer.mint({"typ": SET_TYPE}, queued.event.claims)

    async def delivered(self, stream_id: str, jtis: Collection[str]) -> int:
        """Take out what was taken; how many of them there were."""
        gone = await self._store.unqueue_ssf_events(stream_id, jtis)
        self._telemetry.count("ssf_events_delivered", gone)
        return gone

    async def refused(self, stream_id: str, jti: str, why: str) -> None:
        """Take out what its receiver will never take, and record that."""
        if await self._store.unqueue_ssf_events(stream_id, [jti]):
            self._telemetry.count("ssf_events_refused")
            self.observed("ssf.refused", stream_id, jti=jti, why=why)

    def observed(self, what: str, stream_id: str, **details: str | int) -> None:
        """Record something that happened to a stream. It holds up no delivery."""
        try:
            self._recorder.append(
                Observed(
                    at=self._clock.now(),
                    what=what,
                    subject=stream_id,
                    details=msgspec.to_builtins(details),
                )
            )
        except LedgerUnavailable:
            return  # counted by the ledger as dropped

    # Waiting

    def wake(self, stream_id: str) -> None:
        """Have whoever waits for a stream look again."""
        for event in self._waiting.get(stream_id, ()):
            event.set()
        for listener in self._listeners:
            listener(stream_id)

    @contextlib.contextmanager
    def watching(self, stream_id: str) -> Generator[asyncio.Event]:
        """An event that is set whenever the stream is to be looked at.

        Clear it, look, and then wait: so nothing that comes in between is missed.
        """
        woken = asyncio.Event()
        self._waiting.setdefault(stream_id, set()).add(woken)
        try:
            yield woken
        finally:
            waiting = self._waiting[stream_id]
            waiting.discard(woken)
            if not waiting:
                del self._waiting[stream_id]

    def waiters(self, stream_id: str) -> int:
        """How many wait for a stream."""
        return len(self._waiting.get(stream_id, ()))


__all__ = ["OWN_ROOM", "Outbox"]
