"""An agent acts by every way that it has while it is being revoked, and goes on trying.

Whatever starts after the acknowledgement is refused, whichever way it takes. And whatever reached
an upstream before is known: it had completed, or the impact record names it as cut; the bytes that
it says have left are those that came.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cut_kit import begin, call, caller
from lease_kit import LeasePlane
from process_kit import Connection

from gateways import AGENT, OPERATOR, PERMIT_ALL, Gateway, running_gateway
from midflight.domain.decision import Challenge, Deny
from midflight.domain.errors import MidflightError
from midflight.domain.identity import Author, Workload
from midflight.domain.records import Impact
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.guard import Performed, Refused
from midflight.services.lease_book import Held
from servers.counting_server import Counted, command, counted_in, counting

pytestmark = pytest.mark.anyio

OTHER = "spiffe://midflight.internal/agents/other"
ONCALL = Author(name="oncall", proof="test")
POLICY = (
    PERMIT_ALL
    + '@id("ask") @reason("Somebody looks.") @approvers("oncall") @expires("20m")\n'
    + 'forbid(principal, action in Action::"call_tool", resource == Tool::"web/late")\n'
    + "unless { context.approval.granted };\n"
)
AT_ONCE = 3
"""Attempts of one kind that are under way at a time."""
STEPS = 10_000_000
"""Of a run: none ends by itself."""
BEFORE = 400
"""Attempts of each by each way before it, at most."""
AFTERWARDS = 12
"""Attempts of one kind that begin after the acknowledgement, at least."""


class Race:
    """One run of an agent, the ways in which it acts, and what became of each attempt."""

    def __init__(self, gateway: Gateway, counted: Counted, run: str) -> None:
        self.gateway = gateway
        self.plane = gateway.plane
        self.counted = counted
        self.run = run
        self.acknowledged = False
        self.passed: set[str] = set()
        self.refused: dict[str, str] = {}
        """Record ids of refusals, by nonce."""
        self.late: Counter[str] = Counter()
        self.late_nonces: set[str] = set()
        self.late_passed: list[str] = []
        self.over = asyncio.Event()
        self._numbers = 0
        self._streams: list[Any] = []

    async def ways(self) -> dict[str, Callable[[], Awaitable[bool]]]:
        """Each attempts once, and says whether it did anything."""
        who = caller(AGENT, run=self.run)
        child = await self._delegate()
        return {
            "http": lambda: self.act(who, "web"),
            "stdio": lambda: self.act(who, "child"),
            "http that hangs": lambda: self.act(who, "web", "hold"),
            "stdio that hangs": lambda: self.act(who, "child", "hold"),
            "task": lambda: self.act(who, "web", "work"),
            "child run": lambda: self.act(caller(OTHER, run=child), "web"),
            "new child run": self.by_new_child,
            "new token": self.by_new_token,
            "approval": lambda: self.by_approval(who),
            "stream": self.by_stream,
        }

    def nonce(self, way: str) -> str:
        """Noted as begun; in the turn in which it begins."""
        self._numbers += 1
        nonce = f"{self.run} {way} {self._numbers}"
        if self.acknowledged:
            self.late_nonces.add(nonce)
        return nonce

    async def act(self, who: Any, upstream: str, tool: str = "note") -> bool:
        nonce = self.nonce(f"{upstream}/{tool}")
        done = await begin(self.plane, who, call(upstream, tool, nonce=nonce))
        if isinstance(done, Performed):
            self.passed.add(nonce)
            return True
        self.refused[nonce] = done.record
        return False

    async def by_new_child(self) -> bool:
        return await self.act(caller(OTHER, run=await self._delegate()), "web")

    async def by_new_token(self) -> bool:
        token = await self.gateway.token(self.run)
        nonce = self.nonce("http")
        with contextlib.closing(Connection(self.gateway.url)) as connection:
            said = await connection.call(token, "web_note", nonce=nonce)
        if said.code == "done":
            self.passed.add(nonce)
            return True
        if said.refusal is not None:
            self.refused[nonce] = str(said.refusal.get("record", ""))
        return False

    async def by_approval(self, who: Any) -> bool:
        nonce = self.nonce("approval")
        action = call("web", "late", nonce=nonce)
        asked = await begin(self.plane, who, action)
        assert isinstance(asked, Refused)
        if not isinstance(asked.decision, Challenge):
            self.refused[nonce] = asked.record
            return False
        await self.plane.approval_desk.approve(asked.decision.approval, author=ONCALL)
        if self.acknowledged:
            self.late_nonces.add(nonce)
        done = await begin(self.plane, who, action)
        if isinstance(done, Performed):
            self.passed.add(nonce)
            return True
        self.refused[nonce] = done.record
        return False

    async def by_stream(self) -> bool:
        seat = await self.plane.listing.seat(caller(AGENT, run=self.run))
        if isinstance(seat, Deny):
            return False
        stream = self.plane.listing.stream(seat, name="notices", ended=lambda: None)
        self._streams.append(stream)
        await asyncio.sleep(0)
        return True

    async def keep_trying(self, way: str, attempt: Callable[[], Awaitable[bool]]) -> None:
        """Until so many have begun after the acknowledgement."""
        early = 0
        while self.late[way] < AFTERWARDS:
            # Without a network between, refusals come faster than a disk takes their records.
            if early == BEFORE:
                await self.over.wait()
            early += not self.acknowledged
            is_late = self.acknowledged
            self.late[way] += is_late
            try:
                did_something = await attempt()
            except (MidflightError, ConnectionError):
                did_something = False
            if is_late and did_something:
                self.late_passed.append(way)
            await asyncio.sleep(0)

    async def revoke(self, scope: Scope, turns: int) -> Impact:
        """Race it: the revocation begins after so many turns, with something in flight."""
        ways = await self.ways()
        trying = [
            asyncio.ensure_future(self.keep_trying(way, attempt))
            for way, attempt in ways.items()
            for _ in range(AT_ONCE)
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
        for _ in range(2_000):
            if self.plane.interruption.in_flight > 2:
                break
            await asyncio.sleep(0)
        while not self.plane.interruption.in_flight:
            await asyncio.sleep(0)
        receipt = await self.plane.interruption.revoke(scope, reason="turned", author=OPERATOR)
        self.acknowledged = True
        self.over.set()
        await asyncio.gather(*trying)
        for stream in self._streams:
            stream.close()
        self.check(receipt.impact, ways)
        assert receipt.durable
        return receipt.impact

    def check(self, impact: Impact, ways: dict[str, Any]) -> None:
        assert self.late_passed == []
        assert min(self.late[way] for way in ways) >= AFTERWARDS
        reached = {nonce for nonce in self.counted.nonces if nonce.startswith(f"{self.run} ")}
        assert not reached & self.late_nonces
        # What reached the upstream had completed, or is named as cut; nobody lost sight of any.
        for nonce in reached - self.passed:
            assert self.refused[nonce] in impact.cut, nonce
            assert self.refused[nonce] in impact.unknown, nonce
        web = {nonce for nonce in self.passed if "child/" not in nonce}
        assert web <= reached

    async def _delegate(self) -> str:
        child = await self.plane.delegation.delegate(
            self.run, workload=OTHER, text="Read it.", author=OPERATOR, max_steps=STEPS // 1_000
        )
        return child.id


async def test_by_every_way_at_once(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    chance = random.Random(20_260_728)
    async with counting() as counted:
        counted.let_go.set()
        upstreams = [{"name": "web", "url": counted.url}, {"name": "child", **command(journal)}]
        approvals = {"groups": {"oncall": ["oncall"]}, "wait": {"hold": "0s"}}
        async with running_gateway(
            tmp_path, upstreams, policy=POLICY, approvals=approvals, runs={"max_steps": STEPS}
        ) as gateway:
            plane = gateway.plane
            await gateway.pin_all()
            review = int(plane.clock.now()) + 86_400
            other = Workload(id=OTHER, owner="team-two", escalation="oncall", review_by=review)
            await plane.inventory.register(other, OPERATOR)
            scopes = [
                *(ScopeKind.RUN for _ in range(3)),
                *(ScopeKind.WORKLOAD for _ in range(2)),
                ScopeKind.OWNER,
                ScopeKind.EVERYTHING,
            ]
            impacts = list[Impact]()
            for kind in scopes:
                # Without a network between, refusals come faster than a disk takes their records.
                await plane.ledger.flush()
                run, before = await gateway.open_run(max_steps=STEPS), counted.bytes
                named = {ScopeKind.RUN: run, ScopeKind.WORKLOAD: AGENT, ScopeKind.OWNER: "team-one"}
                scope = Scope(kind=kind, id=named.get(kind, ""))
                race = Race(gateway, counted, run)
                impact = await race.revoke(scope, chance.choice((1, 10, 30, 60, 120)))
                impacts.append(impact)
                came = counted.bytes - (before if kind is ScopeKind.RUN else 0)
                assert impact.bytes_out.get("web", 0) == came, kind
                for entry in plane.interruption.listing():
                    if entry.scope.kind is not ScopeKind.RUN:
                        await plane.interruption.lift(entry.id, reason="next", author=OPERATOR)
            # Tasks that were heard of are cancelled; of the others the record says "unknown".
            cut = sum(len(impact.cut) for impact in impacts)
            while len(counted.cancelled) < counted.tasks - cut:
                await asyncio.sleep(0)
            assert cut
            said = impacts[-1].bytes_out.get("child", 0)
        assert said == counted_in(journal)["bytes"]


@pytest.mark.parametrize("kind", [ScopeKind.RUN, ScopeKind.WORKLOAD, ScopeKind.CREDENTIAL])
@pytest.mark.parametrize("turns", [0, 1, 3, 7, 20, 60])
async def test_by_leases_that_are_asked_for(kind: ScopeKind, turns: int) -> None:
    """None is made after the acknowledgement, and none that was made before is left."""
    plane = LeasePlane()
    live = await plane.begin()
    named = {
        ScopeKind.RUN: live.run.id,
        ScopeKind.WORKLOAD: live.run.workload,
        ScopeKind.CREDENTIAL: "db",
    }
    acknowledged, late = False, 0
    lent: list[Held] = []

    async def keep_asking() -> None:
        nonlocal late
        while late < AFTERWARDS:
            is_late = acknowledged
            late += is_late
            try:
                held = await plane.ask(live)
            except MidflightError:
                held = None
            if isinstance(held, Held):
                assert not is_late
                lent.append(held)
            await asyncio.sleep(0)

    asking = [asyncio.ensure_future(keep_asking()) for _ in range(AT_ONCE)]
    for _ in range(turns):
        await asyncio.sleep(0)
    await plane.interruption.revoke(
        Scope(kind=kind, id=named[kind]), reason="turned", author=OPERATOR
    )
    acknowledged = True
    issued = [name for verb, name in plane.server.calls if verb == "issue"]
    for held in lent:
        with pytest.raises(MidflightError):
            plane.broker.check(held)
    await asyncio.gather(*asking)
    await plane.settle()
    assert [name for verb, name in plane.server.calls if verb == "issue"] == issued
    assert plane.server.accounts == {}
    await plane.close()
