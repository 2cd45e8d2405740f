"""Operations on shared signals: streams, what waits in them, transmitters that are listened to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.errors import Conflict
from midflight.domain.security_event import short
from midflight.domain.shared_stream import MAX_REASON, Stream, StreamStatus
from midflight.domain.value import Value

LATEST = 20
SHOWN = 100


class KnownStream(Value):
    """A stream as operators see it. Never the secret that goes with its pushes."""

    stream_id: str
    client: str
    method: str
    endpoint_url: str
    status: StreamStatus
    reason: str
    events: tuple[str, ...]
    waiting: int
    dropped: int
    created_at: int


class WaitingEvent(Value):
    """An event that waits. Its subject is not shown here: it is in the record of its cause."""

    stream_id: str
    number: int
    jti: str
    kind: str
    cause: str
    at: float


class TakenSet(Value):
    """A SET that was taken of a transmitter."""

    jti: str
    at: int
    outcome: str


class KnownReceiver(Value):
    """A transmitter that is listened to. `problem` says why its polls fail."""

    name: str
    issuer: str
    audience: str
    push: bool
    poll: bool
    problem: str
    workloads: tuple[str, ...]
    effects: dict[str, str]
    latest: tuple[TakenSet, ...]


class WantedStatus(Input):
    """A stream, what it shall be, and why; its receiver is told both."""

    stream_id: str
    status: StreamStatus
    reason: str = ""


class NamedReceiver(Input):
    """A transmitter by its name in the settings."""

    name: str


class ExpectedState(Value):
    """The `state` to verify a stream of a transmitter with, within an hour."""

    name: str
    state: str


class SharedSignalVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._signals = plane.signals
        self._store = plane.parts.store
        self._rows = plane.settings.ssf.receive

    async def list_streams(self, given: Empty, operator: Operator) -> Sequence[KnownStream]:
        """All streams, oldest first."""
        del given, operator
        return [await self._known(each) for each in await self._store.list_ssf_streams()]

    async def list_outbox(self, given: Empty, operator: Operator) -> Sequence[WaitingEvent]:
        """What waits, the first hundred of each stream."""
        del given, operator
        return [
            WaitingEvent(
                stream_id=stream.id,
                number=each.number,
                jti=each.event.jti,
                kind=short(each.event.kind),
                cause=str(each.event.claims.get("txn", "")),
                at=each.event.at,
            )
            for stream in await self._store.list_ssf_streams()
            for each in await self._store.queued_ssf_events(stream.id, limit=SHOWN)
        ]

    async def list_receivers(self, given: Empty, operator: Operator) -> Sequence[KnownReceiver]:
        """Transmitters that are listened to, and what they sent last."""
        del given, operator
        states = self._signals.poller.states
        return [
            KnownReceiver(
                name=row.name,
                issuer=row.issuer,
                audience=row.audience,
                push=row.push_secret is not None,
                poll=row.poll is not None,
                problem=states[row.name].problem if row.name in states else "",
                workloads=row.workloads,
                effects={name: effect.value for name, effect in row.all_effects().items()},
                latest=tuple(
                    TakenSet(jti=each.jti, at=each.at, outcome=each.outcome or "not done yet")
                    for each in await self._store.last_ssf_sets(row.name, limit=LATEST)
                ),
            )
            for row in self._rows
        ]

    async def set_status(self, given: WantedStatus, operator: Operator) -> KnownStream:
        """Stop a stream, or let it go on. Its receiver is told."""
        sending = self._signals.transmitting
        if sending is None:
            raise Conflict("No events are sent here.", hint="Set transmit = true in [ssf].")
        stream = await sending.streams.decide(
            given.stream_id, given.status, operator.author, reason=given.reason[:MAX_REASON]
        )
        return await self._known(stream)

    async def expect(self, given: NamedReceiver, operator: Operator) -> ExpectedState:
        """A fresh state to verify a stream of a transmitter with."""
        del operator
        return ExpectedState(name=given.name, state=self._signals.receiving.expect(given.name))

    async def _known(self, stream: Stream) -> KnownStream:
        return KnownStream(
            stream_id=stream.id,
            client=stream.client,
            method=stream.method.name.lower(),
            endpoint_url=stream.endpoint_url,
            status=stream.status,
            reason=stream.reason,
            events=tuple(map(short, stream.delivered)),
            waiting=await self._store.count_ssf_events(stream.id),
            dropped=stream.dropped,
            created_at=stream.created_at,
        )

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/ssf/streams",
                summary="Streams of security events to others.",
                input=Empty,
                answer=list[KnownStream],
                act=self.list_streams,
            ),
            Operation(
                method="POST",
                path="/v1/ssf/streams/status",
                summary="Pause, disable or enable a stream; its receiver is told first.",
                input=WantedStatus,
                answer=KnownStream,
                act=self.set_status,
                socket_only=True,
            ),
            Operation(
                method="GET",
                path="/v1/ssf/outbox",
                summary="Security events that wait to be delivered.",
                input=Empty,
                answer=list[WaitingEvent],
                act=self.list_outbox,
            ),
            Operation(
                method="GET",
                path="/v1/ssf/receivers",
                summary="Transmitters that are listened to, and what they sent last.",
                input=Empty,
                answer=list[KnownReceiver],
                act=self.list_receivers,
            ),
            Operation(
                method="POST",
                path="/v1/ssf/receivers/expect",
                summary="A fresh state to verify a stream of a transmitter with.",
                input=NamedReceiver,
                answer=ExpectedState,
                act=self.expect,
            ),
        )


__all__ = [
    "ExpectedState",
    "KnownReceiver",
    "KnownStream",
    "NamedReceiver",
    "SharedSignalVerbs",
    "TakenSet",
    "WaitingEvent",
    "WantedStatus",
]
