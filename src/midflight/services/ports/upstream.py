"""How an action reaches an upstream, and how its answer comes back.

An adapter encodes the judged value, looks at the flight in the same turn of the loop as the write,
counts the bytes that leave, and makes the call cuttable. It speaks whatever generation of the
protocol the upstream speaks; the guard sees one form.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from midflight.domain.action import Action
from midflight.domain.lease import Placement
from midflight.domain.value import Discreet, JSONObject, Value
from midflight.services.ports.injection import NOTHING, Attachment

OnCut: TypeAlias = Callable[[str], Callable[[], None] | None]
"""What ends something that is cut, given the reason in words. What it returns wakes who waits."""


class Reply(Discreet):
    """The final answer to one action.

    Attributes:
        result: the `result` member, unknown fields included; None when there is an error.
        error: the JSON-RPC `error` member, or None.
        bytes_in: bytes that came back for it, notifications included.
        removed: how often a credential that Midflight had placed was taken out of what it says.
    """

    shown = ("bytes_in",)

    result: JSONObject | None
    error: JSONObject | None = None
    bytes_in: int = 0
    removed: int = 0


class ClientRequest(Discreet):
    """A request of the upstream to the client in the middle of an action.

    Elicitation, sampling or roots; `key` tells several apart when they are asked together.
    """

    shown = ("method",)

    key: str
    method: str
    params: JSONObject


class Sink(Protocol):
    """Where what happens before the final answer goes: the caller's side."""

    @property
    def capabilities(self) -> JSONObject:
        """The client's declared capabilities, which bound what an upstream may ask."""
        ...

    @property
    def takes_input_required(self) -> bool:
        """Whether the caller itself handles `input_required` results (modern generation)."""
        ...

    async def notify(self, method: str, params: JSONObject) -> None:
        """Pass a notification of the upstream on (progress, message). Waits for back-pressure."""
        ...

    async def ask(self, request: ClientRequest) -> JSONObject:
        """Pass a request of the upstream on and return the client's result.

        The answer is an action of its own and has been judged when this returns. Raises
        `Interrupted`, or `Conflict` when the client declines, cannot or does not answer in time.
        """
        ...


class Flight(Protocol):
    """The in-flight side of one action, owned by `services/interruption.py`."""

    def look(self) -> None:
        """Raise `Interrupted` if the action may no longer act.

        Called in the same turn of the event loop as each write to the upstream.
        """
        ...

    def on_cut(self, cut: OnCut) -> None:
        """What to do when the action is cut: synchronous, at once, with the reason in words.

        It must let the upstream's cancellation be sent beside the path, and make the pending call
        raise `Interrupted`: when what it returns is called, for all that is cut at once is ended
        before any of it comes back. Called at once if the flight is already cut. The last one
        counts.
        """
        ...

    def left(self, nbytes: int) -> None:
        """Count bytes of messages that have left towards the upstream.

        Those of the encoded JSON-RPC messages of the action and of answers in it: bodies of
        requests, lines without their end. The head of a request says nothing that the body does
        not, and is left out, so that an upstream can count the same whatever carries it. 0 says
        that something has left; a negative number takes back what never did.
        """
        ...

    def came(self, nbytes: int) -> None:
        """Count bytes that have come back."""
        ...


class RunSeat(Discreet):
    """For whom the adapter holds per-run state: sessions of the legacy generation, children.

    `capabilities` are those the client declared, since a session is opened with them.
    """

    shown = ("run", "workload")

    run: str
    workload: str
    capabilities: JSONObject = {}
    client_info: JSONObject = {}


CATALOGUE_SEAT: Final = RunSeat(
    run="",
    workload="",
    capabilities={"elicitation": {"form": {}, "url": {}}, "roots": {}, "sampling": {}},
)
"""The seat of Midflight's own requests, which learn what an upstream serves.

No run stands behind it. It declares all that some client may be able to do, since there are servers
that list a tool only to clients that can answer what it asks; what they ask here is declined."""


NoticeHandler = Callable[[str, str, JSONObject], None]
"""(run id or "" for the catalogue's own session, method, params): a notification that belongs to
no request, such as a changed list or an updated resource."""


class ServerInfo(Value):
    """What an upstream says about itself. `modern` is the generation it speaks."""

    modern: bool
    version: str
    capabilities: JSONObject
    info: JSONObject
    instructions: str = ""


class Upstream(Protocol):
    """One configured upstream."""

    @property
    def name(self) -> str:
        """Its name in the settings."""
        ...

    async def start(self, notices: NoticeHandler) -> None:
        """Get ready. Must not fail because the upstream is away; calls then do."""
        ...

    async def describe(self, *, attachment: Attachment = NOTHING) -> ServerInfo:
        """Reach it (again) and say what it is. `UpstreamUnavailable` if it does not answer."""
        ...

    @property
    def placements(self) -> frozenset[Placement]:
        """How a credential can be placed into its calls; `call` refuses all else."""
        ...

    def call(
        self,
        action: Action,
        *,
        seat: RunSeat,
        flight: Flight,
        sink: Sink,
        attachment: Attachment = NOTHING,
    ) -> Awaitable[Reply]:
        """Act, with what is attached placed into this call and into no other run's.

        What the run's seat needs beside the call (a session's own stream, its end) carries what was
        attached last. Midflight's own requests (`CATALOGUE_SEAT`) carry what the settings say: no
        run stands behind them, so nothing is leased for them unless settings name the credential.

        Raises `Interrupted` when cut, `UpstreamUnavailable` when nothing left, `UpstreamBroken`
        when something left and no usable answer came.
        """
        ...

    def release(self, lease: str, *, drain: bool) -> None:
        """A lease is over: nothing more is sent with it, and what was opened with it is closed.

        With `drain` what is under way may end first: a newer lease has taken its place.
        """
        ...

    async def end_run(self, run: str) -> None:
        """The run is over: close its sessions and stop its children."""
        ...

    async def close(self) -> None:
        """Stop everything, children included."""
        ...


__all__ = [
    "CATALOGUE_SEAT",
    "ClientRequest",
    "Flight",
    "NoticeHandler",
    "Reply",
    "RunSeat",
    "ServerInfo",
    "Sink",
    "Upstream",
]
