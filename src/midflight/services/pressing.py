"""What follows when somebody presses a button that Midflight sent: an answer, or "I have it".

The ticket says what is meant, and that we made it for this very channel; the channel's signature
says that it comes from there; the operator's settings say who presses. Who may answer is decided
where it always is (`approval_desk.py`). Above: `apps/hooks`, which knows signatures and people.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from midflight.domain.errors import Conflict, Forbidden, Malformed, NotFound, StoreUnavailable
from midflight.domain.identity import Author
from midflight.domain.ticket import Verb, open_ticket
from midflight.services.approval_desk import ApprovalStatus
from midflight.services.escalation import Escalation
from midflight.services.escalation_items import Answering
from midflight.services.ports.clock import Clock
from midflight.services.ports.use_store import UseStore

REMEMBERED_S = 3_600
"""How long what came in is remembered: longer than any signature that a channel takes is good."""
_PURPOSE = "hook"


class Desk(Protocol):
    """The part of `ApprovalDesk` that is used here."""

    async def show(self, approval_id: str) -> ApprovalStatus:
        """`NotFound` if there is none."""
        ...

    async def approve(
        self, approval_id: str, *, author: Author, digest: str | None = None
    ) -> ApprovalStatus:
        """Agree."""
        ...

    async def refuse(
        self, approval_id: str, *, author: Author, digest: str | None = None
    ) -> ApprovalStatus:
        """Refuse."""
        ...


class Pressing:
    """See the module. `key` must be set before the first button."""

    def __init__(
        self,
        *,
        desk: Desk,
        escalation: Escalation,
        used: UseStore,
        clock: Clock,
        channels: Mapping[str, Answering],
    ) -> None:
        """`channels` says what comes back from which."""
        self.key = b""
        self._desk = desk
        self._escalation = escalation
        self._used = used
        self._clock = clock
        self._channels = channels
        # One at a time: of the same message twice at once, one is the first.
        self._turn = asyncio.Lock()

    async def take(
        self, channel: str, message: str, means: Callable[[], Awaitable[str]]
    ) -> str | None:
        """Do what a message means, if it has not been taken before; None if it has.

        It is noted as taken once what it means is durable or was refused for good, so that a
        failure loses nobody's answer: the same may come again. Should noting it fail, what it means
        is still done once only, since an approval takes one answer of a person and a notice one
        acknowledgement.

        Raises:
            What `means` raises.
            StoreUnavailable: whether it was taken cannot be known, so it is not.
        """
        key = f"{channel} {message}"
        async with self._turn:
            if await self._used.was_used(_PURPOSE, key, now=int(self._clock.now())):
                return None
            try:
                text = await means()
            except (Malformed, Forbidden, NotFound, Conflict):
                await self._note(key)
                raise
            await self._note(key)
            return text

    async def press(self, channel: str, ticket: str, *, author: Author) -> str:
        """Do what a button means; a sentence for whoever pressed it.

        Raises:
            Malformed, Forbidden: it is no button of ours, or of this channel, or is over; or the
                channel, or this person, may not.
            NotFound, Conflict: what it is about is not there, is another action, or cannot be
                answered any more.
        """
        read = open_ticket(ticket, self.key, channel=channel, now=self._clock.now())
        may = self._channels.get(channel, Answering())
        if read.verb is Verb.ACKNOWLEDGE:
            if not may.may_acknowledge:
                raise Forbidden(f"Nothing is acknowledged from {channel}.")
            notice = await self._escalation.acknowledge(read.subject, author=author)
            return f"{author.name} has {notice.id}; nobody else is told."
        if not may.may_answer:
            raise Forbidden(
                f"Approvals are not answered from {channel}.",
                hint=f"[hooks.{channel}] may_answer = true would allow it.",
            )
        asked = await self._desk.show(read.subject)
        if not hmac.compare_digest(asked.digest.encode(), read.digest.encode()):
            raise Conflict(f"{read.subject} is about another action than the button.")
        if read.verb is Verb.APPROVE:
            after = await self._desk.approve(read.subject, author=author)
        else:
            after = await self._desk.refuse(read.subject, author=author)
        missing = f"; still to agree: {', '.join(after.missing)}" if after.missing else ""
        said = "agreed to" if read.verb is Verb.APPROVE else "refused"
        return f"{author.name} {said} {after.id}, which is {after.state.value}{missing}."

    async def acknowledge_thread(self, thread: str, *, author: Author) -> str:
        """Somebody has what was told in a thread. Raises as `Escalation.acknowledge_thread`."""
        found = await self._escalation.acknowledge_thread(thread, author=author)
        return f"{author.name} has {len(found)}."

    async def _note(self, key: str) -> None:
        now = int(self._clock.now())
        with contextlib.suppress(StoreUnavailable):
            await self._used.use_once(_PURPOSE, key, until=now + REMEMBERED_S, now=now)


__all__ = ["REMEMBERED_S", "Desk", "Pressing"]
