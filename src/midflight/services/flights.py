"""One piece of work in flight: what it touches, what has left, and how to cut it.

The registry is `interruption.py`, in which order flights are cut is `cutting.py`; adapters see the
`Flight` protocol of `ports/upstream.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import Interrupted
from midflight.domain.revocation import ScopeKind
from midflight.domain.value import Value
from midflight.services.ports.upstream import OnCut


class FlightKind(enum.StrEnum):
    """What goes on. Shown to people, and counted in impact records: append, never change."""

    CALL = "call"
    STDIO = "stdio"
    """A call that a child process of ours works on."""
    STREAM = "stream"
    """Something listens: a client's stream of notices, a subscription, a control stream."""
    TASK = "task"
    """An upstream works on for a call that it has answered (MCP tasks)."""
    POLL = "poll"
    """A call that waits for what another one has begun."""
    APPROVAL = "approval"
    """An action waits for people."""
    LEASE = "lease"
    """A credential is lent."""


class FlightStatus(Value):
    """A flight as shown to people. `record` is empty for what is no action of its own."""

    record: str
    run: str
    workload: str
    upstream: str
    name: str
    age_s: float
    bytes_out: int
    bytes_in: int
    kind: FlightKind = FlightKind.CALL
    note: str = ""
    """What it waits for, in words; empty of what is acting."""


class Flight:
    """An action between its intent and its outcome, or what goes on beside actions.

    Mutable, owned by whoever entered it, and used on one event loop. Entering the registry costs
    0.7 µs; a cancel scope would cost 5.5 (measured), so cutting is a callback.

    It ends early in three steps: once it is denied (`deny`) nothing of it leaves and nothing that
    comes back is delivered; then it is severed (`sever`), which ends it at the upstream and tells
    its caller; at last whoever waits for it is woken, which is most of the work.
    """

    __slots__ = (
        "_cut",
        "_on_cut",
        "_severed",
        "_tell",
        "began",
        "completed",
        "credentials",
        "departed",
        "effectful",
        "kind",
        "name",
        "received",
        "record",
        "run",
        "scopes",
        "sent",
        "token",
        "upstream",
        "workload",
    )

    def __init__(
        self,
        *,
        record: str,
        run: str,
        workload: str,
        upstream: str,
        name: str,
        scopes: frozenset[tuple[ScopeKind, str]],
        began: float,
        kind: FlightKind = FlightKind.CALL,
        effectful: bool = False,
        token: str = "",
    ) -> None:
        """What is in flight.

        `scopes` are all scopes whose revocation cuts it; `began` is monotonic seconds; what is
        `effectful` is cut before what only reads; `token` is the one that it came with.
        """
        self.record = record
        self.run = run
        self.workload = workload
        self.upstream = upstream
        self.name = name
        self.scopes = scopes
        self.began = began
        self.kind = kind
        self.effectful = effectful
        self.token = token
        self.credentials: tuple[str, ...] = ()
        """Names of the credentials that go with it."""
        self.sent = 0
        self.received = 0
        self.departed = False
        """Whether anything of it may have reached the upstream."""
        self.completed = False
        self._cut: Interrupted | None = None
        self._on_cut: OnCut | None = None
        self._tell: Callable[[Interrupted], object] | None = None
        self._severed = False

    def look(self) -> None:
        """Raise `Interrupted` if the action may no longer act."""
        if self._cut is not None:
            # All that is cut at once shares it: else it would keep the frames, and so the
            # arguments, of each of them until the last has ended.
            raise self._cut.with_traceback(None)

    def on_cut(self, cut: OnCut) -> None:
        """Register what cuts it; called at once if it is cut already. See `ports/upstream.py`."""
        self._on_cut = cut
        if self._cut is not None:
            self._severed = True
            wake = cut(self._cut.message)
            if wake is not None:
                wake()

    def tell_with(self, tell: Callable[[Interrupted], object]) -> None:
        """Register what tells its caller, once, that it is cut, before it finds out itself."""
        self._tell = tell

    def left(self, nbytes: int) -> None:
        """Count bytes of messages that have left towards the upstream; see `ports/upstream.py`."""
        self.sent += nbytes
        self.departed = True

    def came(self, nbytes: int) -> None:
        """Count bytes that have come back."""
        self.received += nbytes

    def deny(self, why: Interrupted) -> None:
        """From now on nothing of it leaves, and nothing is delivered. The first reason stands."""
        if self._cut is None:
            self._cut = why

    def sever(self) -> Callable[[], None] | None:
        """End it at the upstream, if it is denied. Once.

        Returns what wakes whoever waits for it, if there is anything left to wake.
        """
        if self._cut is None or self._severed:
            return None
        self._severed = True
        return None if self._on_cut is None else self._on_cut(self._cut.message)

    def tell(self) -> None:
        """Tell its caller that it is cut, unless it is too late for that. Once."""
        tell, self._tell = self._tell, None
        if tell is not None and self._cut is not None and not self.completed:
            tell(self._cut)

    def cut(self, why: Interrupted) -> None:
        """Deny and sever it: what is pending fails at once with `why`. The first cut stands."""
        self.deny(why)
        wake = self.sever()
        if wake is not None:
            wake()

    @property
    def interrupted(self) -> Interrupted | None:
        """Why it was cut, or None."""
        return self._cut

    @property
    def severed(self) -> bool:
        """Whether it has been cut through, and not only been denied."""
        return self._severed

    def status(self, now: float) -> FlightStatus:
        """For people; `now` is monotonic seconds."""
        return FlightStatus(
            record=self.record,
            run=self.run,
            workload=self.workload,
            upstream=self.upstream,
            name=self.name,
            age_s=max(0.0, now - self.began),
            bytes_out=self.sent,
            bytes_in=self.received,
            kind=self.kind,
        )


def kind_of(action: Action, *, child: bool) -> FlightKind:
    """What an action is in the registry; `child` if a child process of ours is its upstream."""
    if action.kind is ActionKind.SUBSCRIBE and action.method == "subscriptions/listen":
        return FlightKind.STREAM
    if action.method == "tasks/result":
        return FlightKind.POLL
    return FlightKind.STDIO if child else FlightKind.CALL


__all__ = ["Flight", "FlightKind", "FlightStatus", "kind_of"]
