"""The two ends of a call as a test plays them: the upstream behind it and the client before it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from midflight.domain.action import Action, ActionKind
from midflight.domain.lease import Placement
from midflight.domain.value import JSONObject
from midflight.services.ports.injection import NOTHING, Attachment
from midflight.services.ports.upstream import (
    ClientRequest,
    Flight,
    NoticeHandler,
    Reply,
    RunSeat,
    ServerInfo,
    Sink,
)

Script = Callable[[Action, Flight, Sink], Awaitable[Reply]]
"""What a tool does."""


class ScriptedUpstream:
    """An upstream whose tools are coroutines of the test.

    It behaves as adapters must: it looks at the flight in the turn of the write, counts bytes,
    and fails at once when it is cut.
    """

    def __init__(self, name: str, tools: Sequence[JSONObject]) -> None:
        """`tools` are definitions as served; every one answers `{"content": []}` until scripted."""
        self.name = name
        self.tools = list(tools)
        self.scripts: dict[str, Script] = {}
        self.received: list[Action] = []
        self.attached: list[Attachment] = []
        """What each of `received` came with."""
        self.released: list[tuple[str, bool]] = []
        self.ended: list[str] = []
        self.placements = frozenset(Placement)

    async def start(self, notices: NoticeHandler) -> None:
        """Keep the handler, for tests that send notices."""
        self.notices = notices

    async def describe(self, *, attachment: Attachment = NOTHING) -> ServerInfo:
        """A modern server with tools."""
        del attachment
        return ServerInfo(modern=True, version="2026-07-28", capabilities={"tools": {}}, info={})

    async def call(
        self,
        action: Action,
        *,
        seat: RunSeat,
        flight: Flight,
        sink: Sink,
        attachment: Attachment = NOTHING,
    ) -> Reply:
        """Run the script of the tool."""
        if action.kind is ActionKind.LIST:
            return Reply(result={"tools": self.tools})
        del seat
        cut: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        flight.on_cut(lambda _: None if cut.done() else cut.set_result(None))
        flight.look()
        self.received.append(action)
        self.attached.append(attachment)
        flight.left(100)
        script = self.scripts.get(action.name)
        if script is None:
            return Reply(result={"content": []}, bytes_in=10)
        task = asyncio.ensure_future(script(action, flight, sink))
        try:
            await asyncio.wait({task, cut}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            flight.look()
            raise AssertionError("a cut flight must not look well")
        finally:
            task.cancel()
            cut.cancel()

    def release(self, lease: str, *, drain: bool) -> None:
        """Note it."""
        self.released.append((lease, drain))

    async def end_run(self, run: str) -> None:
        """Note it."""
        self.ended.append(run)

    async def close(self) -> None:
        """Nothing to stop."""


class ListSink:
    """A client that keeps what it is sent and answers questions from a list."""

    takes_input_required = False

    def __init__(
        self, answers: Sequence[JSONObject] = (), capabilities: JSONObject | None = None
    ) -> None:
        """`answers` are given in order."""
        self.capabilities = capabilities or {}
        self.notified: list[tuple[str, JSONObject]] = []
        self.asked: list[ClientRequest] = []
        self._answers = list(answers)

    async def notify(self, method: str, params: JSONObject) -> None:
        """Keep it."""
        self.notified.append((method, params))

    async def ask(self, request: ClientRequest) -> JSONObject:
        """The next answer."""
        self.asked.append(request)
        return self._answers.pop(0)


__all__ = ["ListSink", "Script", "ScriptedUpstream"]
