"""Telling people: one contact after another, together what belongs together, and not too often.

A notice that is due is written down as being told, then told, then written down as told: a process
that dies in between tells the same message again under the same id. One contact gets one message
for all that waits of one group, at most one a minute of each group, and so many messages a minute
altogether; what is more comes as one digest. Nothing is told once somebody has acknowledged it.

Above: `escalation.py`, which keeps notices. Below: channels (`ports/notify.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

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
from midflight.domain.value import Value
from midflight.services.escalation import Escalation
from midflight.services.escalation_endings import EscalationEndings
from midflight.services.escalation_words import MAX_ITEMS, loudest_first, message_of, rank
from midflight.services.ports.clock import Clock
from midflight.services.ports.notify import Channel, Item, Message, NotDelivered
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.telemetry import Telemetry

AT_ONCE = 8
"""Contacts that are told at the same time."""
MAX_BATCH = 500
"""Notices of one message."""
BACKOFF_S = (5, 20, 60, 300, 900)
TELL_S = 30.0
"""For one message on one channel, whatever that does."""
MAX_AFTER_S = 900

log = structlog.get_logger(__name__)

ItemOf: TypeAlias = Callable[[Notice, str], Awaitable[Item]]
"""(notice, channel) → what stands in a message about it"""


class Pace(Value):
    """How often one contact is told.

    Attributes:
        per_minute: messages of all kinds.
        group_s: seconds between two of the same group.
        repeat_s: until the last of all contacts, who has not answered, is told again.
    """

    per_minute: int = 6
    group_s: int = 60
    repeat_s: int = 86_400


class _Batch(Value):
    """Notices that go to one contact in one message."""

    contact: str
    message: str
    thread: str
    notices: tuple[Notice, ...]
    is_digest: bool = False


class EscalationTelling:
    """See the module. One event loop; `tick` is called by one task only."""

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
        # When each contact was told, and of which group, in monotonic seconds of this process.
        self._sent: dict[str, list[float]] = {}
        self._groups: dict[tuple[str, str], float] = {}
        self._endings = EscalationEndings(
            escalation, channels=channels, clock=clock, reach=self._reach
        )

    async def start(self) -> None:
        """Take up what the last process left: what has ended lately is told once more."""
        await self._endings.start()

    async def tick(self) -> None:
        """Write down what was noticed, tell all that is due, and end what has ended.

        Raises:
            StoreUnavailable: nothing more was told; the next tick goes on.
        """
        await self._escalation.write()
        now = int(self._clock.now())
        due = [
            each
            for each in await self._escalation.open_notices()
            if each.state is NoticeState.OPEN and each.is_due(now)
        ]
        batches = self._batches(due)
        limit = asyncio.Semaphore(AT_ONCE)

        async def tell(batch: _Batch) -> None:
            async with limit:
                await self._tell(batch)

        done = await asyncio.gather(*(tell(each) for each in batches), return_exceptions=True)
        await self._endings.tick()
        for outcome in done:
            if isinstance(outcome, BaseException):
                raise outcome

    # Whom, with what, now or later

    def _batches(self, due: Sequence[Notice]) -> list[_Batch]:
        """What is told in this tick. What has to wait for its pace is simply not in it."""
        mono = self._clock.monotonic()
        found: list[_Batch] = []
        fresh: dict[str, dict[str, list[Notice]]] = {}
        again: dict[tuple[str, str], list[Notice]] = {}
        for notice in due:
            if notice.sending:
                again.setdefault((notice.contact, notice.sending), []).append(notice)
            else:
                groups = fresh.setdefault(notice.contact, {})
                groups.setdefault(notice.group or notice.id, []).append(notice)
        # What may have been sent before goes again whole, under its id; receivers drop it.
        found += [
            _Batch(contact=who, message=message, thread=_thread(told), notices=tuple(told))
            for (who, message), told in again.items()
        ]
        for contact, groups in fresh.items():
            found += self._fresh(contact, groups, mono)
        return found

    def _fresh(
        self, contact: str, groups: Mapping[str, Sequence[Notice]], mono: float
    ) -> list[_Batch]:
        sent = self._sent.setdefault(contact, [])
        sent[:] = [at for at in sent if mono - at < 60]
        ready = {
            group: notices
            for group, notices in groups.items()
            if mono - self._groups.get((contact, group), float("-inf")) >= self._pace.group_s
        }
        room = self._pace.per_minute - len(sent)
        if not ready or room <= 0:
            return []
        # The last message that there is room for takes all the rest with it.
        names = sorted(ready, key=lambda group: rank(loudest_first(ready[group])[0]))
        alone = names if len(names) <= room else names[: room - 1]
        rest = names[len(alone) :]
        found = [self._batch(contact, ready[name]) for name in alone]
        if rest:
            found.append(
                self._batch(contact, [each for name in rest for each in ready[name]], digest=True)
            )
        sent.extend(mono for _ in found)
        for group in ready:
            self._groups[contact, group] = mono
        if len(self._groups) > 10_000:  # a bound; forgetting only tells somebody earlier
            self._groups = {k: at for k, at in self._groups.items() if mono - at < 60}
        return found

    def _batch(self, contact: str, notices: Sequence[Notice], *, digest: bool = False) -> _Batch:
        kept = tuple(notices[:MAX_BATCH])
        names = " ".join(f"{each.id}.{each.step}" for each in kept)
        made = "msg_" + hashlib.sha256(f"{contact} {names}".encode()).hexdigest()[:32]
        thread = made if digest else _thread(kept)
        return _Batch(contact=contact, message=made, thread=thread, notices=kept, is_digest=digest)

    # Telling one

    async def _tell(self, batch: _Batch) -> None:
        try:
            notices = [begun(each, batch.message, batch.thread) for each in batch.notices]
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

    async def _message(self, channel: str, batch: _Batch, notices: Sequence[Notice]) -> Message:
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
        batch: _Batch,
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
        batch: _Batch,
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


def _thread(notices: Sequence[Notice]) -> str:
    """What receivers call these: as the first of them was called before, or by its id."""
    first = notices[0]
    return first.threads[0] if first.threads else first.id


__all__ = ["AT_ONCE", "BACKOFF_S", "EscalationTelling", "ItemOf", "Pace"]
