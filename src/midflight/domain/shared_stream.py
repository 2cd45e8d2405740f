"""Streams of security events to others, and what waits in them (SSF 1.0 §8).

A stream belongs to the client that made it, and is seen by nobody else. What is queued for it is
sent in the order in which it was queued, at least once.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from midflight.domain.security_event import OF_STREAMS, SENT
from midflight.domain.subject_identifiers import Subject, covers
from midflight.domain.value import Discreet, JSONObject, Value

MAX_DESCRIPTION: Final = 256
MAX_REASON: Final = 256
MAX_REMOVED: Final = 1_000
"""Subjects that one stream may leave out."""


class Method(enum.StrEnum):
    """How a stream's events get to its receiver."""

    PUSH = "urn:ietf:rfc:8935"
    POLL = "urn:ietf:rfc:8936"


class StreamStatus(enum.StrEnum):
    """SSF 1.0 §8.1.2.1. Stored: append, never change."""

    ENABLED = "enabled"
    PAUSED = "paused"
    DISABLED = "disabled"


class Stream(Discreet):
    """One stream.

    Attributes:
        id: `stream_id`.
        client: the OAuth client whose it is.
        aud: the audience of its SETs; never changes.
        method: how events get there.
        endpoint_url: where they are pushed to; empty for a stream that is polled.
        authorization: id of the sealed header that goes with each push; empty for none.
        requested: types that the receiver asked for.
        description: the receiver's own words.
        status, reason: whether events are sent, and why not.
        through: while it is not enabled, events up to this number go out still (0: none): the
            receiver is told first that its stream stops.
        removed: subjects that the receiver leaves out.
        created_at: Unix seconds.
        dropped: events that had no room since it was last said.
        held: an operator has stopped it, and only an operator lets it go on.
    """

    shown = ("id", "client", "method", "status")

    id: str
    client: str
    aud: str
    method: Method
    created_at: int
    endpoint_url: str = ""
    authorization: str = ""
    requested: tuple[str, ...] = ()
    description: str = ""
    status: StreamStatus = StreamStatus.ENABLED
    reason: str = ""
    through: int = 0
    removed: tuple[Subject, ...] = ()
    dropped: int = 0
    held: bool = False

    @property
    def delivered(self) -> tuple[str, ...]:
        """`events_delivered`: what is asked for and can be sent."""
        return tuple(kind for kind in SENT if kind in self.requested)

    def wants(self, kind: str, subject: Subject) -> bool:
        """Whether an event is queued for it. A disabled stream keeps nothing."""
        if self.status is StreamStatus.DISABLED:
            return False
        if kind in OF_STREAMS:
            return True
        return kind in self.requested and not any(covers(named, subject) for named in self.removed)


class StreamWish(Discreet):
    """What a receiver supplies. `msgspec.UNSET` is "not in the request"."""

    shown = ("method",)

    method: Method | msgspec.UnsetType = msgspec.UNSET
    endpoint_url: str = ""
    authorization: str = ""
    requested: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET


class Outgoing(Discreet):
    """An event for one stream. `claims` are those of its SET, which is signed when it is sent."""

    shown = ("stream", "jti", "kind")

    stream: str
    jti: str
    kind: str
    claims: JSONObject
    at: float


class Queued(Value):
    """An event that waits; `number` grows within a stream."""

    number: int
    event: Outgoing


class Incoming(Discreet):
    """A SET that was taken: durable before it is acted on, and acted on before it is acknowledged.

    `outcome` is empty until it was acted on.
    """

    shown = ("receiver", "jti", "outcome")

    receiver: str
    jti: str
    text: str
    at: int
    outcome: str = ""


__all__ = [
    "MAX_DESCRIPTION",
    "MAX_REASON",
    "MAX_REMOVED",
    "Incoming",
    "Method",
    "Outgoing",
    "Queued",
    "Stream",
    "StreamStatus",
    "StreamWish",
]
