"""No yes without an authorised person and the same digest; never twice, never late, never after.

Random histories of several agents, several people (some of whom may not answer), changing policies,
time, ends of runs, grown labels and restarts, all at once. What is held against each other in the
end: the ledger, what the upstream received, and the store.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from approval_kit import FLOW, AskingPlane
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.adapters.store.memory import MemoryStore
from midflight.domain.approval import (
    TRANSITIONS,
    Answer,
    ApprovalRequest,
    ApprovalState,
    has_agreed,
)
from midflight.domain.errors import Conflict, Forbidden, MidflightError
from midflight.domain.identity import Author
from midflight.domain.provenance import NO_FLOW
from midflight.domain.records import (
    ApprovalAnswered,
    ApprovalAsked,
    ApprovalEnded,
    Intent,
    Outcome,
    Record,
    RunEnded,
    Terminal,
)
from midflight.testing import OPERATOR

CUT = frozenset({Terminal.DENIED, Terminal.INTERRUPTED})
GROUPS = {"security": ["bob", "carol"]}
PEOPLE = ["team-one", "bob", "carol", "eve", "agents/one", "owner"]
ENTITLED = {"owner": {"team-one"}, "security": {"bob", "carol", "security"}}
APPROVERS = [(), ("owner",), ("security",), ("owner", "security")]

small = st.integers(0, 1)
people = st.one_of(st.just("team-one"), st.just("bob"), st.sampled_from(PEOPLE))
# Newest first: 0 is what was asked about last.
# Last: of which question he was shown the digest; None from where none is shown.
answers = st.tuples(
    people,
    st.sampled_from([True, True, True, False]),
    st.sampled_from([0, 0, 1, 2]),
    st.sampled_from([None, 0, 0, 0, 1]),
)
acts = st.tuples(small, small, st.integers(1, 3))
pauses = st.sampled_from([(), (), ("_time", "_step"), ("_step", "_time")])
ways = st.tuples(
    acts, pauses, st.lists(answers, max_size=3), pauses, st.sampled_from([True, False])
)
steps = st.lists(
    st.one_of(
        # The usual way, in one step, and whatever comes between: asked, answered, tried again.
        st.tuples(st.just("way"), ways),
        st.tuples(st.just("way"), ways),
        st.tuples(st.just("act"), acts),
        st.tuples(st.just("answer"), answers),
        st.tuples(st.just("approvers"), st.sampled_from(APPROVERS)),
        st.tuples(st.just("flow"), st.sampled_from([NO_FLOW, FLOW])),
        st.tuples(st.just("time"), st.sampled_from([1, 299, 600])),
        # The wall clock alone, back and ahead.
        st.tuples(st.just("step"), st.sampled_from([1, 299, 600, 86_400, -60])),
        st.tuples(st.just("turn"), st.integers(1, 5)),
        st.tuples(st.just("settle"), st.none()),
        st.tuples(st.just("browse"), small),
        st.tuples(st.just("end"), small),
        st.tuples(st.just("sweep"), st.none()),
        st.tuples(st.just("restart"), st.none()),
    ),
    min_size=3,
    max_size=20,
)


class History:
    """Plays steps. Actions and answers run beside each other until somebody settles them."""

    def __init__(self) -> None:
        self.plane = AskingPlane(groups=GROUPS)
        self.planes = [self.plane]
        self.runs: list[str] = []
        self.beside: list[asyncio.Task[Any]] = []
        # Where the clock that nobody can set ends each question.
        self.ends: dict[str, float] = {}
        self._watch()

    def _watch(self) -> None:
        """Nothing is answered and nothing is used after its end, whatever the wall clock says."""
        plane, clock = self.plane, self.plane.clock

        def filed(request: ApprovalRequest) -> None:
            self.ends[request.id] = clock.monotonic() + request.expires_at - clock.now()

        plane.approvals.on_filed(filed)
        answer, use = MemoryStore.answer_approval, MemoryStore.use_approval

        async def answered(approval_id: str, given: Answer) -> ApprovalRequest:
            after = await answer(plane.store, approval_id, given)  # type: ignore[arg-type]
            assert clock.monotonic() < self.ends[approval_id]
            return after

        async def used(approval_id: str, *, now: int) -> bool:
            is_used = await use(plane.store, approval_id, now=now)  # type: ignore[arg-type]
            assert not is_used or clock.monotonic() < self.ends[approval_id]
            return is_used

        plane.store.answer_approval = answered  # type: ignore[method-assign]
        plane.store.use_approval = used  # type: ignore[method-assign]

    async def play(self, history: list[tuple[str, Any]]) -> None:
        self.runs = [await self.plane.begin(), await self.plane.open()]
        for kind, what in history:
            await getattr(self, f"_{kind}")(what)
        await self._settle(None)

    async def _way(
        self,
        what: tuple[
            tuple[int, int, int],
            tuple[str, ...],
            list[tuple[str, bool, int, int | None]],
            tuple[str, ...],
            bool,
        ],
    ) -> None:
        act, before, answers, after, is_settled = what
        await self._act(act)
        await self._settle(None)
        for pause in before:  # its time passes, and the wall clock says that it has not
            await getattr(self, pause)(600)
        for answer in answers:
            await self._answer(answer)
        if is_settled:
            await self._settle(None)
        for pause in after:
            await getattr(self, pause)(600)
        await self._act(act)

    async def _act(self, what: tuple[int, int, int]) -> None:
        run, to, times = what
        for _ in range(times):
            work = self.plane.act(self.runs[run], to=f"u{to}@x.org")
            self.beside.append(asyncio.ensure_future(work))

    async def _answer(self, what: tuple[str, bool, int, int | None]) -> None:
        name, yes, number, seen = what
        requests = await self.plane.store.list_approvals()
        if not requests:
            return
        approval = requests[number % len(requests)].id
        digest = None if seen is None else requests[(number + seen) % len(requests)].digest
        is_right = digest in (None, requests[number % len(requests)].digest)
        author = Author(name=name, proof="peer-uid:1")
        verb = self.plane.desk.approve if yes else self.plane.desk.refuse

        async def answer() -> None:
            with contextlib.suppress(Conflict, Forbidden):
                await verb(approval, author=author, digest=digest)
                assert is_right

        self.beside.append(asyncio.ensure_future(answer()))

    async def _approvers(self, what: tuple[str, ...]) -> None:
        self.plane.asking.approvers = what

    async def _flow(self, what: Any) -> None:
        self.plane.facts = what

    async def _time(self, what: int) -> None:
        self.plane.clock.advance(what)

    async def _step(self, back: int) -> None:
        self.plane.clock.set_back(back)

    async def _turn(self, what: int) -> None:
        for _ in range(what):
            await asyncio.sleep(0)

    async def _settle(self, _: None) -> None:
        await asyncio.gather(*self.beside)
        self.beside.clear()

    async def _browse(self, what: int) -> None:
        self.beside.append(asyncio.ensure_future(self.plane.act(self.runs[what], "browse")))

    async def _end(self, what: int) -> None:
        """Another run takes its place, so that the history goes on."""
        with contextlib.suppress(MidflightError):
            await self.plane.runs.close_run(self.runs[what], author=OPERATOR)
        self.runs[what] = await self.plane.open()

    async def _sweep(self, _: None) -> None:
        await self.plane.approvals.sweep()

    async def _restart(self, _: None) -> None:
        await self._settle(None)
        before = self.plane
        await asyncio.gather(*before._beside)
        await before.ledger.close()
        self.plane = AskingPlane(
            restarts=before,
            groups=GROUPS,
            asking=before.asking,
            facts=before.facts,
            ledger_store=before.ledger_store,
            upstream=before.upstream,
        )
        await self.plane.start(register=False)
        records = await self.plane.records()
        alive_at = max((record.at for record in records), default=0.0)
        await self.plane.approvals.start(alive_at=alive_at)
        clock = self.plane.clock
        for request in await self.plane.store.list_approvals():
            # Of what passed while nobody ran, or after the clock was set, nothing is known.
            left = request.expires_at - max(clock.now(), alive_at)
            self.ends[request.id] = clock.monotonic() + left
        self._watch()


def check(records: list[Record], sent: int) -> None:
    asked = {r.approval: r for r in records if isinstance(r, ApprovalAsked)}
    used: set[str] = set()
    intents = [r for r in records if isinstance(r, Intent) and r.facts.name == "send"]
    # The end of its run can meet one between its intent and the upstream.
    cut = [r for r in records if isinstance(r, Outcome) and r.intent and r.state in CUT]
    assert sent <= len(intents) <= sent + len(cut)
    for number, intent in enumerate(records):
        if not isinstance(intent, Intent) or intent.facts.name != "send":
            continue
        approval = intent.approval
        assert approval is not None
        assert approval not in used
        used.add(approval)
        question = asked[approval]
        # The same digest and run, and everything before its end.
        assert intent.facts.approved
        assert intent.facts.run is not None
        assert (question.digest, question.run) == (intent.digest, intent.facts.run.id)
        assert intent.at < question.expires_at
        before = records[:number]
        assert not any(isinstance(r, RunEnded) and r.run == question.run for r in before)
        assert not any(isinstance(r, ApprovalEnded) and r.approval == approval for r in records)
        # Every approver agreed, by an entitled person of its own, and nobody refused.
        answers = [r for r in before if isinstance(r, ApprovalAnswered) and r.approval == approval]
        assert all(a.yes and a.digest == intent.digest for a in answers)
        assert all(a.at < question.expires_at for a in answers)
        assert len({a.author for a in answers}) == len(answers)
        for answer in answers:
            assert answer.stands_for
            assert all(answer.author in ENTITLED[role] for role in answer.stands_for)
        assert has_agreed(question.approvers, answers)  # type: ignore[arg-type]
        assert question.approvers


@given(steps)
@settings(max_examples=150)
def test_no_action_passes_but_by_a_yes_of_its_own(history: list[tuple[str, Any]]) -> None:
    async def run() -> None:
        played = History()
        await played.play(history)
        plane = played.plane
        sent = len([a for a in plane.upstream.received if a.name == "send"])
        check(await plane.records(), sent)
        stored = await plane.store.list_approvals()
        assert len([r for r in stored if r.state is ApprovalState.USED]) >= sent
        # One live question a digest, at most.
        live = [r.digest for r in stored if r.is_live(plane.approvals.now(r))]
        assert len(live) == len(set(live))
        await plane.close()

    asyncio.run(run())


# The table itself, by whatever calls come to the store


moments = st.sampled_from([0, 9, 9, 10, 12])
moves = st.lists(
    st.one_of(
        st.tuples(
            st.just("answer"),
            st.tuples(st.sampled_from("ab"), st.sampled_from([True, True, False]), moments),
        ),
        st.just(("answer", ("a", True, 0))),
        st.tuples(st.just("use"), moments),
        st.tuples(st.just("use"), moments),
        st.tuples(st.just("void"), st.none()),
        st.tuples(st.just("expire"), moments),
    ),
    min_size=2,
    max_size=12,
)


@given(moves)
@settings(max_examples=200)
def test_a_request_only_moves_along_the_table(calls: list[tuple[str, Any]]) -> None:
    async def run() -> None:
        plane = AskingPlane()
        plane.asking.expires_s = 10
        began = int(plane.clock.now())
        opened = await plane.begin()
        approval = await plane.ask(opened, to="bob@x.org")
        store, seen, uses = plane.store, [ApprovalState.PENDING], 0
        for kind, what in calls:
            match kind:
                case "answer":
                    name, yes, after = what
                    answer = Answer(
                        author=name, proof="p", at=began + after, yes=yes, stands_for=("owner",)
                    )
                    with contextlib.suppress(Conflict):
                        await store.answer_approval(approval, answer)
                        assert after < 10
                case "use":
                    if await store.use_approval(approval, now=began + what):
                        assert what < 10
                        uses += 1
                case "void":
                    await store.end_approval(approval, ApprovalState.VOID)
                case _:
                    moved = await store.expire_approvals(now=began + what)
                    assert not moved or what >= 10
            now = ApprovalState(await plane.state(approval))
            assert now is seen[-1] or now in TRANSITIONS[seen[-1]]
            seen.append(now)
        assert uses == (ApprovalState.USED in seen)
        await plane.close()

    asyncio.run(run())
