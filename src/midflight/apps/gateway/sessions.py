"""Sessions of legacy clients (2025-03-26 to 2025-11-25): minted here, bound to one caller.

A session is a convenience of the protocol, not a proof: every request of it is authenticated, and
a session that another caller names does not exist for that caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from midflight.apps.gateway.resumption import Kept
from midflight.domain.errors import Conflict, NotFound
from midflight.domain.identity import Caller
from midflight.domain.value import JSONObject
from midflight.wire import json
from midflight.wire.mcp import meta
from midflight.wire.mcp.capabilities import client_capabilities

MAX_SESSIONS = 10_000
MAX_OF_ONE = 1_000
"""Sessions of one workload: beyond it its own oldest ends, so that no other's must."""
MAX_BACKLOG = 256


class Session:
    """One legacy client. Mutable; one event loop."""

    def __init__(
        self, *, session_id: str, caller: Caller, endpoint: str, version: str, params: JSONObject
    ) -> None:
        """`params` are those of `initialize`."""
        self.id = session_id
        self.workload = caller.workload
        self.run = caller.run
        self.endpoint = endpoint
        self.version = version
        # Both go to upstreams and nobody judges them: only what the specification gives them does.
        self.capabilities = client_capabilities(params.get("capabilities"), modern=False)
        about = json.as_object(params.get("clientInfo"))
        self.client_info: JSONObject = (about and meta.implementation(about)) or {}
        self.initialized = False
        self.closed = asyncio.Event()
        self.calls: dict[str, Callable[[], None]] = {}
        self._questions: dict[int, asyncio.Future[JSONObject]] = {}
        self._next = 0
        self._notices: asyncio.Queue[bytes] = asyncio.Queue(MAX_BACKLOG)
        self.listening = False

    def question(self) -> tuple[int, asyncio.Future[JSONObject]]:
        """Allocate a request id towards the client, and where its answer will be."""
        self._next += 1
        future: asyncio.Future[JSONObject] = asyncio.get_running_loop().create_future()
        self._questions[self._next] = future
        return self._next, future

    def answered(self, request_id: int) -> None:
        """Forget a question."""
        self._questions.pop(request_id, None)

    def answer(self, request_id: object, result: JSONObject | None) -> bool:
        """Deliver a client's answer, None for an error. False if nobody asked: it is dropped."""
        if not isinstance(request_id, int):
            return False
        future = self._questions.get(request_id)
        if future is None or future.done():
            return False
        if result is not None:
            future.set_result(result)
        else:
            # The error's own text stays here: an upstream is told of it, and nobody judged it.
            future.set_exception(Conflict("The client refused to answer."))
        return True

    def notice(self, message: bytes) -> None:
        """Queue a message for the session's own stream; the oldest falls out of a full queue."""
        if self._notices.full():
            self._notices.get_nowait()
        self._notices.put_nowait(message)

    async def next_notice(self) -> bytes:
        """The next message for the session's own stream."""
        return await self._notices.get()

    def close(self) -> None:
        """End it: streams close, questions fail, calls in flight are cancelled."""
        self.closed.set()
        for future in self._questions.values():
            if not future.done():
                future.set_exception(Conflict("The session has ended."))
        for cancel in list(self.calls.values()):
            cancel()


class Sessions:
    """All sessions of this process."""

    def __init__(self, token: Callable[[], str]) -> None:
        """`token` makes fresh unguessable ids."""
        self._token = token
        self._sessions: dict[str, Session] = {}
        self._of: dict[str, dict[str, Session]] = {}
        self.kept = Kept()

    def open(self, *, caller: Caller, endpoint: str, version: str, params: JSONObject) -> Session:
        """Mint a session; beyond a bound the oldest ends, of the workload that has most."""
        own = self._of.get(caller.workload, {})
        if len(own) >= MAX_OF_ONE:
            self.end(next(iter(own.values())))
        elif len(self._sessions) >= MAX_SESSIONS:
            most = max(self._of.values(), key=len)
            self.end(next(iter(most.values())))
        session = Session(
            session_id=self._token(),
            caller=caller,
            endpoint=endpoint,
            version=version,
            params=params,
        )
        self._sessions[session.id] = session
        self._of.setdefault(caller.workload, {})[session.id] = session
        return session

    def find(self, session_id: str, *, caller: Caller, endpoint: str) -> Session:
        """A session of this caller. `NotFound` otherwise, whoever else it may belong to."""
        session = self._sessions.get(session_id)
        if (
            session is None
            or session.workload != caller.workload
            or session.run != caller.run
            or session.endpoint != endpoint
        ):
            raise NotFound("There is no such session.", hint="Initialize a new one.")
        return session

    def of(self, endpoint_covers: Callable[[str], bool]) -> list[Session]:
        """Sessions whose endpoint the predicate covers."""
        return [s for s in self._sessions.values() if endpoint_covers(s.endpoint)]

    def end(self, session: Session) -> None:
        """End a session."""
        self._sessions.pop(session.id, None)
        own = self._of.get(session.workload, {})
        own.pop(session.id, None)
        if not own:
            self._of.pop(session.workload, None)
        self.kept.forget(session.id)
        session.close()

    def close(self) -> None:
        """End all."""
        for session in list(self._sessions.values()):
            self.end(session)


__all__ = ["MAX_SESSIONS", "Session", "Sessions"]
