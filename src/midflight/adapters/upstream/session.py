"""What both transports share: one action in the words of the generation that the upstream speaks.

    guard → McpHttpUpstream / McpStdioUpstream → Conversation.perform → Link.exchange → bytes

A `Link` carries one request and what belongs to it (`mcp_http`, `mcp_stdio`). This file decides
which requests: metadata, rounds of input, log levels, and subscriptions, which each generation has
in its own form. Translation is by what is asked, never by what the upstream answers: results pass
as they are.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from midflight.adapters.upstream.deadlines import Deadlines
from midflight.adapters.upstream.handshake import (
    CATALOGUE,
    with_modern_meta,
    without_modern_meta,
)
from midflight.adapters.upstream.passage import ENDLESS, CallTimeouts, Passage
from midflight.domain import placeholders
from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import Conflict, Malformed, Unavailable, UpstreamUnavailable
from midflight.domain.value import JSONObject
from midflight.services.own_request import NoClient, OwnFlight
from midflight.services.ports.injection import NOTHING, Attachment
from midflight.services.ports.upstream import (
    Flight,
    NoticeHandler,
    Reply,
    RunSeat,
    ServerInfo,
    Sink,
)
from midflight.wire.jsonrpc import Response
from midflight.wire.malformed import INVALID_PARAMS, METHOD_NOT_FOUND
from midflight.wire.mcp import meta
from midflight.wire.mcp.actions import to_message
from midflight.wire.mcp.methods import CLIENT_NOTIFICATIONS, CLIENT_REQUESTS

LIST_CHANGES = {
    "toolsListChanged": "notifications/tools/list_changed",
    "promptsListChanged": "notifications/prompts/list_changed",
    "resourcesListChanged": "notifications/resources/list_changed",
}
_CAPABILITY_OF = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}
# Never sent by themselves: an answer travels with its call, the others concern Midflight alone.
_NEVER_ALONE = frozenset(
    {ActionKind.ANSWER, ActionKind.OPEN_RUN, ActionKind.DELEGATE, ActionKind.LEASE}
)
MAX_ROUNDS = 8
_MAX_BACKOFF = 60.0


class Link(Protocol):
    """A way to one server, process or session, that carries requests."""

    @property
    def info(self) -> ServerInfo:
        """What is at its other end."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it may still carry requests. A dead one is replaced, never revived."""
        ...

    async def exchange(self, passage: Passage, method: str, params: JSONObject) -> Response:
        """Send one request under a fresh id, handle what comes meanwhile, return its response.

        Looks at the passage's gate in the same turn as the write, and sets its `abandon`.
        """
        ...

    async def notify(self, passage: Passage, method: str, params: JSONObject) -> None:
        """Send one notification."""
        ...


class Conversation:
    """Speaks with one upstream over whatever links it has.

    Holds what no link holds: the log levels and resource subscriptions of runs.
    """

    def __init__(self, peer: str, *, timeouts: CallTimeouts, backoff: float = 1.0) -> None:
        self._peer = peer
        self._timeouts = timeouts
        self._deadlines = Deadlines()
        self._backoff = backoff
        self._notices: NoticeHandler = _ignore
        self._levels: dict[str, str] = {}
        self._uris: dict[str, set[str]] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, notices: NoticeHandler) -> None:
        """Tell unsolicited notifications to `notices` from now on."""
        self._notices = notices

    def notice(self, run: str, method: str, params: JSONObject) -> None:
        """Tell a notice of a run's link. What a shared link updates goes to who subscribed."""
        if run or method != "notifications/resources/updated":
            self._notices(run, method, params)
            return
        for subscriber, uris in list(self._uris.items()):
            if params.get("uri") in uris:
                self._notices(subscriber, method, params)

    def passage(
        self,
        action: Action,
        *,
        seat: RunSeat,
        flight: Flight,
        sink: Sink,
        attachment: Attachment = NOTHING,
    ) -> Passage:
        """The passage of a client's action. A stream that a client listens on has no deadline."""
        endless = action.method == "subscriptions/listen"
        return Passage(
            action,
            seat=seat,
            flight=flight,
            sink=sink,
            notices=self.notice,
            peer=self._peer,
            timeouts=ENDLESS if endless else self._timeouts,
            deadlines=self._deadlines,
            attachment=attachment,
        )

    def own_passage(
        self,
        method: str,
        *,
        seat: RunSeat = CATALOGUE,
        endless: bool = False,
        on_listening: Callable[[], None] | None = None,
    ) -> Passage:
        """The passage of a request of Midflight's own, which no revocation of a run covers."""
        handshake = self._timeouts.handshake
        return Passage(
            Action(kind=ActionKind.LIST, upstream=self._peer, name=method, method=method),
            seat=seat,
            flight=OwnFlight(),
            sink=_OwnSink(seat.run, self.notice, on_listening),
            notices=self.notice,
            peer=self._peer,
            timeouts=ENDLESS if endless else CallTimeouts(answer=handshake, whole=handshake),
            deadlines=self._deadlines,
        )

    def beside(self, make: Callable[[], Awaitable[object]]) -> None:
        """Run something beside the path; its failures are nobody's to handle."""
        task = asyncio.get_running_loop().create_task(_quietly(make))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def perform(self, link: Link, passage: Passage) -> Reply:
        """Carry one action and return its final answer."""
        action = passage.action
        if action.kind in _NEVER_ALONE:
            raise UpstreamUnavailable(
                f"Upstream {self._peer} cannot be sent {action.method} on its own.",
                hint="An answer travels with the call it belongs to.",
            )
        method, params = to_message(action)
        if passage.attachment.arguments and action.kind is ActionKind.CALL_TOOL:
            # Here, on the way out, and nowhere before: what was judged holds the placeholder.
            by = passage.attachment.arguments.get
            params = {**params, "arguments": placeholders.replaced(params.get("arguments"), by)}
        version = link.info.version
        if method in CLIENT_NOTIFICATIONS:
            # The modern generation has no notifications from clients; there is nothing to tell.
            if CLIENT_NOTIFICATIONS[method].spoken_in(version):
                await link.notify(passage, method, without_modern_meta(params))
            return Reply(result={})
        row = CLIENT_REQUESTS.get(method)
        spoken = row is None or row.spoken_in(version)
        if link.info.modern:
            if spoken:
                return await self._modern(link, passage, method, params)
            return await self._modern_instead(link, passage, method, params)
        params = without_modern_meta(params)
        if not spoken:
            return await self._legacy_instead(link, passage, method, params)
        await self._set_level(link, passage)
        response = await link.exchange(passage, method, params)
        if response.error is None and passage.action.kind is ActionKind.SUBSCRIBE:
            uris = self._uris.setdefault(passage.seat.run, set())
            (uris.add if method == "resources/subscribe" else uris.discard)(passage.action.name)
        return passage.reply(response)

    def opened(self, link: Link, *, run: str) -> None:
        """A link was opened, perhaps in place of one that broke: listen on it for the run."""
        uris = self._uris.get(run)
        if not link.info.modern:
            for uri in uris or ():
                self._beside_exchange(link, run, "resources/subscribe", {"uri": uri})
            return
        wanted = {
            member: True
            for member, capability in _CAPABILITY_OF.items()
            if capability in link.info.capabilities
        }
        if wanted:
            self._watch(f"lists {run}", link, run, wanted)
        if uris:
            self._watch(f"resources {run}", link, run, {"resourceSubscriptions": sorted(uris)})

    def forget_level(self, run: str) -> None:
        """The session that knew the run's log level is gone."""
        self._levels.pop(run, None)

    def forget(self, run: str) -> None:
        """The run is over."""
        self._levels.pop(run, None)
        self._uris.pop(run, None)
        self._unwatch(f"resources {run}")
        self._unwatch(f"lists {run}")

    async def close(self) -> None:
        """End everything that runs beside the path, after what is being told has been told."""
        for key in list(self._watches):
            self._unwatch(key)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        for task in list(self._tasks):
            task.cancel()
        self._deadlines.close()

    # Modern upstreams

    async def _modern(self, link: Link, passage: Passage, method: str, params: JSONObject) -> Reply:
        sink, seat = passage.sink, passage.seat
        params = with_modern_meta(
            params,
            info=seat.client_info,
            capabilities=sink.capabilities,
            level=self._levels.get(seat.run),
        )
        sent = params
        for _ in range(MAX_ROUNDS):
            response = await link.exchange(passage, method, sent)
            result = response.result
            if (
                result is None
                or result.get("resultType") != "input_required"
                or sink.takes_input_required
            ):
                return passage.reply(response)
            try:
                extra = await passage.gather(result)
            except Conflict as refusal:
                text = f"{refusal.message} The upstream cannot go on without it."
                return _error(INVALID_PARAMS, text, passage)
            base = {k: v for k, v in params.items() if k not in {"inputResponses", "requestState"}}
            sent = {**base, **extra}
        raise passage.broken(f"asked for input more than {MAX_ROUNDS} times")

    async def _modern_instead(
        self, link: Link, passage: Passage, method: str, params: JSONObject
    ) -> Reply:
        """A legacy client's request that a modern upstream does not have."""
        run = passage.seat.run
        match method:
            case "logging/setLevel":
                level = params.get("level")
                if level not in meta.LOG_LEVELS:
                    return _error(INVALID_PARAMS, "There is no such log level.", passage)
                self._levels[run] = cast("str", level)
                return Reply(result={})
            case "resources/subscribe" | "resources/unsubscribe":
                passage.look()
                uris = self._uris.setdefault(run, set())
                if method == "resources/subscribe":
                    uris.add(params["uri"])
                else:
                    uris.discard(params["uri"])
                key = f"resources {run}"
                if uris:
                    self._watch(key, link, run, {"resourceSubscriptions": sorted(uris)})
                else:
                    self._unwatch(key)
                return Reply(result={})
            case _:
                return _error(METHOD_NOT_FOUND, f"The upstream has no {method}.", passage)

    def _watch(self, key: str, link: Link, run: str, wanted: JSONObject) -> None:
        """Keep a `subscriptions/listen` of Midflight's own open, in place of the one before."""
        self._unwatch(key)
        task = asyncio.get_running_loop().create_task(self._keep_listening(link, run, wanted))
        self._watches[key] = task

    def _unwatch(self, key: str) -> None:
        task = self._watches.pop(key, None)
        if task is not None:
            task.cancel()

    async def _keep_listening(self, link: Link, run: str, wanted: JSONObject) -> None:
        seat = RunSeat(run=run, workload="")
        params = with_modern_meta({"notifications": wanted}, info={}, capabilities={})
        backoff = self._backoff
        lost = False
        while link.alive:
            began = asyncio.get_running_loop().time()
            # What was missed while nobody listened is not known: all of it counts as changed.
            again = functools.partial(self._tell_all, run, wanted) if lost else None
            try:
                with self.own_passage(
                    "subscriptions/listen", seat=seat, endless=True, on_listening=again
                ) as passage:
                    response = await link.exchange(passage, "subscriptions/listen", params)
                if response.error is not None:
                    return
            except (Unavailable, Malformed):
                pass
            lost = True
            if asyncio.get_running_loop().time() - began > _MAX_BACKOFF:
                backoff = self._backoff
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _MAX_BACKOFF)

    def _tell_all(self, run: str, wanted: JSONObject) -> None:
        for member, method in LIST_CHANGES.items():
            if wanted.get(member):
                self._notices(run, method, {})
        for uri in wanted.get("resourceSubscriptions", ()):
            self._notices(run, "notifications/resources/updated", {"uri": uri})

    # Legacy upstreams

    async def _legacy_instead(
        self, link: Link, passage: Passage, method: str, params: JSONObject
    ) -> Reply:
        """A modern client's request that a legacy upstream does not have."""
        if method != "subscriptions/listen":
            return _error(METHOD_NOT_FOUND, f"The upstream has no {method}.", passage)
        wanted: JSONObject = params["notifications"]
        honoured: JSONObject = {
            member: True
            for member, capability in _CAPABILITY_OF.items()
            if wanted.get(member) is True
            and _flag(link.info.capabilities, capability, "listChanged")
        }
        uris: list[str] = []
        if _flag(link.info.capabilities, "resources", "subscribe"):
            uris = list(dict.fromkeys(wanted.get("resourceSubscriptions", ())))
        subscribed: list[str] = []
        try:
            for uri in uris:
                response = await link.exchange(passage, "resources/subscribe", {"uri": uri})
                if response.error is None:
                    subscribed.append(uri)
                    self._uris.setdefault(passage.seat.run, set()).add(uri)
            if subscribed:
                honoured["resourceSubscriptions"] = subscribed
            await passage.sink.notify(
                "notifications/subscriptions/acknowledged", {"notifications": honoured}
            )
            passage.check()
            # The session delivers to `notices`; this call only holds the subscription, and only
            # an end from outside leaves this wait.
            await asyncio.get_running_loop().create_future()
        finally:
            run = passage.seat.run
            for uri in subscribed:
                self._uris.get(run, set[str]()).discard(uri)
                if link.alive:
                    self._beside_exchange(link, run, "resources/unsubscribe", {"uri": uri})
        raise AssertionError

    def _beside_exchange(self, link: Link, run: str, method: str, params: JSONObject) -> None:
        async def exchange() -> None:
            with self.own_passage(method, seat=RunSeat(run=run, workload="")) as passage:
                await link.exchange(passage, method, params)

        self.beside(exchange)

    async def _set_level(self, link: Link, passage: Passage) -> None:
        """A modern client says with each request what a legacy session is told once."""
        level = passage.action.meta.get(meta.LOG_LEVEL)
        run = passage.seat.run
        if (
            level is None
            or self._levels.get(run) == level
            or "logging" not in link.info.capabilities
        ):
            return
        await link.exchange(passage, "logging/setLevel", {"level": level})
        self._levels[run] = level


class _OwnSink(NoClient):
    """What comes to a request of Midflight's own is a notice."""

    __slots__ = ("_notices", "_on_listening", "_run")

    def __init__(
        self, run: str, notices: NoticeHandler, on_listening: Callable[[], None] | None
    ) -> None:
        super().__init__()
        self._run = run
        self._notices = notices
        self._on_listening = on_listening

    async def notify(self, method: str, params: JSONObject) -> None:
        """Tell it as a notice."""
        if method != "notifications/subscriptions/acknowledged":
            self._notices(self._run, method, params)
        elif self._on_listening is not None:
            self._on_listening()


async def _quietly(make: Callable[[], Awaitable[object]]) -> None:
    try:
        await make()
    except (Unavailable, Malformed, TimeoutError):
        return


def _ignore(run: str, method: str, params: JSONObject) -> None:
    del run, method, params


def _flag(capabilities: JSONObject, capability: str, flag: str) -> bool:
    declared = capabilities.get(capability)
    return type(declared) is dict and cast("JSONObject", declared).get(flag) is True


def _error(code: int, message: str, passage: Passage) -> Reply:
    return Reply(result=None, error={"code": code, "message": message}, bytes_in=passage.bytes_in)


__all__ = ["LIST_CHANGES", "MAX_ROUNDS", "Conversation", "Link"]
