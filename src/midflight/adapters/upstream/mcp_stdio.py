"""An MCP server as a child process: the `Upstream` of stdio, both generations.

A child serves one run and no other, unless its upstream is declared stateless: then one child
serves all, and is told of no client's capabilities when it opens a legacy session. A
leased credential is in the environment of the run's own child alone; another one takes another
child, and the one before ends when its calls have. Above stands the guard, below `child` and
`session`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine, Mapping, Sequence
from typing import cast

import msgspec

from midflight.adapters.upstream.child import Child, ChildSpec
from midflight.adapters.upstream.handshake import (
    CATALOGUE,
    discovered,
    initialize_params,
    initialized,
    with_modern_meta,
)
from midflight.adapters.upstream.once import Once
from midflight.adapters.upstream.passage import UNSOLICITED, CallTimeouts, Passage
from midflight.adapters.upstream.session import Conversation
from midflight.domain.action import Action
from midflight.domain.errors import (
    LeaseUnavailable,
    Malformed,
    UpstreamBroken,
    UpstreamUnavailable,
)
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
from midflight.wire.jsonrpc import (
    Message,
    Notification,
    Request,
    Response,
    decode_batch,
    decode_message,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
    is_batch,
)
from midflight.wire.malformed import METHOD_NOT_FOUND, UNSUPPORTED_VERSION
from midflight.wire.mcp.meta import SUBSCRIPTION_ID
from midflight.wire.mcp.versions import LEGACY, MODERN

# Bytes that may wait for one call's client before the call is given up: a client that does not
# read must not stand in the way of others on a shared child.
_MAX_INBOX = 8 * 1024 * 1024
# How long a server may be silent on `server/discover` before it counts as legacy, which need not
# answer what it does not know (2026-07-28, stdio §Backward Compatibility).
DISCOVERY_SECONDS = 10.0
DRAIN_SECONDS = 10.0
"""How long the calls on a child may go on when another credential has taken another child."""
# Nobody could say which run's client a question on a shared child is for; so it may ask nothing.
_SHARED = RunSeat(run=CATALOGUE.run, workload="")


class McpStdioUpstream:
    """One upstream over stdio.

    Args:
        name: its name in the settings.
        command, args, env, cwd: what to run; see `ChildSpec`.
        stateless: one child serves all runs.
        discovery: seconds that `server/discover` may take before the server counts as legacy.
    """

    def __init__(
        self,
        name: str,
        command: str,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stateless: bool = False,
        spec: ChildSpec | None = None,
        timeouts: CallTimeouts | None = None,
        discovery: float = DISCOVERY_SECONDS,
        backoff: float = 1.0,
    ) -> None:
        self._name = name
        self._spec = spec or ChildSpec(
            command=command, args=tuple(args), env=dict(env or {}), cwd=cwd
        )
        self._stateless = stateless
        self._timeouts = timeouts or CallTimeouts()
        self._discovery = discovery
        self._conversation = Conversation(name, timeouts=self._timeouts, backoff=backoff)
        self._lines: dict[str, Once[_Line]] = {}
        # What of each run's child is leased: the leases, and the variables.
        self._equipped: dict[str, Attachment] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def name(self) -> str:
        """Its name in the settings."""
        return self._name

    @property
    def placements(self) -> frozenset[Placement]:
        """Arguments, and the environment of a run's own child."""
        if self._stateless:
            return frozenset({Placement.ARGUMENT})
        return frozenset({Placement.ARGUMENT, Placement.ENV})

    async def start(self, notices: NoticeHandler) -> None:
        """Tell notices to `notices`. Nothing is spawned yet."""
        self._conversation.start(notices)

    async def describe(self, *, attachment: Attachment = NOTHING) -> ServerInfo:
        """Ask the catalogue's child, a fresh one if it had died, what it is."""
        del attachment
        line = await self._line(CATALOGUE)
        return line.info

    async def call(
        self,
        action: Action,
        *,
        seat: RunSeat,
        flight: Flight,
        sink: Sink,
        attachment: Attachment = NOTHING,
    ) -> Reply:
        """Act. See `Upstream.call`."""
        with self._conversation.passage(
            action, seat=seat, flight=flight, sink=sink, attachment=attachment
        ) as passage:
            if attachment is not NOTHING or self._equipped:
                self._equip(seat, attachment)
                # In the turn in which a child may be spawned with it.
                passage.look()
            line = await self._line(seat)
            passage.check()
            return await self._conversation.perform(line, passage)

    async def end_run(self, run: str) -> None:
        """Stop the run's child."""
        self._conversation.forget(run)
        if not (self._stateless or run == CATALOGUE.run):
            self._equipped.pop(run, None)
            await self._stop(run)

    def release(self, lease: str, *, drain: bool) -> None:
        """See `Upstream.release`. The child that has it in its environment ends."""
        for run in [run for run, has in self._equipped.items() if lease in has.leases]:
            del self._equipped[run]
            self._replace(run, drain=drain)

    async def close(self) -> None:
        """Stop all children, side by side."""
        self._closed = True
        await self._conversation.close()
        await asyncio.gather(*(self._stop(run) for run in list(self._lines)))
        if self._ending:
            await asyncio.wait(self._ending)

    # Inside

    def _equip(self, seat: RunSeat, attachment: Attachment) -> None:
        """Let the run's child be one that has this environment."""
        if (
            attachment.headers
            or attachment.query
            or attachment.signers
            or attachment.certificate is not None
        ):
            raise LeaseUnavailable(
                f"Upstream {self._name} is a program and takes no headers and no certificate.",
                hint="Place the credential into its environment.",
            )
        has = self._equipped.get(seat.run, NOTHING)
        if attachment.env == has.env:
            if attachment.env:
                self._equipped[seat.run] = attachment
            return
        if self._stateless:
            raise LeaseUnavailable(
                f"Upstream {self._name} has one child for all runs, which must not get the "
                "credential of one of them.",
                hint="Remove `stateless` from the upstream, or place the credential otherwise.",
            )
        self._replace(seat.run, drain=True)
        if attachment.env:
            self._equipped[seat.run] = attachment
        else:
            self._equipped.pop(seat.run, None)

    def _replace(self, run: str, *, drain: bool) -> None:
        """The run's child ends, when its calls have if there is to be time for them."""
        once = self._lines.pop(run, None)
        if once is not None:
            self._beside(_end(once, drain=drain))

    def _key(self, seat: RunSeat) -> str:
        return CATALOGUE.run if self._stateless else seat.run

    async def _line(self, seat: RunSeat) -> _Line:
        if self._closed:
            raise UpstreamUnavailable(f"Upstream {self._name} is being closed.")
        key = self._key(seat)
        once = self._lines.get(key)
        if once is None or (once.value is not None and not once.value.alive):
            if self._stateless:
                seat = _SHARED
            env = self._equipped.get(key, NOTHING).env
            once = self._lines[key] = Once(lambda: self._open(seat, env))
        try:
            return await once.get()
        except UpstreamBroken as error:
            raise UpstreamUnavailable(
                error.message, hint="It was being reached; nothing of the action has left."
            ) from None

    async def _open(self, seat: RunSeat, env: tuple[tuple[str, str], ...]) -> _Line:
        line = _Line(self._name, seat, self._conversation, shared=self._stateless)
        spec = self._spec
        if env:
            spec = msgspec.structs.replace(spec, env=spec.env | dict(env))
        try:
            await line.open(spec, discovery=self._discovery)
        except BaseException:
            self._beside(line.stop())
            raise
        self._conversation.opened(line, run=self._key(seat))
        return line

    async def _stop(self, run: str) -> None:
        once = self._lines.pop(run, None)
        if once is None:
            return
        await once.cancel()
        if once.value is not None:
            await once.value.stop()

    def _beside(self, stopping: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(stopping)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class _Line:
    """One child and what is in flight on it. A `Link` once it is open."""

    def __init__(
        self, peer: str, seat: RunSeat, conversation: Conversation, *, shared: bool
    ) -> None:
        self.info = ServerInfo(modern=True, version="", capabilities={}, info={})
        self._peer = peer
        self._seat = seat
        self._conversation = conversation
        # Calls of several runs are on it: what names no call is nobody's.
        self._shared = shared
        self._ids = itertools.count(1)
        self._calls: dict[int, _Inbox] = {}
        self._child: Child | None = None
        self._end: str | None = None
        self._emptied: asyncio.Future[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether it can carry requests."""
        return self._child is not None and self._child.alive and self._end is None

    async def open(self, spec: ChildSpec, *, discovery: float) -> None:
        """Spawn the child and find out what it speaks."""
        self._child = await Child.spawn(
            spec, peer=self._peer, on_line=self._heard, on_end=self._ended
        )
        info: ServerInfo | None = None
        try:
            async with asyncio.timeout(discovery):
                info = await self._discover()
        except TimeoutError:
            # A legacy server need not answer what it does not know.
            pass
        self.info = info or await self._initialize()

    async def _discover(self) -> ServerInfo | None:
        self.info = ServerInfo(modern=True, version=MODERN, capabilities={}, info={})
        with self._conversation.own_passage("server/discover") as passage:
            params = with_modern_meta({}, info={}, capabilities={})
            response = await self.exchange(passage, "server/discover", params)
        return discovered(response, peer=self._peer)

    async def _initialize(self) -> ServerInfo:
        self.info = ServerInfo(modern=False, version=LEGACY[0], capabilities={}, info={})
        with self._conversation.own_passage("initialize", seat=self._seat) as passage:
            params = initialize_params(self._seat)
            response = await self.exchange(passage, "initialize", params)
            if (response.error or {}).get("code") == UNSUPPORTED_VERSION:
                # So it is modern, and only was slow to say so.
                info = await self._discover()
                if info is not None:
                    return info
            info = initialized(response, peer=self._peer)
            self._conversation.forget_level(self._seat.run)
            await self.notify(passage, "notifications/initialized", {})
        return info

    async def drained(self) -> None:
        """Wait until no call is on it."""
        while self._calls:
            self._emptied = asyncio.get_running_loop().create_future()
            await self._emptied

    async def stop(self) -> None:
        """Stop the child."""
        if self._child is not None:
            await self._child.stop()

    async def exchange(self, passage: Passage, method: str, params: JSONObject) -> Response:
        """One line out, and the lines that belong to it in."""
        child = self._child
        assert child is not None
        request_id = next(self._ids)
        params = passage.addressed(params, request_id)
        line = encode_request(request_id, method, params) + b"\n"
        inbox = self._calls[request_id] = _Inbox(passage)
        try:
            await child.writable()
            if not self.alive:
                raise UpstreamUnavailable(
                    f"Upstream {self._peer} has ended: {self._end or 'it is being stopped'}."
                )
            passage.look()
            child.write(line)
            passage.left(len(line) - 1)
            passage.abandon = lambda reason: self._cancel(request_id, reason, method)

            async def answer(body: bytes) -> None:
                await self._write(body, passage)

            while True:
                for message in await inbox.take():
                    final = await passage.take(None if self.info.modern else answer, message)
                    if final is not None:
                        passage.abandon = None
                        return final
        finally:
            del self._calls[request_id]
            if self._emptied is not None and not self._emptied.done():
                self._emptied.set_result(None)

    async def notify(self, passage: Passage, method: str, params: JSONObject) -> None:
        """One notification out."""
        await self._write(encode_notification(method, params), passage)

    # What comes in

    def _heard(self, line: bytes) -> None:
        try:
            messages: list[Message] = (
                decode_batch(line) if is_batch(line) else [decode_message(line)]
            )
        except Malformed as problem:
            if line.lstrip()[:1] in {b"{", b"["}:
                # Whose answer it was meant to be cannot be told; none of them will come.
                text = f"sent a message that cannot be used: {problem.message}"
                for inbox in list(self._calls.values()):
                    inbox.passage.fail(inbox.passage.broken(text), "an answer cannot be used")
            # Else it is a line of log on the wrong stream, which many servers write.
            return
        for message in messages:
            self._route(message, len(line))

    def _route(self, message: Message, size: int) -> None:
        match message:
            case Response():
                # What answers nothing, or nothing any more, is dropped.
                inbox = self._calls.get(message.id) if type(message.id) is int else None
                if inbox is not None:
                    inbox.put(message, size)
            case Notification():
                inbox = self._of(message)
                if inbox is not None:
                    inbox.put(message, size)
                elif message.method not in _OF_A_CALL:
                    self._conversation.notice(self._seat.run, message.method, message.params)
            case Request(method="ping"):
                self._tell(encode_result(message.id, {}))
            case Request():
                newest = next(reversed(self._calls.values()), None)
                if newest is None or self._shared or self.info.modern:
                    text = "Nobody is there to be asked."
                    self._tell(encode_error(message.id, code=METHOD_NOT_FOUND, message=text))
                else:
                    newest.put(message, size)

    def _of(self, message: Notification) -> _Inbox | None:
        """Whose notification it is: by progress token, by subscription, or the only call's."""
        match message.method:
            case "notifications/progress":
                token = message.params.get("progressToken")
                return self._calls.get(token) if type(token) is int else None
            case "notifications/cancelled":
                return next(reversed(self._calls.values()), None)
            case _:
                pass
        meta = message.params.get("_meta")
        owner = cast("JSONObject", meta).get(SUBSCRIPTION_ID) if type(meta) is dict else None
        if type(owner) is int:
            return self._calls.get(owner)
        if self._shared or message.method in UNSOLICITED:
            return None
        waiting = [inbox for inbox in self._calls.values() if not inbox.passage.listens]
        return waiting[0] if len(waiting) == 1 else None

    def _ended(self, how: str) -> None:
        self._end = how
        for inbox in list(self._calls.values()):
            passage = inbox.passage
            passage.abandon = None
            passage.fail(passage.broken(f"has ended: {how}"), "the child has ended")

    # What goes out

    async def _write(self, body: bytes, passage: Passage) -> None:
        child = self._child
        assert child is not None
        await child.writable()
        passage.look()
        if self.alive:
            child.write(body + b"\n")
            passage.left(len(body))

    def _tell(self, body: bytes) -> None:
        """Write without an action: cancellations and refusals."""
        if self._child is not None:
            self._child.write(body + b"\n")

    def _cancel(self, request_id: int, reason: str, method: str) -> None:
        # 2025-11-25 Lifecycle: `initialize` must not be cancelled.
        if method != "initialize":
            told = {"requestId": request_id, "reason": reason}
            self._tell(encode_notification("notifications/cancelled", told))


async def _end(once: Once[_Line], *, drain: bool) -> None:
    """End a line that nothing new is put on."""
    if drain and once.value is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await once.value.drained()
    await once.cancel()
    if once.value is not None:
        await once.value.stop()


_OF_A_CALL = frozenset({"notifications/progress", "notifications/cancelled"})


class _Inbox:
    """What the child has said about one call and the call has not yet heard."""

    __slots__ = ("_messages", "_size", "_waiter", "passage")

    def __init__(self, passage: Passage) -> None:
        self.passage = passage
        self._messages: list[Message] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None

    def put(self, message: Message, size: int) -> None:
        """Called by the reader."""
        passage = self.passage
        passage.came(size + 1)
        self._messages.append(message)
        self._size += size
        if self._size > _MAX_INBOX:
            text = "says more than its client takes in"
            passage.fail(passage.broken(text), "its client does not read")
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> list[Message]:
        """All that has come, at least one message."""
        while not self._messages:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        messages, self._messages = self._messages, []
        self._size = 0
        return messages


__all__ = ["DISCOVERY_SECONDS", "McpStdioUpstream"]
