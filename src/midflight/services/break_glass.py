"""Break-glass: opening it, what it lets pass, and its review.

Open for one workload, a challenge becomes a permit that names the opening as its approval; nothing
else changes (`Approvals.settle`). Whom the owner is, who may open, for how long and how often is
looked at here; that a person stands behind it, and no workload, by the control socket. Everybody
who is answerable is told at once. It ends at its time by whichever clock comes first, with a
revocation, or by hand; and it is listed until another person has reviewed it.

Above: the control API. Below: `domain/break_glass.py`, the store, `escalation.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import structlog

from midflight.domain.approval import OWNER, stands_for
from midflight.domain.break_glass import PREFIX, BreakGlass, closed, reviewed
from midflight.domain.errors import (
    Conflict,
    Forbidden,
    LedgerUnavailable,
    Malformed,
    MidflightError,
    NotFound,
    StoreUnavailable,
)
from midflight.domain.identity import Author, Workload
from midflight.domain.notice import MAX_CHAIN, Notice, NoticeKind, Severity, facts_of
from midflight.domain.records import Observed
from midflight.domain.revocation import Revocation, ScopeKind, scopes_over
from midflight.domain.value import JSONObject, Value
from midflight.services.changes import record_change
from midflight.services.escalation import Escalation
from midflight.services.interruption import Interruption
from midflight.services.ports.clock import Clock
from midflight.services.ports.escalation_store import EscalationStore
from midflight.services.ports.recorder import Recorder

MAX_REASON = 500
MIN_S = 60

log = structlog.get_logger(__name__)


class GlassRules(Value):
    """What an operator set.

    Attributes:
        max_s: for how long one opening may last.
        four_eyes: nobody opens it for a workload that he answers for.
        unreviewed: openings of one workload that may wait for their review.
        review_within: seconds after which one that nobody reviewed is a problem of its own.
    """

    max_s: int = 3_600
    four_eyes: bool = False
    unreviewed: int = 3
    review_within: int = 3 * 86_400


class BreakGlassDesk:
    """See the module. `start` it before the first action. One event loop."""

    def __init__(
        self,
        *,
        store: EscalationStore,
        recorder: Recorder,
        clock: Clock,
        escalation: Escalation,
        interruption: Interruption,
        workload: Callable[[str], Workload | None],
        groups: Mapping[str, Sequence[str]],
        rules: GlassRules,
        boot: str,
        alarmed: Sequence[str] = (),
    ) -> None:
        """`boot` names this start of the machine; `alarmed` are told besides those who answer.

        `groups` are those of approvals: who stands for an owner.
        """
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._escalation = escalation
        self._interruption = interruption
        self._workload = workload
        self._groups = groups
        self._rules = rules
        self._boot = boot
        self._alarmed = tuple(alarmed)
        self._open: dict[str, BreakGlass] = {}
        self._unwritten: dict[str, BreakGlass] = {}

    async def start(self) -> None:
        """Take up what is open. What ended, or was revoked, while nobody ran is closed."""
        for entry in await self._store.list_break_glass(settled=False):
            if not entry.closed_at:
                self._open[entry.workload] = entry
                self._end_if_over(entry)
            await self._escalation.file(*self._notice(entry))
        await self.sweep()

    # On the path of actions: no waiting

    def lets_pass(self, workload: str) -> str:
        """The opening by which a challenge of this workload is a permit now, or an empty text."""
        entry = self._open.get(workload)
        if entry is None:
            return ""
        return "" if self._end_if_over(entry) else entry.id

    def used(self, workload: str) -> None:
        """An action passed by it; its record names it."""
        entry = self._open.get(workload)
        if entry is not None:
            self._open[workload] = msgspec.structs.replace(entry, uses=entry.uses + 1)

    def revoked(self, revocation: Revocation) -> None:
        """It ends with what revokes its workload (`Interruption.on_revoked`)."""
        scope = (revocation.scope.kind, revocation.scope.id)
        for entry in list(self._open.values()):
            if scope in self._scopes(entry):
                self._end(entry, by="midflight", why=f"{revocation.id} revoked its workload")

    # Verbs of people

    async def open(
        self,
        workload_id: str,
        *,
        reason: str,
        for_s: int,
        author: Author,
        member_of: Sequence[str] = (),
    ) -> BreakGlass:
        """Open it for a workload.

        Args:
            workload_id: for which, by SPIFFE ID.
            reason: why, in words.
            for_s: for how many seconds.
            author: who, as the control socket established.
            member_of: groups that an account of his name is in.

        Raises:
            NotFound: there is no such workload.
            Malformed: no reason, or a time that is not allowed.
            Forbidden: the author answers for the workload himself, where that takes two.
            Conflict: it is open, the workload is revoked, or earlier openings wait for a review.
        """
        workload = self._workload(workload_id)
        if workload is None:
            raise NotFound(
                f"There is no workload {workload_id}.", hint="midflight workload list shows them."
            )
        self._check_eyes(workload, author, member_of)
        self._check(workload, reason, for_s)
        await self._check_reviews(workload, author)
        now, mono = self._clock.now(), self._clock.monotonic()
        entry = BreakGlass(
            id=PREFIX + self._clock.token(),
            workload=workload.id,
            owner=workload.owner,
            author=author.name,
            proof=author.proof,
            reason=reason.strip(),
            opened_at=int(now),
            ends_at=int(now) + for_s,
            boot=self._boot,
            mono_end=mono + for_s,
        )
        # On record, and durable, before it lets anything pass.
        await self._changed(
            "break_glass.open",
            entry,
            author,
            {"reason": entry.reason, "ends_at": entry.ends_at, "owner": entry.owner},
        )
        await self._store.put_break_glass(entry)
        try:
            self._check(workload, reason, for_s)  # revoked, or opened, while this waited
        except MidflightError as error:
            never = closed(entry, at=int(now), by="midflight", why=error.message)
            await self._store.put_break_glass(never)
            raise
        self._open[workload.id] = entry
        log.warning("break_glass_opened", id=entry.id, workload=entry.workload, author=author.name)
        notice, people = self._notice(entry)
        try:
            await self._escalation.file(notice, people)
        except StoreUnavailable:
            self._escalation.wanted(notice, people)  # it is open; who is told later, is told
        return entry

    async def close(self, entry_id: str, *, author: Author) -> BreakGlass:
        """End it before its time.

        Raises:
            NotFound: there is none of this id.
            Conflict: it has ended.
        """
        entry = await self._get(entry_id)
        if entry.closed_at:
            raise Conflict(f"{entry.id} has ended: {entry.why}.")
        after = self._end(entry, by=author.name, why=f"closed by {author.name}", tell=False)
        await self._changed("break_glass.close", after, author, {"uses": after.uses})
        await self.sweep()
        return after

    async def review(self, entry_id: str, *, note: str, author: Author) -> BreakGlass:
        """Another person has looked at what passed. Raises as `domain.break_glass.reviewed`."""
        await self.sweep()
        entry = await self._get(entry_id)
        after = reviewed(
            entry,
            at=int(self._clock.now()),
            by=author.name,
            proof=author.proof,
            note=note[:MAX_REASON],
        )
        await self._changed("break_glass.review", after, author, {"note": after.note})
        await self._store.put_break_glass(after)
        why = f"reviewed by {author.name}"
        try:
            await self._escalation.resolve(entry.id, why)
        except StoreUnavailable:
            self._escalation.ended(entry.id, why)
        return after

    async def list(self, *, settled: bool = False) -> Sequence[BreakGlass]:
        """What is open or waits for its review, newest first; with `settled` all."""
        found = await self._store.list_break_glass(settled=settled)
        return [self._latest(entry) for entry in found]

    async def overdue(self) -> Sequence[BreakGlass]:
        """What ended and was not reviewed in time."""
        before = int(self._clock.now()) - self._rules.review_within
        return [each for each in await self.list() if 0 < each.closed_at < before]

    async def sweep(self) -> None:
        """End what is over, and write down what changed. `StoreUnavailable`: the next one does."""
        for entry in list(self._open.values()):
            if not self._end_if_over(entry):
                self._unwritten[entry.id] = entry
        for entry in list(self._unwritten.values()):
            await self._store.put_break_glass(entry)
            if self._unwritten.get(entry.id) is entry:
                del self._unwritten[entry.id]

    # Inside

    def _check_eyes(self, workload: Workload, author: Author, member_of: Sequence[str]) -> None:
        owner, groups = workload.owner, self._groups
        if self._rules.four_eyes and stands_for(
            author.name, (OWNER,), owner=owner, groups=groups, member_of=member_of
        ):
            raise Forbidden(
                f"{author.name} answers for {workload.id}, so somebody else opens it.",
                hint="[break_glass] four_eyes asks for another operator.",
            )

    def _check(self, workload: Workload, reason: str, for_s: int) -> None:
        if not reason.strip() or len(reason) > MAX_REASON:
            raise Malformed(
                f"Opening it takes a reason of at most {MAX_REASON} characters.",
                hint="Add --reason.",
            )
        if not MIN_S <= for_s <= self._rules.max_s:
            raise Malformed(
                f"It is opened for {MIN_S} to {self._rules.max_s} seconds.",
                hint="[break_glass] max says for how long at most.",
            )
        if self.lets_pass(workload.id):
            raise Conflict(f"{self._open[workload.id].id} is open for {workload.id} already.")
        revocation = self._interruption.covering(scopes_over(workload.id, owner=workload.owner))
        if revocation is not None:
            raise Conflict(
                f"{workload.id} is revoked ({revocation.id}), which break-glass does not undo.",
                hint="midflight revocation lift, if it is to act again.",
            )

    async def _check_reviews(self, workload: Workload, author: Author) -> None:
        """Opened again and again it would be the rule; so looking at it comes in between."""
        waiting = [
            each
            for each in await self._store.list_break_glass(settled=False)
            if each.workload == workload.id
        ]
        mine = [each.id for each in waiting if each.author == author.name]
        if mine:
            raise Conflict(
                f"{author.name} opened {mine[0]} for {workload.id}, which nobody has reviewed.",
                hint="Another operator reviews it (midflight break-glass review), or opens it.",
            )
        if len(waiting) >= self._rules.unreviewed:
            raise Conflict(
                f"{len(waiting)} openings for {workload.id} wait for their review.",
                hint="midflight break-glass list shows them.",
            )

    def _end_if_over(self, entry: BreakGlass) -> bool:
        revocation = self._interruption.covering(self._scopes(entry))
        if revocation is not None:
            self._end(entry, by="midflight", why=f"{revocation.id} revoked its workload")
            return True
        is_open = entry.is_open(
            now=self._clock.now(), mono=self._clock.monotonic(), boot=self._boot
        )
        if not is_open:
            self._end(entry, by="midflight", why="its time was over")
        return not is_open

    def _end(self, entry: BreakGlass, *, by: str, why: str, tell: bool = True) -> BreakGlass:
        held = self._open.pop(entry.workload, None)
        latest = held if held is not None and held.id == entry.id else entry
        after = closed(latest, at=int(self._clock.now()), by=by, why=why)
        self._unwritten[after.id] = after
        if tell:
            self._observe(after)
        return after

    def _observe(self, entry: BreakGlass) -> None:
        try:
            self._recorder.append(
                Observed(
                    at=self._clock.now(),
                    what="break_glass.ended",
                    subject=entry.id,
                    details={"workload": entry.workload, "why": entry.why, "uses": entry.uses},
                )
            )
        except LedgerUnavailable:
            return  # the ledger counts what it could not take; an end only takes away

    def _scopes(self, entry: BreakGlass) -> list[tuple[ScopeKind, str]]:
        known = self._workload(entry.workload)
        return scopes_over(entry.workload, owner=entry.owner if known is None else known.owner)

    def _latest(self, entry: BreakGlass) -> BreakGlass:
        """As it is here, where that is newer than what is stored."""
        held = self._open.get(entry.workload)
        if held is not None and held.id == entry.id:
            return held
        return self._unwritten.get(entry.id, entry)

    async def _get(self, entry_id: str) -> BreakGlass:
        for entry in await self.list(settled=True):
            if entry.id == entry_id:
                return entry
        raise NotFound(
            f"There is no break-glass {entry_id}.", hint="midflight break-glass list shows them."
        )

    def _notice(self, entry: BreakGlass) -> tuple[Notice, tuple[str, ...]]:
        known = self._workload(entry.workload)
        owner, people = self._escalation.people(known, owner="" if known else entry.owner)
        ends = datetime.fromtimestamp(entry.ends_at, tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        notice = Notice(
            id="",
            kind=NoticeKind.BREAK_GLASS,
            subject=entry.id,
            title="Break-glass is open: challenges pass without approval",
            facts=facts_of(
                {
                    "workload": entry.workload,
                    "opened by": f"{entry.author} ({entry.proof})",
                    "reason": entry.reason,
                    "until": ends,
                    "to end it": f"midflight break-glass close {entry.id}",
                }
            ),
            severity=Severity.CRITICAL,
            owner=owner,
            workload=entry.workload,
            together=MAX_CHAIN,
            created_at=entry.opened_at,
        )
        return notice, (*people, *self._alarmed)

    async def _changed(
        self, what: str, entry: BreakGlass, author: Author, details: JSONObject
    ) -> None:
        await record_change(
            self._recorder,
            at=self._clock.now(),
            what=f"{what} {entry.id}",
            author=author,
            details={"workload": entry.workload, **details},
        )


__all__ = ["MAX_REASON", "BreakGlassDesk", "GlassRules"]
