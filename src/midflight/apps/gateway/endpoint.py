"""An endpoint: one URL that stands for one upstream, or for all of them together.

It answers a decoded request: what belongs to the protocol by itself, lists from the catalogue, and
everything that carries a workload's data or will through the guard. It knows nothing of HTTP.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Awaitable, Callable, Sequence

from midflight import __version__
from midflight.apps.gateway.entries import Entries
from midflight.apps.gateway.noise import Noise
from midflight.apps.gateway.routing import Routes
from midflight.apps.gateway.waiting_call import Interim
from midflight.apps.gateway.waiting_clients import WaitingClients
from midflight.domain.action import Action, ActionKind
from midflight.domain.decision import Deny
from midflight.domain.errors import Malformed, MidflightError
from midflight.domain.identity import Caller
from midflight.domain.tool import PinnedKind
from midflight.domain.value import Discreet, JSONObject
from midflight.services.catalogue import Catalogue
from midflight.services.guard import Guard, Performed, Refused
from midflight.services.listing import Listing
from midflight.services.ports.upstream import Sink
from midflight.wire import json, refusal
from midflight.wire.jsonrpc import Notification, Request
from midflight.wire.lookalikes import ambiguous_argument
from midflight.wire.malformed import INVALID_PARAMS, MalformedMessage
from midflight.wire.mcp import actions, translate
from midflight.wire.mcp.capabilities import missing_extension
from midflight.wire.mcp.meta import TASKS_EXTENSION
from midflight.wire.mcp.methods import CLIENT_NOTIFICATIONS, CLIENT_REQUESTS
from midflight.wire.mcp.versions import LEGACY, MODERN

SERVER_INFO: JSONObject = {"name": "midflight", "title": "Midflight", "version": __version__}

_CATALOGUED = {
    "tools/list": (PinnedKind.TOOL, "tools"),
    "prompts/list": (PinnedKind.PROMPT, "prompts"),
    "resources/templates/list": (PinnedKind.TEMPLATE, "resourceTemplates"),
}

_UPSTREAM = operator.attrgetter("upstream")


class Answered(Discreet):
    """What to answer: a result, or an error with its HTTP status."""

    shown = ("status",)

    result: JSONObject | None = None
    error: JSONObject | None = None
    status: int = 200


class Endpoint:
    """One MCP endpoint of the gateway."""

    def __init__(
        self,
        *,
        path: str,
        upstreams: Sequence[str],
        catalogue: Catalogue,
        listing: Listing,
        guard: Guard,
        noise: Noise,
        waiting: WaitingClients | None = None,
    ) -> None:
        """`upstreams` in configured order; more than one makes names collide, see `routing.py`.

        `noise` is told of what decoded as a message and makes no action. Without `waiting` what a
        person has to approve is refused at once.
        """
        self._waiting = waiting
        self.path = path
        self.upstreams = tuple(upstreams)
        self.routes = Routes(self.upstreams, catalogue)
        self._entries = Entries(self.routes, catalogue)
        self._catalogue = catalogue
        self._listing = listing
        self._guard = guard
        self._noise = noise

    def covers(self, upstream: str) -> bool:
        """Whether the endpoint stands for an upstream."""
        return upstream in self.upstreams

    # What the endpoint is

    async def discover(self) -> JSONObject:
        """The `server/discover` result."""
        capabilities, instructions = await self._describe(modern=True)
        if self._waiting is not None:
            capabilities = self._waiting.declared(capabilities)
        return translate.discover_result(
            capabilities=capabilities, server_info=SERVER_INFO, instructions=instructions
        )

    async def initialize(self, version: str) -> JSONObject:
        """The `initialize` result for a negotiated version."""
        capabilities, instructions = await self._describe(modern=False)
        return translate.initialize_result(
            version=version,
            capabilities=capabilities,
            server_info=SERVER_INFO,
            instructions=instructions,
        )

    def tool_schema(self, name: object) -> JSONObject | None:
        """Input schema of a tool as a client names it, for the check of mirrored headers."""
        route = self.routes.tool(name) if isinstance(name, str) else None
        if route is None:
            return None
        definition = self._catalogue.definition(route[0], PinnedKind.TOOL, route[1])
        return None if definition is None else json.as_object(definition.body.get("inputSchema"))

    def may_be_asked(self, method: str) -> bool:
        """Whether a legacy upstream may ask in the middle of such a request."""
        row = CLIENT_REQUESTS.get(method)
        return (row is not None and row.may_ask) and any(
            info is None or not info.modern for info in map(self._catalogue.info, self.upstreams)
        )

    # Requests

    async def subscribe(
        self, request: Request, caller: Caller, uri: str, *, sink: Sink
    ) -> Answered:
        """Subscribe to one resource for a listening stream; lasts as long as the upstream's own."""
        try:
            upstream, _ = await self.routes.route(
                Request(id=request.id, method="resources/read", params={"uri": uri}),
                self._resource_owner(caller, sink),
            )
            params: JSONObject = {"notifications": {"resourceSubscriptions": [uri]}}
            action = actions.to_action(
                Request(id=request.id, method="subscriptions/listen", params=params),
                upstream=upstream,
            )
        except Malformed as error:
            self._note(error, caller)
            return Answered(error={"code": error.rpc_code, "message": str(error)})
        outcome = await self._guard.perform(action, caller, sink=sink)
        return self._shape("subscriptions/listen", outcome, caller, modern=True, upstream=upstream)

    async def answer(
        self,
        request: Request,
        caller: Caller,
        *,
        sink: Sink,
        modern: bool,
        client_info: JSONObject | None = None,
        tell: Callable[[Answered], None] | None = None,
    ) -> Answered:
        """Answer a request of a client. Never raises but for cancellation.

        `tell` gets the answer of an action that is cut in the turn in which it is, before this
        returns it: behind everything that is cut with it.
        """
        try:
            return await self._answer(
                request, caller, sink=sink, modern=modern, client_info=client_info, tell=tell
            )
        except Malformed as error:
            self._note(error, caller)
            return Answered(
                error={"code": error.rpc_code, "message": str(error)}, status=error.http_status
            )
        except MidflightError as error:
            return Answered(
                error={
                    "code": -32603,
                    "message": str(error),
                    "data": {"code": error.code, "help": error.hint},
                },
                status=200,
            )

    async def _answer(
        self,
        request: Request,
        caller: Caller,
        *,
        sink: Sink,
        modern: bool,
        client_info: JSONObject | None,
        tell: Callable[[Answered], None] | None,
    ) -> Answered:
        method = request.method
        if method in _CATALOGUED:
            listed = await self._list(method, caller, modern=modern)
            return self._shape(method, listed, caller, modern=modern)
        if method == "resources/list":
            page = await self._resources(request, caller, sink=sink)
            return self._shape(method, page, caller, modern=modern)
        row = CLIENT_REQUESTS.get(method)
        spoken = row is not None and row.spoken_in(MODERN if modern else LEGACY[0])
        if row is None or not spoken or not isinstance(row.kind, ActionKind):
            self._noise.malformed(
                "There is no such method here.", peer=caller.peer, workload=caller.workload
            )
            return Answered(
                error={"code": -32601, "message": f"There is no method {method!r} here."},
                status=404 if modern else 200,
            )
        if modern and row.kind is ActionKind.TASK:
            missing = missing_extension(sink.capabilities, TASKS_EXTENSION)
            if missing is not None:
                return Answered(error=missing, status=translate.status_for_modern(missing))
            if self._waiting is not None and self._waiting.knows(request):
                return await self._own_task(self._waiting, request, caller, sink, client_info)
        return await self._act(request, caller, sink, client_info, modern=modern, tell=tell)

    async def _act(
        self,
        request: Request,
        caller: Caller,
        sink: Sink,
        client_info: JSONObject | None,
        *,
        modern: bool,
        tell: Callable[[Answered], None] | None = None,
    ) -> Answered:
        """Take what is asked through the guard, and wait for a person where one has to agree."""
        waiting = self._waiting
        resumed = None if waiting is None else await waiting.take(request, caller, self.covers)
        if resumed is not None:
            action = resumed.action
        else:
            upstream, routed = await self.routes.route(request, self._resource_owner(caller, sink))
            action = actions.to_action(routed, upstream=upstream)
        self._check(action, request)

        def cut(refused: Refused) -> None:
            if tell is not None:
                tell(self._shape(request.method, refused, caller, modern=modern))

        def act() -> Awaitable[Performed | Refused]:
            return self._perform(action, caller, sink, client_info, on_cut=cut)

        outcome = await act() if resumed is None else None
        if waiting is not None:
            outcome = await waiting.settle(
                outcome, request, caller, sink, modern=modern, again=act, resumed=resumed
            )
        if isinstance(outcome, Interim):
            return self._interim(request.method, outcome, modern=modern)
        assert outcome is not None
        return self._shape(request.method, outcome, caller, modern=modern, upstream=action.upstream)

    def _perform(
        self,
        action: Action,
        caller: Caller,
        sink: Sink,
        client_info: JSONObject | None,
        *,
        on_cut: Callable[[Refused], None] | None = None,
    ) -> Awaitable[Performed | Refused]:
        return self._guard.perform(
            action,
            caller,
            sink=sink,
            client_info=client_info,
            answers=actions.answers_in(action),
            on_cut=on_cut,
        )

    async def _own_task(
        self,
        waiting: WaitingClients,
        request: Request,
        caller: Caller,
        sink: Sink,
        client_info: JSONObject | None,
    ) -> Answered:
        """Answer for a task of Midflight's own, or of what the upstream has made of it."""
        # No action that the guard would judge, but nothing for who is revoked or unknown.
        seat = await self._listing.seat(caller)
        if isinstance(seat, Deny):
            return Answered(error=refusal.as_error(seat, ""))
        beyond = await waiting.beyond(request, caller)
        if beyond is not None:
            answered = await self._act(beyond, caller, sink, client_info, modern=True)
            if answered.result is None or "taskId" not in answered.result:
                return answered
            named = {**answered.result, "taskId": request.params["taskId"]}
            return Answered(result=named)

        def act(action: Action, job: Sink) -> Awaitable[Performed | Refused]:
            return self._perform(action, caller, job, client_info)

        def shape(outcome: Performed | Refused, upstream: str) -> Interim:
            made = self._shape("tools/call", outcome, caller, modern=True, upstream=upstream)
            return Interim(result=made.result, error=made.error)

        said = await waiting.task(request, caller, sink, act=act, shape=shape)
        # It may have waited, for the action or for the store, and he may be revoked by now.
        seat = await self._listing.seat(caller)
        if isinstance(seat, Deny):
            return Answered(error=refusal.as_error(seat, ""))
        return self._interim(request.method, said, modern=True)

    async def notify(self, notification: Notification, caller: Caller, *, sink: Sink) -> None:
        """Pass a notification of a client to every upstream of the endpoint, judged each time."""
        row = CLIENT_NOTIFICATIONS.get(notification.method)
        if row is None or not isinstance(row.kind, ActionKind):
            return
        for upstream in self.upstreams:
            try:
                action = actions.to_action(notification, upstream=upstream)
            except Malformed as error:
                self._note(error, caller)  # it is owed no answer (JSON-RPC §4.1)
                return
            await self._guard.perform(action, caller, sink=sink)

    # Inside

    def _note(self, error: Malformed, caller: Caller) -> None:
        self._noise.malformed(error.message, peer=caller.peer, workload=caller.workload)

    def _check(self, action: Action, request: Request) -> None:
        """Refuse what an upstream could read differently from policy, or what is another run's."""
        if action.kind is not ActionKind.CALL_TOOL:
            return
        definition = self._catalogue.definition(action.upstream, PinnedKind.TOOL, action.name)
        if definition is None:
            return
        found = ambiguous_argument(action.arguments, definition.body.get("inputSchema"))
        if found is not None:
            raise MalformedMessage(
                "Some servers would take an argument for another one.",
                # What the caller wrote is answered and not recorded: the reason above is.
                hint=f"{found}: spell arguments as the tool's input schema does.",
                rpc_code=INVALID_PARAMS,
                request_id=request.id,
            )

    async def _list(self, method: str, caller: Caller, *, modern: bool) -> JSONObject | Refused:
        kind, member = _CATALOGUED[method]
        shown = await self._listing.shown(caller, self.upstreams, kind)
        if isinstance(shown, Deny):
            return Refused(record="", decision=shown)
        entries: list[JSONObject] = []
        for upstream, definitions in itertools.groupby(shown, key=_UPSTREAM):
            of_upstream = self._entries.of(upstream, kind, modern=modern)
            found = (of_upstream.get(definition.name) for definition in definitions)
            entries += [entry for entry in found if entry is not None]
        return {member: entries}

    async def _resources(
        self, request: Request, caller: Caller, *, sink: Sink
    ) -> JSONObject | Refused | Performed:
        """`resources/list` is data of the upstream: it passes through the guard, page by page."""
        cursor = request.params.get("cursor")
        upstream, rest = self.routes.page(cursor)
        if upstream is None:
            return {"resources": []}
        params = {k: v for k, v in request.params.items() if k != "cursor"}
        if rest:
            params["cursor"] = rest
        action = actions.to_action(
            Request(id=request.id, method=request.method, params=params), upstream=upstream
        )
        outcome = await self._guard.perform(action, caller, sink=sink)
        if not isinstance(outcome, Performed) or outcome.reply.result is None:
            if len(self.upstreams) == 1:
                return outcome
            result: JSONObject = {"resources": []}  # one of many that cannot is left out
        else:
            result = dict(outcome.reply.result)
        self.routes.learn(caller, upstream, result.get("resources"))
        following = self.routes.next_page(upstream, result.pop("nextCursor", None))
        if following is not None:
            result["nextCursor"] = following
        return result

    def _resource_owner(self, caller: Caller, sink: Sink):  # noqa: ANN202
        async def learn_all() -> None:
            cursor: str | None = None
            for _ in range(100):
                page = await self._resources(
                    Request(
                        id=0,
                        method="resources/list",
                        params={} if cursor is None else {"cursor": cursor},
                    ),
                    caller,
                    sink=sink,
                )
                if not isinstance(page, dict):
                    return
                cursor = page.get("nextCursor")
                if cursor is None:
                    return

        return caller, learn_all

    def _shape(
        self,
        method: str,
        outcome: JSONObject | Performed | Refused,
        caller: Caller,
        *,
        modern: bool,
        upstream: str = "",
    ) -> Answered:
        if isinstance(outcome, Refused):
            if method == "tools/call":
                result = refusal.as_result(outcome.decision, outcome.record)
                return Answered(result=self._dress(method, result, modern=modern))
            return Answered(error=refusal.as_error(outcome.decision, outcome.record))
        if isinstance(outcome, Performed):
            reply = outcome.reply
            if reply.error is not None:
                error = translate.error_for(
                    MODERN if modern else LEGACY[0], reply.error, method=method
                )
                status = translate.status_for_modern(error) if modern else 200
                return Answered(error=error, status=status)
            assert reply.result is not None
            result = reply.result
            if method == "tasks/list":
                result = self.routes.own_tasks(caller, upstream, result)
            else:
                self.routes.note_task(caller, upstream, result)
            return Answered(result=self._dress(method, result, modern=modern))
        return Answered(result=self._dress(method, outcome, modern=modern))

    def _interim(self, method: str, interim: Interim, *, modern: bool) -> Answered:
        if interim.result is None:
            return Answered(error=interim.error)
        return Answered(result=self._dress(method, interim.result, modern=modern))

    def _dress(self, method: str, result: JSONObject, *, modern: bool) -> JSONObject:
        if modern:
            return translate.result_for_modern(
                method, result, server_info=SERVER_INFO, private=True
            )
        return translate.result_for_legacy(method, result)

    async def _describe(self, *, modern: bool) -> tuple[JSONObject, str]:
        several: list[JSONObject] = []
        instructions: list[str] = []
        for upstream in await self._catalogue.ready(self.upstreams):
            info = self._catalogue.info(upstream)
            if info is None:
                continue
            shaped = (
                translate.capabilities_for_modern(info.capabilities, upstream_modern=info.modern)
                if modern
                else translate.capabilities_for_legacy(
                    info.capabilities, upstream_modern=info.modern
                )
            )
            several.append(shaped)
            if self._catalogue.definitions(upstream, PinnedKind.INSTRUCTIONS):
                instructions.append(info.instructions)
        return translate.merged_capabilities(several), "\n\n".join(instructions)


__all__ = ["SERVER_INFO", "Answered", "Endpoint"]
