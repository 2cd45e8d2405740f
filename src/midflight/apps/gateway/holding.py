"""Holding a call while a person is asked, for as long as its client can wait.

No worker waits: a held call is a future in `services/waiting.py`. The client hears from it every
few seconds, as progress where it asked for that, and otherwise as a comment that keeps its
connection. Once the question is settled the action goes through the guard again. Above:
`waiting.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from midflight.apps.gateway.approver_pages import ApproverPages
from midflight.apps.gateway.sinks import LegacySink, ModernSink
from midflight.apps.gateway.waiting_call import Call, challenge_of, is_pending, message_of
from midflight.domain.approval import ApprovalRequest, ApprovalState
from midflight.domain.decision import Challenge, DenyCode
from midflight.domain.errors import MidflightError
from midflight.domain.held import when
from midflight.domain.identity import Caller
from midflight.domain.revocation import ScopeKind
from midflight.services.guard import Performed, Refused
from midflight.services.ports.approval_store import ApprovalStore
from midflight.services.ports.clock import Clock
from midflight.services.refusing import deny, from_error
from midflight.services.waiting import Wait, Waiter, WaitingRoom, Woken
from midflight.wire import refusal
from midflight.wire.mcp import waiting as shapes

MAX_AGAIN: Final = 3
"""How often one held call is tried again: each try may find worse facts, and ask anew."""

_ENDS: Final[dict[ApprovalState, tuple[str, str]]] = {
    ApprovalState.VOID: (
        "void",
        "What it depends on changed after it was asked, or its run ended.",
    ),
    ApprovalState.USED: ("used", "Its approval was used by another call of the same."),
}


class Holding:
    """See the module."""

    def __init__(
        self,
        *,
        room: WaitingRoom,
        approvals: ApprovalStore,
        pages: ApproverPages,
        clock: Clock,
        now: Callable[[str, int], float],
    ) -> None:
        """Shared by all endpoints. `now` is the time for a question (`Approvals.time_of`)."""
        self._now = now
        self._room = room
        self._approvals = approvals
        self._pages = pages
        self._clock = clock
        self._parked: dict[str, Wait] = {}
        room.on_settled(self.unpark)

    async def hold(
        self, refused: Refused, call: Call, *, for_s: float, shows_page: bool = False
    ) -> Performed | Refused:
        """Wait while the client does; a refusal that is pending still says that it has to go.

        Args:
            refused: what the guard said.
            call: whose it is.
            for_s: at most so long, and not beyond the caller's proof: what is done then, nobody
                has proved.
            shows_page: ask a legacy client's user to open the page meanwhile.
        """
        until = self._clock.monotonic() + min(for_s, call.caller.expires_at - self._clock.now())
        outcome: Performed | Refused = refused
        for _ in range(MAX_AGAIN):
            if not isinstance(outcome, Refused) or not is_pending(outcome):
                break
            left = until - self._clock.monotonic()
            if left <= 0:
                break
            try:
                found = await self._watch(outcome, call, left, shows_page=shows_page)
            except MidflightError as error:
                return Refused(record=outcome.record, decision=from_error(error))
            if found is None:
                return self._as_of_now(outcome)
            over = self.over(found)
            if over is not None:
                return msgspec.structs.replace(over, record=outcome.record)
            outcome = await call.again()
        return outcome

    def over(self, found: ApprovalRequest) -> Refused | None:
        """The refusal of what waits for a question that ended without a yes that is left."""
        now = int(self._now(found.id, found.expires_at))
        if found.is_live(now) or found.state is ApprovalState.REFUSED:
            return None
        nobody = f"Nobody approved it by {when(found.expires_at, now=now)}, which is a no."
        state, text = _ENDS.get(found.state, ("expired", nobody))
        said = deny(
            DenyCode.APPROVAL_REQUIRED,
            f"{state}:{found.id}",
            text,
            "Send the call again, without its handle, to have it asked again.",
        )
        return Refused(record="", decision=said)

    # While the client is away

    def park(self, refused: Refused, caller: Caller) -> None:
        """Have the registry show what waits although its client is not here."""
        challenge = challenge_of(refused)
        if challenge.approval in self._parked:
            return
        left = max(0.0, challenge.expires_at - self._time(challenge))
        try:
            wait = self._room.park(_waiter(refused, caller), for_s=left)
        except MidflightError:
            return  # revoked meanwhile: whoever comes again is told so
        if wait is not None:
            self._parked[challenge.approval] = wait

    def unpark(self, approval: str) -> None:
        """The client is here again, or has given up."""
        wait = self._parked.pop(approval, None)
        if wait is not None:
            wait.close()

    # Inside

    async def _watch(
        self, refused: Refused, call: Call, for_s: float, *, shows_page: bool
    ) -> ApprovalRequest | None:
        """The question once it is settled; None if it is not when the time is over.

        Raises:
            Interrupted: what waits was revoked, or its run has ended.
        """
        challenge = challenge_of(refused)
        left = max(0.0, challenge.expires_at - self._time(challenge))
        self.unpark(challenge.approval)
        wait = self._room.enter(_waiter(refused, call.caller), for_s=min(for_s, left))
        if wait is None:
            return None
        forget: Callable[[], None] | None = None
        woken: Woken | None = None
        try:
            if shows_page:
                forget = await self._pages.show(challenge, call)
            await self._beat(challenge, call, wait)
            while True:
                # Looked up after entering: what was settled before is not waited for.
                found = await self._approvals.get_approval(challenge.approval)
                if found is None:
                    return None
                if found.state is not ApprovalState.PENDING or not found.is_live(
                    self._now(found.id, found.expires_at)
                ):
                    if forget is not None:
                        await self._pages.opened(challenge, call)
                    return found
                if woken is Woken.OVER:
                    return None
                while (woken := await wait.next()) is Woken.BEAT:
                    await self._beat(challenge, call, wait)
        finally:
            wait.close()
            if forget is not None:
                forget()

    async def _beat(self, challenge: Challenge, call: Call, wait: Wait) -> None:
        """Tell the client that it waits."""
        sink = call.sink
        if not isinstance(sink, ModernSink | LegacySink):
            return
        if call.token is None:
            await sink.keep_alive()
            return
        left = wait.deadline - self._clock.monotonic()
        told = shapes.progress(call.token, remaining_s=left, message=message_of(challenge))
        await sink.notify(shapes.PROGRESS, told)

    def _time(self, challenge: Challenge) -> float:
        return self._now(challenge.approval, challenge.expires_at)

    def _as_of_now(self, refused: Refused) -> Refused:
        challenge = challenge_of(refused)
        left = max(0, challenge.expires_at - int(self._time(challenge)))
        now = msgspec.structs.replace(challenge, expires_s=left)
        return msgspec.structs.replace(refused, decision=now)


def _waiter(refused: Refused, caller: Caller) -> Waiter:
    challenge = challenge_of(refused)
    named = dict(refused.scopes)  # one upstream and one tool; the others do not matter here
    upstream = named.get(ScopeKind.UPSTREAM, "")
    return Waiter(
        approval=challenge.approval,
        run=refused.run,
        workload=caller.workload,
        upstream=upstream,
        name=named.get(ScopeKind.TOOL, "").removeprefix(f"{upstream}/"),
        scopes=refused.scopes,
        note=f"{refusal.waiting(challenge)} ({challenge.approval})",
    )


__all__ = ["MAX_AGAIN", "Holding"]
