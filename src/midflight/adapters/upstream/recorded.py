"""An upstream that only says what was recorded: for replays, where nothing is acted on.

It keeps the adapter's side of the contract: it looks at the flight in the turn of the "write",
counts what leaves and comes back, and answers only what it was given to say. Above: the replay of
recorded runs; beside it are the adapters that reach servers.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import UpstreamUnavailable
from midflight.domain.lease import Placement
from midflight.domain.value import JSONObject
from midflight.services.ports.injection import NOTHING, Attachment
from midflight.services.ports.upstream import (
    Flight,
    NoticeHandler,
    Reply,
    RunSeat,
    ServerInfo,
    Sink,
)

_VERSION = "2026-07-28"


class RecordedUpstream:
    """See the module. Implements `services/ports/upstream.py`."""

    def __init__(self, name: str, tools: Sequence[JSONObject]) -> None:
        """`tools` are definitions as a server would list them."""
        self.name = name
        self._tools = list(tools)
        self._next: Reply | None = None

    def says(self, result: JSONObject) -> None:
        """Answer the next call, and only that, with this result."""
        self._next = Reply(result=result, bytes_in=len(msgspec.json.encode(result)))

    async def start(self, notices: NoticeHandler) -> None:
        """It says nothing unasked."""

    async def describe(self, *, attachment: Attachment = NOTHING) -> ServerInfo:
        """A modern server with tools."""
        del attachment
        return ServerInfo(
            modern=True, version=_VERSION, capabilities={"tools": {}}, info={"name": self.name}
        )

    @property
    def placements(self) -> frozenset[Placement]:
        """All: nothing leaves, so nothing has to be placed."""
        return frozenset(Placement)

    async def call(
        self,
        action: Action,
        *,
        seat: RunSeat,
        flight: Flight,
        sink: Sink,
        attachment: Attachment = NOTHING,
    ) -> Reply:
        """What was recorded. `UpstreamUnavailable` if nothing was."""
        del seat, sink, attachment
        if action.kind is ActionKind.LIST:
            return Reply(result={"tools": self._tools})
        reply, self._next = self._next, None
        flight.look()
        if reply is None:
            raise UpstreamUnavailable(f"Nothing was recorded for this call of {self.name}.")
        flight.left(len(msgspec.json.encode(action.arguments)))
        flight.came(reply.bytes_in)
        return reply

    def release(self, lease: str, *, drain: bool) -> None:
        """It holds none."""

    async def end_run(self, run: str) -> None:
        """It holds nothing of a run."""

    async def close(self) -> None:
        """Forget what was to be said."""
        self._next = None


__all__ = ["RecordedUpstream"]
