"""Questions that people answer on their own devices, by their organisation's OpenID provider.

For each question that is filed, everybody whom the settings name and who may answer it is asked
there, with a short code that stands on the approval page, too (`binding_code`). His yes is an ID
token for that very question and of the subject that the settings say; his no is the provider's
word for that question. A yes counts once: who forgets the question may act on it. A no is said
until it is kept. What is on its way is in the store, so a restart asks on. Above:
`compose_people.py`, which ticks.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Mapping

import msgspec
import structlog

from midflight.domain.approval import ApprovalRequest, ApprovalState, binding_code
from midflight.domain.approver import BackchannelRequest
from midflight.domain.errors import (
    LedgerUnavailable,
    Malformed,
    MidflightError,
    StoreUnavailable,
    Unauthenticated,
    UpstreamUnavailable,
)
from midflight.domain.identity import Author
from midflight.domain.records import Observed
from midflight.domain.value import JSONObject, Value
from midflight.services.approval_desk import ApprovalDesk
from midflight.services.ports.backchannel import BackchannelProvider, Polled, Word
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.sealing import Sealer

log = structlog.get_logger(__name__)

MAX_EACH = 5
"""Questions that one person has on his device at a time; the others wait on the page."""
SLOWER_S = 5
"""What `slow_down` adds to the interval (CIBA Core §11)."""
_KEY = "backchannel"


class Asked(Value):
    """How the provider knows an approver: by what it finds him, and what it calls him."""

    login_hint: str
    subject: str


class Backchannel:
    """See the module."""

    def __init__(
        self,
        *,
        provider: BackchannelProvider,
        people: Mapping[str, Asked],
        desk: ApprovalDesk,
        store: Store,
        sealer: Sealer,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        """`people` maps approvers to how the provider knows them."""
        self._provider = provider
        self._people = people
        self._desk = desk
        self._store = store
        self._sealer = sealer
        self._recorder = recorder
        self._clock = clock
        self._filed: deque[ApprovalRequest] = deque()
        self._next: dict[str, float] = {}
        self._denied: set[str] = set()
        self._is_started = False
        self._turn = asyncio.Lock()

    def filed(self, request: ApprovalRequest) -> None:
        """Ask about this at the next `tick`."""
        self._filed.append(request)

    async def tick(self) -> None:
        """Ask what was filed, and poll what is due."""
        async with self._turn:
            if not self._is_started:
                await self._catch_up()
                self._is_started = True
            while self._filed:
                # What fails in between, while the store is gone, is asked at the next one.
                await self._ask(self._filed[0])
                self._filed.popleft()
            for request in await self._store.list_backchannel():
                await self._look(request)

    # Asking

    async def _catch_up(self) -> None:
        """What was filed and never asked, because the process ended in between."""
        asked = {each.approval for each in await self._store.list_backchannel()}
        for request in await self._store.list_approvals(state=ApprovalState.PENDING):
            if request.id not in asked and all(request.id != each.id for each in self._filed):
                self._filed.append(request)

    async def _ask(self, request: ApprovalRequest) -> None:
        now = int(self._clock.now())
        if not request.is_live(now):
            return
        await self._sealer.key_for(_KEY)
        for name, known in self._people.items():
            author = self._author(name)
            groups = await self._groups(name)
            if groups is None or not self._desk.roles(request, author, member_of=groups):
                continue
            on_their_way = await self._store.list_backchannel()
            his = [each.approval for each in on_their_way if each.approver == name]
            if len(his) >= MAX_EACH or request.id in his:
                continue
            try:
                started = await self._provider.start(
                    login_hint=known.login_hint,
                    binding_message=binding_code(request.id, request.digest),
                    expires_s=request.expires_at - now,
                )
            except MidflightError as error:
                self._noted("backchannel.not_asked", name, request.id, error.message)
                continue
            row = BackchannelRequest(
                id=hashlib.sha256(started.auth_req_id.encode()).hexdigest(),
                approval=request.id,
                digest=request.digest,
                approver=name,
                subject=known.subject,
                sealed=self._sealer.seal_text(_KEY, started.auth_req_id),
                interval=started.interval,
                asked_at=now,
                expires_at=min(now + started.expires_in, request.expires_at),
            )
            self._next[row.id] = self._clock.monotonic() + row.interval
            await self._store.put_backchannel(row)

    async def _groups(self, name: str) -> tuple[str, ...] | None:
        """The groups of the account of that name; None if it is disabled."""
        account = await self._store.get_approver(name)
        if account is None:
            return ()
        return None if account.disabled else account.groups

    # Looking

    async def _look(self, row: BackchannelRequest) -> None:
        now = self._clock.now()
        found = await self._store.get_approval(row.approval)
        if found is None or found.state is not ApprovalState.PENDING or row.expires_at <= now:
            await self._forget(row)
            return
        if row.id in self._denied:
            await self._deny(row)
            return
        if self._clock.monotonic() < self._next.get(row.id, 0.0):
            return
        try:
            auth_req_id = await self._sealer.open_text(_KEY, row.sealed)
            # Without its name, whose key was erased, the provider knows none.
            polled = await self._provider.poll(auth_req_id or "")
        except UpstreamUnavailable:
            self._next[row.id] = self._clock.monotonic() + row.interval
            return
        except (Unauthenticated, Malformed) as error:
            self._noted("backchannel.refused", row.approver, row.approval, error.message)
            await self._forget(row)
            return
        await self._told(row, polled)

    async def _told(self, row: BackchannelRequest, polled: Polled) -> None:
        match polled.word:
            case Word.PENDING:
                self._next[row.id] = self._clock.monotonic() + row.interval
            case Word.SLOW_DOWN:
                slower = msgspec.structs.replace(row, interval=row.interval + SLOWER_S)
                self._next[row.id] = self._clock.monotonic() + slower.interval
                await self._store.put_backchannel(slower)
            case Word.EXPIRED:
                await self._forget(row)
            case Word.DENIED:
                await self._deny(row)
            case Word.AGREED:
                if not await self._forget(row):
                    return
                if polled.subject != row.subject:
                    self._noted(
                        "backchannel.refused", row.approver, row.approval, "Somebody else agreed."
                    )
                    return
                await self._answer(row, yes=True)

    async def _deny(self, row: BackchannelRequest) -> None:
        """Refuse, and only then forget: a provider says it once, and a no must not be lost."""
        self._denied.add(row.id)
        await self._answer(row, yes=False)
        await self._forget(row)

    async def _answer(self, row: BackchannelRequest, *, yes: bool) -> None:
        groups = await self._groups(row.approver)
        if groups is None:
            return
        verb = self._desk.approve if yes else self._desk.refuse
        try:
            await verb(
                row.approval,
                author=self._author(row.approver),
                member_of=groups,
                digest=row.digest,
            )
        except (StoreUnavailable, LedgerUnavailable):
            if not yes:
                raise  # the next tick says it again
            self._noted("backchannel.refused", row.approver, row.approval, "It was not kept.")
        except MidflightError as error:
            self._noted("backchannel.refused", row.approver, row.approval, error.message)

    async def _forget(self, row: BackchannelRequest) -> bool:
        self._next.pop(row.id, None)
        self._denied.discard(row.id)
        return await self._store.delete_backchannel(row.id)

    def _author(self, name: str) -> Author:
        return Author(name=name, proof=f"ciba:{self._provider.issuer}")

    def _noted(self, what: str, approver: str, approval: str, why: str) -> None:
        details: JSONObject = {"approval": approval, "why": why}
        log.warning("backchannel_trouble", what=what, approval=approval)
        try:
            self._recorder.append(
                Observed(at=self._clock.now(), what=what, subject=approver, details=details)
            )
        except MidflightError:
            return  # the ledger counts what it could not take; nothing was answered


__all__ = ["MAX_EACH", "Asked", "Backchannel"]
