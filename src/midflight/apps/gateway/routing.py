"""Routing: which upstream a request of a client is for, and what names clients see.

At an endpoint of one upstream names are the upstream's. At the endpoint of all, names that collide
are prefixed; resources belong to the upstream that lists them or whose template they match; a
resource or task that cannot be told apart is refused, with the endpoint that would tell.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from midflight.domain.identity import Caller
from midflight.domain.tool import Definition, PinnedKind
from midflight.domain.value import JSONObject
from midflight.services.catalogue import Catalogue
from midflight.wire import json
from midflight.wire.jsonrpc import Request
from midflight.wire.malformed import INVALID_PARAMS, MalformedMessage
from midflight.wire.mcp.actions import MAX_NAME
from midflight.wire.mcp.lists import Names, could_be
from midflight.wire.mcp.meta import RELATED_TASK
from midflight.wire.mcp.methods import CLIENT_REQUESTS

MAX_LEARNED = 50_000
"""Resource URIs, and task ids, that are remembered for one workload; its oldest are forgotten."""

NOBODY = ""
"""What stands for the upstream of a name that none has: no upstream is called so."""

Route = tuple[str, str]
"""(upstream, name there)"""

_Key = tuple[str | None, str]
T = TypeVar("T")


class Routes:
    """The routes of one endpoint."""

    def __init__(self, upstreams: Sequence[str], catalogue: Catalogue) -> None:
        """`upstreams` in configured order."""
        self._upstreams = tuple(upstreams)
        self._catalogue = catalogue
        self._names: dict[PinnedKind, Names] = {}
        self._generation = -1
        # By workload, then by its run and the URI or id.
        self._resources: dict[str, dict[_Key, set[str]]] = {}
        self._tasks: dict[str, dict[_Key, str]] = {}

    # Tools and prompts

    def tool(self, exposed: str) -> Route | None:
        """The tool behind a name that clients see."""
        return self._resolve(PinnedKind.TOOL, exposed)

    def expose(self, definition: Definition) -> JSONObject:
        """A definition as clients see it."""
        if len(self._upstreams) == 1 or definition.kind is PinnedKind.TEMPLATE:
            return definition.body
        name = self._known(definition.kind).exposed(definition.upstream, definition.name)
        if name is None or name == definition.name:
            return definition.body
        return {**definition.body, "name": name}

    async def route(
        self, request: Request, owner: tuple[Caller, Callable[[], Awaitable[None]]]
    ) -> tuple[str, Request]:
        """The upstream of a request, and the request as that upstream knows it.

        A tool or prompt of a name that nobody serves is `NOBODY`'s, under a name made of it.

        Args:
            request: as the client sent it.
            owner: the caller, and what learns every resource that it may list.

        Raises:
            MalformedMessage: -32602, when there is no such thing or it is ambiguous.
        """
        method, params = request.method, request.params
        row = CLIENT_REQUESTS.get(method)
        if row is not None and row.name_field == "taskId":
            return self._task_owner(request, params.get("taskId"), owner[0]), request
        related = (json.as_object(params.get("_meta")) or {}).get(RELATED_TASK)
        if related is not None:
            self._task_owner(request, (json.as_object(related) or {}).get("taskId"), owner[0])
        if len(self._upstreams) == 1:
            return self._upstreams[0], request
        if method in {"tools/call", "prompts/get"}:
            kind = PinnedKind.TOOL if method == "tools/call" else PinnedKind.PROMPT
            name = params.get("name")
            route = self._resolve(kind, name) if isinstance(name, str) else None
            if route is None:
                # Nobody's: the guard refuses and records it, so that guesses are seen.
                return NOBODY, _renamed(request, {**params, "name": _guessed(name)})
            return route[0], _renamed(request, {**params, "name": route[1]})
        if method == "completion/complete":
            return await self._route_reference(request, owner)
        uri = params.get("uri")
        if isinstance(uri, str):
            return await self._owner_of(request, uri, owner), request
        raise _unknown(request, f"{method} needs the endpoint of one upstream.")

    # Pages of resources: a cursor of the endpoint of all names the upstream that it goes on at.

    def page(self, cursor: object) -> tuple[str | None, str]:
        """(upstream, its own cursor) behind a client's cursor; None behind the last upstream."""
        if len(self._upstreams) == 1:
            return self._upstreams[0], cursor if isinstance(cursor, str) else ""
        if cursor is None:
            return self._upstreams[0], ""
        try:
            raw = base64.urlsafe_b64decode(str(cursor).encode("ascii"))
            upstream, _, rest = raw.decode().partition("\n")
        except (binascii.Error, UnicodeError, ValueError):
            upstream, rest = "", ""
        if upstream not in self._upstreams:
            raise MalformedMessage("The cursor is not one of this list.", rpc_code=INVALID_PARAMS)
        return upstream, rest

    def next_page(self, upstream: str, rest: object) -> str | None:
        """The client's cursor that goes on behind a page."""
        if len(self._upstreams) == 1:
            return rest if isinstance(rest, str) else None
        if not isinstance(rest, str) or not rest:
            following = self._upstreams[self._upstreams.index(upstream) + 1 :]
            if not following:
                return None
            upstream, rest = following[0], ""
        return base64.urlsafe_b64encode(f"{upstream}\n{rest}".encode()).decode("ascii")

    # What is learned from results

    def learn(self, caller: Caller, upstream: str, resources: object) -> None:
        """Remember which upstream listed which resource to this caller."""
        if len(self._upstreams) == 1 or not isinstance(resources, list):
            return
        for entry in cast("list[Any]", resources):
            uri: Any = (json.as_object(entry) or {}).get("uri")
            if isinstance(uri, str) and len(uri) <= MAX_NAME:  # a longer one cannot be read
                known = _bounded(self._resources, caller.workload)
                known.setdefault((caller.run, uri), set()).add(upstream)

    def note_task(self, caller: Caller, upstream: str, result: JSONObject) -> None:
        """Remember who made a task, and where (both generations' forms).

        An upstream sees one client, Midflight: it would show any run the tasks of every other.
        """
        task = json.as_object(result.get("task")) or result
        task_id = task.get("taskId")
        if isinstance(task_id, str) and len(task_id) <= MAX_NAME:
            known = _bounded(self._tasks, caller.workload)
            # The first upstream keeps an id: another that answers the same captures nothing.
            known.setdefault((caller.run, task_id), upstream)

    def own_tasks(self, caller: Caller, upstream: str, result: JSONObject) -> JSONObject:
        """A list of tasks without those that others have made."""
        tasks = result.get("tasks")
        listed = cast("list[Any]", tasks) if isinstance(tasks, list) else []
        made = self._tasks.get(caller.workload, {})
        own = [
            task
            for task in listed
            if made.get((caller.run, str((json.as_object(task) or {}).get("taskId")))) == upstream
        ]
        return {**result, "tasks": own}

    # Inside

    def _task_owner(self, request: Request, task: object, caller: Caller) -> str:
        found = self._tasks.get(caller.workload, {}).get((caller.run, str(task)))
        if found is None:
            raise _unknown(request, "This run has made no such task here.")
        return found

    def _known(self, kind: PinnedKind) -> Names:
        if self._generation != self._catalogue.generation:
            self._names.clear()
            self._generation = self._catalogue.generation
        names = self._names.get(kind)
        if names is None:
            names = self._names[kind] = Names(
                {
                    # Pinned names of an upstream that is away stay taken: nobody moves in.
                    upstream: self._catalogue.names(upstream, kind)
                    for upstream in self._upstreams
                }
            )
        return names

    def _resolve(self, kind: PinnedKind, exposed: str) -> Route | None:
        if len(self._upstreams) == 1:
            return self._upstreams[0], exposed
        return self._known(kind).owner(exposed)

    async def _route_reference(
        self, request: Request, owner: tuple[Caller, Callable[[], Awaitable[None]]]
    ) -> tuple[str, Request]:
        reference = json.as_object(request.params.get("ref")) or {}
        if isinstance(reference.get("name"), str):
            found = self._resolve(PinnedKind.PROMPT, reference["name"])
            if found is not None:
                renamed = {**reference, "name": found[1]}
                return found[0], _renamed(request, {**request.params, "ref": renamed})
        if isinstance(reference.get("uri"), str):
            return await self._owner_of(request, reference["uri"], owner), request
        raise _unknown(request, "There is nothing of that reference here.")

    async def _owner_of(
        self, request: Request, uri: str, owner: tuple[Caller, Callable[[], Awaitable[None]]]
    ) -> str:
        caller, learn_all = owner
        owners = self._listed(caller, uri) | self._by_template(uri)
        if not owners:
            await learn_all()
            owners = self._listed(caller, uri)
        if len(owners) == 1:
            return next(iter(owners))
        if not owners:
            raise _unknown(request, "No upstream lists that resource.")
        raise MalformedMessage(
            "Several upstreams have that resource.",
            hint="Read it at " + " or ".join(f"/mcp/{name}" for name in sorted(owners)) + ".",
            rpc_code=INVALID_PARAMS,
            request_id=request.id,
        )

    def _listed(self, caller: Caller, uri: str) -> set[str]:
        return self._resources.get(caller.workload, {}).get((caller.run, uri), set())

    def _by_template(self, uri: str) -> set[str]:
        return {
            upstream
            for upstream in self._upstreams
            for definition in self._catalogue.definitions(upstream, PinnedKind.TEMPLATE)
            if could_be(uri, definition.name)
        }


def _renamed(request: Request, params: JSONObject) -> Request:
    return Request(id=request.id, method=request.method, params=params)


def _guessed(name: object) -> object:
    """What stands in the ledger for a name that nobody serves.

    Guesses are told apart by it. The name is what a caller made up, a secret at worst, and records
    hold no words of callers in clear. What is no name is refused by whoever reads it.
    """
    if not isinstance(name, str):
        return name
    return f"unknown-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _unknown(request: Request, text: str) -> MalformedMessage:
    return MalformedMessage(
        text,
        hint="List what there is first.",
        rpc_code=INVALID_PARAMS,
        request_id=request.id,
    )


def _bounded(memory: dict[str, dict[_Key, T]], workload: str) -> dict[_Key, T]:
    """What is remembered for a workload, with room for one more. Nobody else's makes room."""
    own = memory.setdefault(workload, {})
    if len(own) >= MAX_LEARNED:
        del own[next(iter(own))]
    return own


__all__ = ["MAX_LEARNED", "NOBODY", "Route", "Routes"]
