"""Telling people: one contact after another, together what belongs together, and not too often.

A notice that is due is written down as being told, then told, then written down as told: a process
that dies in between tells the same message again under the same id. What comes together, and how
often, is in `escalation_pacing.py`. Nothing is told once somebody has acknowledged it.

Above: `escalation.py`, which keeps notices. Below: channels (`ports/notify.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeAlias

import structlog

from midflight.domain.errors import Conflict, LedgerUnavailable, MidflightError
from midflight.domain.notice import (
    Contact,
    Notice,
    NoticeState,
    Told,
    also_told,
    begun,
    missed,
    told,
)
from midflight.domain.records import Notified
from midflight.services.escalation import Escalation
from midflight.services.escalation_endings import EscalationEndings
from midflight.services.escalation_pacing import Batch, Pace, Pacing
from midflight.services.escalation_words import MAX_ITEMS, loudest_first, message_of
from midflight.services.ports.clock import Clock
from midflight.services.ports.notify import Channel, Item, Message, NotDelivered
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.telemetry import Telemetry

BACKOFF_S = (5, 20, 60, 300, 900)
TELL_S = 30.0
"""For one message on one channel, whatever that does."""
MAX_AFTER_S = 900
_ENDINGS = ""
"""What tells ends is called among the contacts that are being told."""

log = structlog.get_logger(__name__)

ItemOf: TypeAlias = Callable[[Notice, str], Awaitable[Item]]
"""(notice, channel) → what stands in a message about it"""


class EscalationTelling:
    """See the module. One event loop; `begin` is called by one task at a time.

    Each contact is told by a task of its own, one message after the other: a channel that hangs
    holds up those who are reached by it and nobody else.
    """

    def __init__(
        self,
        escalation: Escalation,
        *,
        contacts: Mapping[str, Contact],
        channels: Mapping[str, Channel],
        recorder: Recorder,
        clock: Clock,
        telemetry: Telemetry,
        item: ItemOf,
        pace: Pace | None = None,
    ) -> None:
        """`item` makes what stands in a message, with buttons where the channel may have them."""
        self._escalation = escalation
        self._contacts = contacts
        self._channels = channels
        self._recorder = recorder
        self._clock = clock
        self._telemetry = telemetry
        self._item = item
        self._pace = pace or Pace()
        self._pacing = Pacing(self._pace, clock)
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._endings = EscalationEndings(
            escalation, channels=channels, clock=clock, reach=self._reach
        )

    async def start(self) -> None:
        """Take up what the last process left: what has ended lately is told once more."""
        await self._endings.start()

    async def tick(self) -> None:
        """As `begin`, and wait until all of it is told.

        Raises:
            StoreUnavailable: the next tick goes on with what was not told.
        """
        await self.begin()
        done = await asyncio.gather(*self._busy.values(), return_exceptions=True)
        for outcome in done:
            if isinstance(outcome, BaseException):
                raise outcome

    async def begin(self) -> None:
        """Write down what was noticed, and begin to tell what is due and to end what has ended.

        Raises:
            StoreUnavailable: nothing was begun.
        """
        await self._escalation.write()
        now = int(self._clock.now())
        due = [
            each
            for each in await self._escalation.open_notices()
            if each.state is NoticeState.OPEN and each.is_due(now)
        ]
        free = [each for each in due if each.contact not in self._busy]
        by_contact: dict[str, list[Batch]] = {}
        for batch in self._pacing.batches(free):
            by_contact.setdefault(batch.contact, []).append(batch)
        for contact, batches in by_contact.items():
            self._aside(contact, self._tell_all(batches))
        if _ENDINGS not in self._busy:
            self._aside(_ENDINGS, self._endings.tick())

    async def close(self) -> None:
        """Stop in the middle. What was begun is told by the next process under the same id."""
        tasks = list(self._busy.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _aside(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._busy[name] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda done: self._over(name, done))

    def _over(self, name: str, task: asyncio.Task[None]) -> None:
        del self._busy[name]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            if name != _ENDINGS:
                self._escalation.stirred.set()  # what was found meanwhile is begun at once
        else:
            why = error.message if isinstance(error, MidflightError) else type(error).__name__
            log.warning("escalation_held_up", contact=name, why=why)

    # Telling one

    async def _tell_all(self, batches: Sequence[Batch]) -> None:
        problem: Exception | None = None
        for batch in batches:
            try:
                await self._tell(batch)
            except Exception as error:  # noqa: BLE001 -- what is wrong with one message must not silence the others
                problem = error
        if problem is not None:
            raise problem

    async def _tell(self, batch: Batch) -> None:
        shown = batch.notices
        if batch.is_digest:
            # Of one group those that are not shown are more of the same; of a digest they are not.
            shown = loudest_first(shown)[:MAX_ITEMS]
        named = {each.id for each in shown}
        try:
            notices = [
                begun(each, batch.message, batch.thread if each.id in named else "")
                for each in batch.notices
            ]
        except Conflict:
            return
        contact = self._contact(batch.contact)
        messages = [await self._message(name, batch, notices) for name in contact.channels]
        # Last, so that nothing is waited for between looking who has answered and telling.
        if not await self._escalation.replace(notices):
            return  # somebody answered meanwhile; the next tick sees what is left
        taken, problem = await self._send(contact, messages)
        now = int(self._clock.now())
        for notice in notices:
            self._record(notice, batch, taken, problem)
            await self._settle(notice, batch, taken, problem, now=now)

    async def _message(self, channel: str, batch: Batch, notices: Sequence[Notice]) -> Message:
        ordered = loudest_first(notices)
        return message_of(
            batch.message,
            batch.thread,
            contact=batch.contact,
            notices=ordered,
            items=[await self._item(each, channel) for each in ordered[:MAX_ITEMS]],
            at=int(self._clock.now()),
            is_digest=batch.is_digest,
        )

    async def _send(
        self, contact: Contact, messages: Sequence[Message]
    ) -> tuple[list[str], NotDelivered | None]:
        """The channels that took it; and if none did, what is to be done about that."""
        taken: list[str] = []
        worst = None if contact.channels else _nowhere(contact)
        for name, message in zip(contact.channels, messages, strict=True):
            try:
                await self._reach(self._channels.get(name), message)
            except NotDelivered as error:
                # One channel that may yet come back is reason enough to try all again.
                if worst is None or (worst.is_final and not error.is_final):
                    worst = error
                log.warning("not_told", channel=name, contact=contact.name, why=error.message)
                self._telemetry.count("notices_not_delivered")
                continue
            taken.append(name)
            if not contact.every:
                break
        return taken, None if taken else worst

    async def _reach(self, channel: Channel | None, message: Message) -> None:
        if channel is None:
            raise NotDelivered("The channel is not in the settings any more.", is_final=True)
        try:
            async with asyncio.timeout(TELL_S):
                await channel.tell(message)
        except TimeoutError:
            raise NotDelivered(f"{channel.name} took over {TELL_S:g} s.") from None
        except MidflightError as error:
            if isinstance(error, NotDelivered):
                raise
            raise NotDelivered(f"{channel.name}: {error.message}") from None
        except Exception as error:  # noqa: BLE001 -- a bug in one channel must not silence the others
            raise NotDelivered(f"{channel.name} failed ({type(error).__name__}).") from None

    async def _settle(
        self,
        notice: Notice,
        batch: Batch,
        taken: Sequence[str],
        problem: NotDelivered | None,
        *,
        now: int,
    ) -> None:
        """Write down what became of it. What was answered meanwhile stays as it is."""
        if problem is None:
            after = told(
                notice,
                now=now,
                wait=self._wait(notice, now),
                channels=taken,
                contact=batch.contact,
                message=batch.message,
            )
        else:
            wait = BACKOFF_S[min(notice.attempts, len(BACKOFF_S) - 1)]
            wait = max(wait, min(problem.after_s, MAX_AFTER_S))
            after = missed(notice, now=now, wait=wait, final=problem.is_final)
        if after is notice or await self._escalation.replace([after]) or problem is not None:
            return
        # Answered while it was told: whoever got it hears of the end as well.
        now_stored = await self._escalation.current(notice.id)
        telling = Told(contact=batch.contact, channels=tuple(taken), at=now, message=batch.message)
        if now_stored is not None and await self._escalation.replace(
            [known := also_told(now_stored, telling)]
        ):
            self._endings.add(known)

    def _contact(self, name: str) -> Contact:
        """A contact; one that the settings know no longer has no channel."""
        return self._contacts.get(name) or Contact(name=name)

    def _wait(self, notice: Notice, now: int) -> int:
        """Seconds that whoever was told just now has, before the next one is."""
        if notice.step + 1 < notice.together:
            return 0
        if notice.step + 1 >= len(notice.chain):
            return self._pace.repeat_s
        within = self._contact(notice.contact).answer_within
        left = notice.expires_at - now
        if notice.expires_at and left < within * (len(notice.chain) - notice.step):
            # Everybody gets a turn before a question is over.
            within = max(30, left // (len(notice.chain) - notice.step))
        return within

    def _record(
        self,
        notice: Notice,
        batch: Batch,
        taken: Sequence[str],
        problem: NotDelivered | None,
    ) -> None:
        try:
            self._recorder.append(
                Notified(
                    at=self._clock.now(),
                    notice=notice.id,
                    kind=notice.kind.value,
                    subject=notice.subject,
                    run=notice.run,
                    contact=batch.contact,
                    step=notice.step,
                    message=batch.message,
                    channels=tuple(taken),
                    error="" if problem is None else problem.message,
                )
            )
        except LedgerUnavailable:
            return  # the ledger counts what it could not take; people are told all the same


def _nowhere(contact: Contact) -> NotDelivered:
    return NotDelivered(f"{contact.name} has no channel.", is_final=True)


__all__ = ["BACKOFF_S", "EscalationTelling", "ItemOf", "Pace"]
