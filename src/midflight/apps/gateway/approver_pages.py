"""The approver's page, as clients of 2025-11-25 are asked to have it opened.

Asked once a session for each question. Whatever the client answers means nothing: who opens the
page proves there who he is. The notice that it has done its work goes to the session that was
asked, and to no other. Above: `waiting.py`, `holding.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from midflight.apps.gateway.sessions import Session
from midflight.apps.gateway.sinks import LegacySink
from midflight.apps.gateway.waiting_call import Call, message_of
from midflight.domain.decision import Challenge
from midflight.domain.value import JSONObject
from midflight.wire import jsonrpc
from midflight.wire.mcp import waiting as shapes


class _Asked:
    """Who was asked about one question, and when that ends (Unix seconds)."""

    __slots__ = ("ends_at", "sessions")

    def __init__(self, ends_at: int) -> None:
        self.ends_at = ends_at
        self.sessions: WeakKeyDictionary[Session, bool] = WeakKeyDictionary()


class ApproverPages:
    """See the module."""

    def __init__(self, public_url: str, *, now: Callable[[str, int], float]) -> None:
        """`public_url` has no slash at the end; `now` is the time for a question."""
        self._public_url = public_url
        self._now = now
        # The sessions that were asked, and whether they are told on their own stream. A session
        # that has ended is in none; a question is, until it is settled or its end has come.
        self._asked: dict[str, _Asked] = {}

    def url(self, approval: str) -> str:
        """Where a person answers. It names the question and proves nothing."""
        return f"{self._public_url}/approve/{approval}"

    def legacy(self, challenge: Challenge) -> JSONObject:
        """The question as 2025-11-25 has it."""
        return shapes.legacy_page(
            url=self.url(challenge.approval),
            message=message_of(challenge),
            elicitation=challenge.approval,
        )

    async def show(self, challenge: Challenge, call: Call) -> Callable[[], None] | None:
        """Ask on the call's own stream; what it returns forgets the question.

        None if there is no such stream, or its session was asked before.
        """
        session = call.session
        if session is None or not isinstance(call.sink, LegacySink) or not call.sink.streams:
            return None
        asked = self._of(challenge)
        if session in asked.sessions:
            return None
        asked.sessions[session] = False
        return await call.sink.show(shapes.ELICIT, self.legacy(challenge))

    def tell_later(self, challenge: Challenge, session: Session) -> None:
        """The call ends before the question does: say it on the session's own stream, then."""
        self._of(challenge).sessions[session] = True

    async def opened(self, challenge: Challenge, call: Call) -> None:
        """Say on the call's own stream that the page has done its work."""
        await call.sink.notify(shapes.COMPLETE, {"elicitationId": challenge.approval})

    def settled(self, approval: str) -> None:
        """Something became of a question."""
        message = jsonrpc.encode_notification(shapes.COMPLETE, {"elicitationId": approval})
        asked = self._asked.pop(approval, None)
        for session, is_told in () if asked is None else asked.sessions.items():
            if is_told and not session.closed.is_set():
                session.notice(message)

    def sweep(self) -> None:
        """Forget questions whose time is over: one that was settled first is never told again."""
        for approval, asked in list(self._asked.items()):
            if self._now(approval, asked.ends_at) >= asked.ends_at:
                del self._asked[approval]

    def _of(self, challenge: Challenge) -> _Asked:
        fresh = _Asked(challenge.expires_at)
        return self._asked.setdefault(challenge.approval, fresh)


__all__ = ["ApproverPages"]
