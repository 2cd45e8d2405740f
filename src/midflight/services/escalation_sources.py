"""Which open questions there are, and whose: approvals, findings, revocations, stuck leases.

Two ways in. What happens is given away at once by listeners that wait for nothing. And what is
still open is looked for in the store, at a start and every few seconds, so that what a process lost
when it died is found by the next one; findings, which only the ledger has, among its last records.

Above: `apps/compose_escalation.py`, which binds the listeners. Below: `escalation.py`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime

import structlog

from midflight.domain.approval import OWNER, ApprovalRequest, ApprovalState
from midflight.domain.approval import people as agreeing
from midflight.domain.finding import Finding, Strength
from midflight.domain.identity import Workload
from midflight.domain.lease import Lease
from midflight.domain.notice import Notice, NoticeKind, Severity, facts_of
from midflight.domain.records import Found, Record
from midflight.domain.response import Response
from midflight.domain.revocation import Revocation, ScopeKind
from midflight.services.escalation import Escalation
from midflight.services.interruption import Interruption
from midflight.services.ports.clock import Clock
from midflight.services.ports.store import Store

OLD_S = 86_400
"""A revocation that was in force for longer when a plane starts is no news."""
MAX_KNOWN = 100_000

log = structlog.get_logger(__name__)

_HOW_LOUD = {
    ScopeKind.RUN: Severity.WARNING,
    ScopeKind.EVERYTHING: Severity.CRITICAL,
    ScopeKind.TRUST_DOMAIN: Severity.CRITICAL,
}


class EscalationSources:
    """See the module. One event loop."""

    def __init__(
        self,
        escalation: Escalation,
        *,
        store: Store,
        clock: Clock,
        interruption: Interruption,
        workload: Callable[[str], Workload | None],
        stuck: Callable[[], int],
    ) -> None:
        """`workload` is `Inventory.current`; `stuck` how many leases are (`Broker.stuck`)."""
        self._escalation = escalation
        self._store = store
        self._clock = clock
        self._interruption = interruption
        self._workload = workload
        self._stuck = stuck
        self._known: dict[str, None] = {}

    # Listeners: no waiting, no exception

    def approval_filed(self, request: ApprovalRequest) -> None:
        """A question was filed (`Approvals.on_filed`)."""
        with _quietly("approval"):
            self._escalation.wanted(*self._of_approval(request))

    def approval_settled(self, approval: str) -> None:
        """A question was answered, or is over (`Approvals.on_settled`)."""
        self._escalation.ended(approval, "answered, or over")

    def found(self, finding: Finding) -> None:
        """Something was found (`Detection.respond_with`). What says little is not told."""
        if finding.strength >= Strength.FAIR:
            with _quietly("finding"):
                self._escalation.wanted(*self._of_finding(finding))

    def beyond(self, response: Response) -> None:
        """Less was done than policy asks for (`Responses.on_beyond`), so a person has to look."""
        with _quietly("response"):
            self._escalation.wanted(*self._of_beyond(response))

    def revoked(self, revocation: Revocation) -> None:
        """A revocation took effect (`Interruption.on_revoked`); `look` finds it."""
        del revocation
        self._escalation.stirred.set()

    # Beside it

    async def start(self, recorded: Sequence[Record] = ()) -> None:
        """Know what is old, and find what the last process did not write down.

        `recorded` are the last records of the ledger.
        """
        now = self._clock.now()
        for record in recorded:
            if isinstance(record, Found) and record.finding.at > now - OLD_S:
                self.found(record.finding)
        for revocation in self._interruption.listing():
            if revocation.at < now - OLD_S:
                self._note(revocation.id)
        for request in await self._store.list_approvals(state=ApprovalState.PENDING):
            if request.is_live(now):
                await self._escalation.file(*self._of_approval(request))
        await self.look()

    async def look(self) -> None:
        """Find what is new, and what has ended without anybody saying so.

        Raises:
            StoreUnavailable: the next look finds it.
        """
        in_force = self._interruption.listing()
        for revocation in in_force:
            if revocation.id not in self._known:
                await self._escalation.file(*await self._of_revocation(revocation))
                self._note(revocation.id)
        waiting = await self._escalation.open_notices()
        by_kind = {kind: [n for n in waiting if n.kind is kind] for kind in NoticeKind}
        if self._stuck() or by_kind[NoticeKind.LEASE]:
            await self._look_at_leases(by_kind[NoticeKind.LEASE])
        ids = {revocation.id for revocation in in_force}
        for notice in by_kind[NoticeKind.REVOCATION]:
            if notice.subject not in ids:
                await self._escalation.resolve(notice.subject, "lifted, or over")
        for notice in by_kind[NoticeKind.APPROVAL]:
            if notice.expires_at and notice.expires_at <= self._clock.now():
                await self._escalation.resolve(notice.subject, "expired")

    async def settle(self) -> None:
        """End notices of approvals that were answered while nobody listened. For a start."""
        for notice in await self._escalation.open_notices():
            if notice.kind is NoticeKind.APPROVAL:
                request = await self._store.get_approval(notice.subject)
                if request is None or request.state is not ApprovalState.PENDING:
                    await self._escalation.resolve(notice.subject, "answered, or over")

    # Inside

    def _of_approval(self, request: ApprovalRequest) -> tuple[Notice, tuple[str, ...]]:
        owner, people = self._people(request.workload, owner=request.owner)
        named = tuple(owner if name == OWNER else name for name in agreeing(request.approvers))
        action = f"{request.upstream}/{_place(request.name) or request.method}"
        asked = "; ".join(reason.text or reason.policy for reason in request.reasons)
        notice = Notice(
            id="",
            kind=NoticeKind.APPROVAL,
            subject=request.id,
            title="An action waits for approval",
            facts=facts_of(
                {
                    "action": action,
                    "workload": request.workload,
                    "run": request.run,
                    "must agree": ", ".join(named),
                    "asked because": asked,
                    "concerns": ", ".join(each.value for each in request.shown.flow.concerns),
                    "digest": request.digest,
                    "until": _iso(request.expires_at),
                }
            ),
            owner=owner,
            workload=request.workload,
            run=request.run,
            digest=request.digest,
            group=f"approval {request.run} {action}",
            together=len(set(named)),
            created_at=request.created_at,
            expires_at=request.expires_at,
        )
        return notice, (*named, *people)

    def _of_finding(self, finding: Finding) -> tuple[Notice, tuple[str, ...]]:
        owner, people = self._people(finding.workload, owner=finding.owner)
        notice = Notice(
            id="",
            kind=NoticeKind.FINDING,
            subject=finding.id,
            title=f"Detector {finding.detector} found something",
            facts=facts_of(
                {
                    "workload": finding.workload,
                    "run": finding.run,
                    "about": "/".join(filter(None, (finding.upstream, _place(finding.name)))),
                    "seen": finding.seen,
                    "usual": finding.usual,
                    "records": " ".join(finding.records),
                }
            ),
            severity=Severity.ERROR if finding.strength is Strength.STRONG else Severity.WARNING,
            owner=owner,
            workload=finding.workload,
            run=finding.run,
            group=f"finding {finding.detector} {finding.run or finding.workload}",
            ends_with_ack=True,
        )
        return notice, people

    def _of_beyond(self, response: Response) -> tuple[Notice, tuple[str, ...]]:
        owner, people = self._people(response.workload, owner=response.owner)
        notice = Notice(
            id="",
            kind=NoticeKind.FINDING,
            subject=response.id,
            title="Less was done about a finding than policy asks for",
            facts=facts_of(
                {
                    "workload": response.workload,
                    "run": response.run,
                    "holds": f"{response.level.value} for {response.scope}",
                    "because": response.reason,
                    "why not more": response.beyond,
                }
            ),
            severity=Severity.ERROR,
            owner=owner,
            workload=response.workload,
            run=response.run,
            group=f"beyond {response.detector} {response.workload}",
            ends_with_ack=True,
        )
        return notice, people

    async def _of_revocation(self, revocation: Revocation) -> tuple[Notice, tuple[str, ...]]:
        scope = revocation.scope
        workload, owner, run = "", "", ""
        match scope.kind:
            case ScopeKind.RUN:
                stored = await self._store.get_run(scope.id)
                workload, run = ("" if stored is None else stored.run.workload), scope.id
            case ScopeKind.WORKLOAD:
                workload = scope.id
            case ScopeKind.OWNER:
                owner = scope.id
            case _:
                pass
        owner, people = self._people(workload, owner=owner)
        impact = self._interruption.preview(scope)
        left = "; ".join(f"{n} bytes to {name}" for name, n in sorted(impact.bytes_out.items()))
        notice = Notice(
            id="",
            kind=NoticeKind.REVOCATION,
            subject=revocation.id,
            title=f"Revoked: {scope.kind.value}",
            facts=facts_of(
                {
                    "scope": str(scope),
                    "reason": revocation.reason,
                    "author": revocation.author,
                    "had completed": f"{impact.completed} actions" if impact.completed else "",
                    "had left": left,
                    "labels": impact.labels,
                    "until": "" if revocation.until is None else _iso(revocation.until),
                }
            ),
            severity=_HOW_LOUD.get(scope.kind, Severity.ERROR),
            owner=owner,
            workload=workload,
            run=run,
            group=f"revocation {scope.kind.value} {owner}",
            # A run that was revoked stays so; nobody will ever lift it.
            ends_with_ack=scope.kind is ScopeKind.RUN,
            created_at=int(revocation.at),
        )
        return notice, people

    async def _look_at_leases(self, told: Sequence[Notice]) -> None:
        stuck = await self._store.list_leases(stuck=True)
        for lease in stuck:
            if lease.id not in self._known:
                await self._escalation.file(*self._of_lease(lease))
                self._note(lease.id)
        ids = {lease.id for lease in stuck if lease.state.value != "revoked"}
        for notice in told:
            if notice.subject not in ids:
                await self._escalation.resolve(notice.subject, "taken back")
                self._known.pop(notice.subject, None)

    def _of_lease(self, lease: Lease) -> tuple[Notice, tuple[str, ...]]:
        owner, people = self._people(lease.workload)
        notice = Notice(
            id="",
            kind=NoticeKind.LEASE,
            subject=lease.id,
            title="A leased credential cannot be taken back",
            facts=facts_of(
                {
                    "credential": lease.credential,
                    "backend": lease.backend,
                    "name there": lease.external,
                    "workload": lease.workload,
                    "why": lease.error,
                    "ends by itself": _iso(lease.expires_at),
                }
            ),
            severity=Severity.ERROR,
            owner=owner,
            workload=lease.workload,
            run=lease.run,
            group=f"lease {lease.credential}",
        )
        return notice, people

    def _people(self, workload: str, *, owner: str = "") -> tuple[str, tuple[str, ...]]:
        return self._escalation.people(self._workload(workload), owner=owner)

    def _note(self, known: str) -> None:
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[known] = None


@contextlib.contextmanager
def _quietly(what: str) -> Generator[None]:
    """A question that cannot be told of must not become an action that fails."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 -- a bug in telling must stop no action
        log.warning("not_noticed", what=what, why=type(error).__name__)


def _place(name: str) -> str:
    """A name as strangers may read it: of an address no user, no password, no query, no fragment.

    Resources are named by addresses, and those often carry what opens them.
    """
    scheme, separator, rest = name.partition("://")
    if not separator:
        return name
    kept = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = kept.partition("/")
    shown = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    return shown if kept == rest else f"{shown}?…"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ")


__all__ = ["OLD_S", "EscalationSources"]
