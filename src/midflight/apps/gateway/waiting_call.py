"""One request that may have to wait for a person: who sent it, and how that client can wait.

Above: `waiting.py`, `holding.py`, `waiting_tasks.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from midflight.apps.gateway.sessions import Session
from midflight.apps.gateway.sinks import LegacySink
from midflight.domain.decision import Challenge
from midflight.domain.held import Held
from midflight.domain.identity import Caller
from midflight.domain.value import Discreet, JSONObject
from midflight.services.guard import Performed, Refused
from midflight.services.handles import HANDLE
from midflight.services.ports.upstream import Sink
from midflight.wire import json, refusal
from midflight.wire.jsonrpc import Request
from midflight.wire.malformed import INVALID_PARAMS, MalformedMessage
from midflight.wire.mcp import meta
from midflight.wire.mcp.meta import TASKS_EXTENSION
from midflight.wire.mcp.methods import CLIENT_REQUESTS
from midflight.wire.mcp.retries import subject_of

PAGES_SINCE = "2025-11-25"
"""The version of the protocol in which servers can ask to have a page opened."""

Again: TypeAlias = Callable[[], Awaitable[Performed | Refused]]


class Interim(Discreet):
    """What a client that waits is answered: a result, or an error."""

    result: JSONObject | None = None
    error: JSONObject | None = None


class Call:
    """See the module. Lives as long as its answer is not there."""

    __slots__ = ("again", "caller", "held", "modern", "request", "sink", "subject", "token")

    def __init__(
        self,
        request: Request,
        caller: Caller,
        sink: Sink,
        *,
        modern: bool,
        again: Again,
        held: Held | None = None,
    ) -> None:
        """`again` takes the action through the guard; `held` is what its handle stood for."""
        self.request = request
        self.caller = caller
        self.sink = sink
        self.modern = modern
        self.again = again
        self.held = held
        self.subject = subject_of(request)
        carried = json.as_object(request.params.get("_meta")) or {}
        self.token = carried.get(meta.PROGRESS_TOKEN)

    @property
    def may_wait(self) -> bool:
        """Whether its answer may take as long as a person does."""
        row = CLIENT_REQUESTS.get(self.request.method)
        holds = not isinstance(self.sink, LegacySink) or self.sink.holds
        return holds and row is not None and row.may_ask

    @property
    def opens_pages(self) -> bool:
        """Whether the client declared URL-mode elicitation, in a version that has it."""
        if "url" not in (json.as_object(self.sink.capabilities.get("elicitation")) or {}):
            return False
        session = self.session
        return self.modern or (session is not None and session.version >= PAGES_SINCE)

    @property
    def polls_tasks(self) -> bool:
        """Whether the client declared the tasks extension for this request."""
        extensions = json.as_object(self.sink.capabilities.get("extensions")) or {}
        return self.modern and TASKS_EXTENSION in extensions and self.request.method == "tools/call"

    @property
    def session(self) -> Session | None:
        """The session of a legacy client."""
        return self.sink.session if isinstance(self.sink, LegacySink) else None

    @property
    def streams(self) -> bool:
        """Whether a legacy client takes messages before the answer."""
        return isinstance(self.sink, LegacySink) and self.sink.streams


def is_pending(outcome: object) -> bool:
    """Whether an outcome waits for a person who has been asked."""
    return (
        isinstance(outcome, Refused)
        and isinstance(outcome.decision, Challenge)
        and bool(outcome.decision.approval)
    )


def challenge_of(refused: Refused) -> Challenge:
    """What a pending refusal asks."""
    assert isinstance(refused.decision, Challenge)
    return refused.decision


def message_of(challenge: Challenge) -> str:
    """What a client's user is told: who is asked, until when, and why."""
    why = next((reason.text for reason in challenge.reasons if reason.text), "")
    return f"{refusal.waiting(challenge)}.{f' {why}' if why else ''}"


def handle_of(request: Request) -> str | None:
    """The handle that a request goes on with: its `requestState`, or the member of `_meta`."""
    state = request.params.get("requestState")
    if not isinstance(state, str) or not state.startswith(HANDLE):
        state = (json.as_object(request.params.get("_meta")) or {}).get(refusal.HANDLE)
    return state if isinstance(state, str) else None


def foreign(request: Request, hint: str) -> MalformedMessage:
    """The error for a handle that is not one of this request."""
    return MalformedMessage(
        "The handle is not one of this request.",
        hint=hint,
        rpc_code=INVALID_PARAMS,
        request_id=request.id,
    )


__all__ = [
    "Again",
    "Call",
    "Interim",
    "challenge_of",
    "foreign",
    "handle_of",
    "is_pending",
    "message_of",
]
