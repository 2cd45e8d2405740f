"""Escalation: open questions, whom they go to, who has them, and how they end.

Beside the path of every action: whatever happens here, nothing is let through by it and nothing is
held up. What others notice is put into a queue without waiting (`wanted`), and what the queue loses
with the process is found again in the store (`escalation_sources.py`).

Above: the control API, webhooks that come in. `escalation_telling.py` tells people.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from midflight.domain.errors import (
    Forbidden,
    LedgerUnavailable,
    NotFound,
    StoreUnavailable,
    Unavailable,
)
from midflight.domain.identity import Author, Workload
from midflight.domain.notice import (
    MAX_CHAIN,
    MAX_FACTS,
    Contact,
    Notice,
    NoticeKind,
    NoticeState,
    acknowledged,
    chain_of,
    resolved,
)
from midflight.domain.records import Acknowledged
from midflight.domain.value import Value
from midflight.services.ports.clock import Clock
from midflight.services.ports.escalation_store import EscalationStore
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.telemetry import Telemetry

MAX_QUEUE = 10_000
"""What may wait to be written down."""
KEPT_S = 30 * 86_400
"""How long what has ended can be looked up."""
MAX_ALIKE = 50
"""Open notices of one kind about one workload; further ones are in the ledger alone."""
MAX_ASKED = 2_000
"""Open questions of one workload that people are told of; further ones expire to a no."""
_TRIES = 8
"""How often a change is made again when another one came first."""

log = structlog.get_logger(__name__)


class Wanted(Value):
    """A question that somebody should be told of; `first` says who, reachable or not."""

    notice: Notice
    first: tuple[str, ...]


class Ended(Value):
    """A question that is none any more."""

    subject: str
    why: str


class Escalation:
    """See the module. One event loop."""

    def __init__(
        self,
        *,
        store: EscalationStore,
        recorder: Recorder,
        clock: Clock,
        telemetry: Telemetry,
        contacts: Mapping[str, Contact],
        default: str = "",
    ) -> None:
        """`default` is the contact of what has no owner that can be reached."""
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._telemetry = telemetry
        self._contacts = contacts
        self._default = default
        self._queue: deque[Wanted | Ended] = deque()
        self._writing = asyncio.Lock()
        self._changed: list[Callable[[Notice], None]] = []
        # Open notices by what they are alike in; None until that is counted.
        self._crowds: Counter[tuple[str, ...]] | None = None
        self.stirred = asyncio.Event()
        """Set whenever there may be something to tell."""

    def people(self, workload: Workload | None, *, owner: str = "") -> tuple[str, tuple[str, ...]]:
        """Who answers for a workload, and whom to tell, in order: owner, escalation contact.

        Its team stands in for an owner who cannot be reached.
        """
        if workload is None:
            return owner, (owner,)
        owner = owner or workload.owner
        team = () if owner in self._contacts else (workload.team,)
        return owner, (owner, *team, workload.escalation)

    # From the path of actions: never waits, never raises

    def wanted(self, notice: Notice, first: Sequence[str]) -> None:
        """Somebody should be told. Given away, and written down as soon as may be."""
        self._put(Wanted(notice=notice, first=tuple(first)))

    def ended(self, subject: str, why: str) -> None:
        """A question is none any more. Given away like `wanted`."""
        self._put(Ended(subject=subject, why=why))

    def on_changed(self, listener: Callable[[Notice], None]) -> None:
        """Call `listener` for each notice that was acknowledged or has ended."""
        self._changed.append(listener)

    # Beside it

    async def write(self) -> None:
        """Write down what was given away.

        Raises:
            StoreUnavailable: what is not written yet stays in the queue.
        """
        async with self._writing:
            while self._queue:
                first = self._queue[0]
                try:
                    if isinstance(first, Wanted):
                        await self.file(first.notice, first.first)
                    else:
                        await self._end(first.subject, first.why)
                except StoreUnavailable:
                    raise
                except Exception as error:  # noqa: BLE001 -- what can never be written must not hold up the rest
                    self._telemetry.count("notices_dropped")
                    log.warning("notice_dropped", why=type(error).__name__)
                self._queue.popleft()

    async def file(self, notice: Notice, first: Sequence[str]) -> bool:
        """Keep a notice, with the contacts it goes to. False if it is not kept.

        That is if its subject has one already, or so many like it are open: who makes noise is
        known by then, and what is not kept is in the ledger.
        """
        most = MAX_ASKED if notice.kind is NoticeKind.APPROVAL else MAX_ALIKE
        alike = await self._alike(notice)
        if alike >= most:
            self._telemetry.count("notices_folded")
            return False
        if alike == most - 1:
            facts = (*notice.facts[: MAX_FACTS - 1], _LAST)
            notice = msgspec.structs.replace(notice, facts=facts)
        now = int(self._clock.now())
        chain = chain_of(first, contacts=self._contacts, default=self._default)
        known = len([name for name in dict.fromkeys(first) if name in chain])
        filed = msgspec.structs.replace(
            notice,
            id=notice.id or f"ntc_{self._clock.token()}",
            chain=chain,
            # Of those to tell at once, the ones that can be told.
            together=len(chain) if notice.together >= MAX_CHAIN else min(notice.together, known),
            created_at=notice.created_at or now,
            due_at=now,
        )
        if not await self._store.add_notice(filed):
            return False
        if self._crowds is not None and notice.kind not in _NEVER_FOLDED:
            self._crowds[_crowd(notice)] += 1
        if not chain:
            self._telemetry.count("notices_without_contact")
        self._telemetry.count("notices")
        self.stirred.set()
        return True

    async def resolve(self, subject: str, why: str) -> None:
        """End the notice about a subject, if there is one."""
        await self._end(subject, why)

    async def prune(self) -> None:
        """Forget what ended long ago."""
        await self._store.forget_notices(before=int(self._clock.now()) - KEPT_S)

    # For people

    async def open_notices(self) -> Sequence[Notice]:
        """What is not resolved, oldest first."""
        return await self._store.list_notices(ended=False)

    async def history(self, limit: int = 200) -> Sequence[Notice]:
        """All notices, newest first."""
        return await self._store.list_notices(ended=True, limit=limit)

    async def show(self, notice_id: str) -> Notice:
        """A notice by its id, or by that of its subject. `NotFound` if there is none."""
        found = await self._store.get_notice(notice_id) or await self._store.notice_about(notice_id)
        if found is None:
            raise NotFound(
                f"There is no notice {notice_id}.", hint="midflight notice list shows them."
            )
        return found

    async def acknowledge(self, notice_id: str, *, author: Author) -> Notice:
        """Somebody has it: nobody else is told.

        Raises:
            NotFound: there is no such notice.
            Conflict: somebody has it already, or it has ended.
            Forbidden: it tells others of what the author himself has opened.
        """
        notice = await self.show(notice_id)
        if notice.kind is NoticeKind.BREAK_GLASS:
            await self._check_not_own(notice, author)
        now = int(self._clock.now())
        after = await self._change(
            notice, lambda each: acknowledged(each, by=author.name, proof=author.proof, now=now)
        )
        self._record(after, author)
        self._tell_listeners(after)
        return after

    async def acknowledge_thread(self, thread: str, *, author: Author) -> Sequence[Notice]:
        """The same for all that was told in one thread and is open. `NotFound` if nothing was."""
        found = [each for each in await self.open_notices() if thread in (*each.threads, each.id)]
        if not found:
            raise NotFound("Nothing that is open was told in this thread.")
        return [
            await self.acknowledge(each.id, author=author)
            for each in found
            if each.state is NoticeState.OPEN
        ]

    # For telling

    async def current(self, notice_id: str) -> Notice | None:
        """A notice as it is stored now."""
        return await self._store.get_notice(notice_id)

    async def replace(self, notices: Sequence[Notice]) -> bool:
        """Store changed notices, all or none; see `EscalationStore.change_notices`."""
        return await self._store.change_notices(notices)

    # Inside

    def _put(self, entry: Wanted | Ended) -> None:
        if len(self._queue) >= MAX_QUEUE:
            # What is lost here is found in the store later, or was a finding, which is in the
            # ledger; better than to grow without end while the store is gone.
            self._telemetry.count("notices_dropped")
            return
        self._queue.append(entry)
        self.stirred.set()

    async def _alike(self, notice: Notice) -> int:
        """How many are open that are like it; of what is never folded, none."""
        if notice.kind in _NEVER_FOLDED:
            return 0
        if self._crowds is None:
            found = await self.open_notices()
            self._crowds = Counter(_crowd(n) for n in found if n.state is NoticeState.OPEN)
        return self._crowds[_crowd(notice)]

    async def _check_not_own(self, notice: Notice, author: Author) -> None:
        for entry in await self._store.list_break_glass(settled=False):
            if entry.id == notice.subject and author.name == entry.author:
                raise Forbidden(
                    f"{author.name} opened {entry.id}, so somebody else takes note of it.",
                    hint="The others who answer for it are told.",
                )

    async def _end(self, subject: str, why: str) -> None:
        notice = await self._store.notice_about(subject)
        if notice is None or notice.state is NoticeState.RESOLVED:
            return
        now = int(self._clock.now())
        self._tell_listeners(
            await self._change(notice, lambda each: resolved(each, now=now, why=why))
        )

    async def _change(self, notice: Notice, step: Callable[[Notice], Notice]) -> Notice:
        for _ in range(_TRIES):
            after = step(notice)
            if after is notice or await self._store.change_notices([after]):
                return after
            again = await self._store.get_notice(notice.id)
            if again is None:
                break
            notice = again
        raise Unavailable(f"{notice.id} is being changed by somebody else.", hint="Try again.")

    def _record(self, notice: Notice, author: Author) -> None:
        try:
            self._recorder.append(
                Acknowledged(
                    at=self._clock.now(),
                    notice=notice.id,
                    kind=notice.kind.value,
                    subject=notice.subject,
                    run=notice.run,
                    author=author.name,
                    proof=author.proof,
                )
            )
        except LedgerUnavailable:
            return  # the ledger counts what it could not take; the notice itself names the author

    def _tell_listeners(self, notice: Notice) -> None:
        was_open = notice.ends_with_ack or not (
            notice.acknowledged_at and notice.state is NoticeState.RESOLVED
        )
        if was_open and self._crowds is not None:
            self._crowds[_crowd(notice)] -= 1
        for listener in self._changed:
            listener(notice)


_NEVER_FOLDED = frozenset({NoticeKind.BREAK_GLASS})
_LAST = ("more", "nobody is told of further ones like it until some are acknowledged or over")


def _crowd(notice: Notice) -> tuple[str, ...]:
    """What many notices of one noisy workload have in common."""
    return notice.kind, notice.workload, notice.owner, notice.severity, notice.title


__all__ = ["KEPT_S", "MAX_ALIKE", "MAX_ASKED", "MAX_QUEUE", "Ended", "Escalation", "Wanted"]
