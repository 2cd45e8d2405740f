"""Whatever happens in which order: told in order, never after somebody has it, at least once.

A machine files notices, lets time pass, makes channels fail, answers, ends, sets the clock back,
and starts the process again over the same store; after each step the invariants hold.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from escalation_kit import CONTACTS, OLIVIA, Told
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from notify_kit import ListChannel

from midflight.adapters.store.memory import MemoryStore
from midflight.domain.errors import Conflict
from midflight.domain.notice import (
    TRANSITIONS,
    Contact,
    NoticeState,
    acknowledged,
    begun,
    chain_of,
    missed,
    resolved,
    told,
)
from midflight.domain.notice import Notice as NoticeValue
from midflight.domain.plain import plain
from midflight.services.escalation_pacing import Pace
from midflight.services.ports.notify import Message, NotDelivered
from midflight.testing import FakeClock

NAMES = [channel for contact in CONTACTS.values() for channel in contact.channels]


class Heard(ListChannel):
    """A channel that says to the machine what it gets."""

    def __init__(self, name: str, machine: Any) -> None:
        super().__init__(name)
        self._machine = machine

    async def tell(self, message: Message) -> None:
        failure = self.fails[0] if self.fails else None
        # What was refused for good is not there, so it may come under another id with the rest.
        self._machine.reached(self.name, message, refused=failure is not None and failure.is_final)
        await super().tell(message)


class Escalations(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.store = MemoryStore()
        self.filed = 0
        self.closed: set[str] = set()  # notices that somebody has, or that are over
        self.steps: dict[str, int] = {}  # the step that a notice was told of last
        self.names: dict[tuple[str, int], set[str]] = {}  # ids of the messages of a step
        self.problems: list[str] = []
        self.plane = self._start()
        self.do(self.store.open())

    def teardown(self) -> None:
        try:
            self.check_the_end()
        finally:
            self.loop.close()

    def check_the_end(self) -> None:
        # Undisturbed, everything that is open reaches everybody.
        for channel in self.plane.channels.values():
            channel.fails = []
        for _ in range(12):
            self.clock.advance(1_000)
            self.do(self.plane.telling.tick())
        for notice in self.do(self.store.list_notices(ended=False)):
            if notice.state is NoticeState.OPEN:
                # A message that is about many names ten; it is told of all the same.
                reached = {each.contact for each in notice.told}
                missing = [name for name in notice.chain if name not in reached]
                # One whose channel failed for good, or too often, was passed over; it is on record.
                failed = {
                    r.contact
                    for plane in self.planes
                    for r in plane.recorder.records
                    if getattr(r, "notice", "") == notice.id and getattr(r, "error", "")
                }
                assert set(missing) <= failed, (notice.chain, missing)
        assert self.problems == []

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    planes: tuple[Told, ...] = ()

    def _start(self) -> Told:
        plane = Told(
            store=self.store,
            clock=self.clock,
            channels=[Heard(name, self) for name in NAMES],
            pace=Pace(per_minute=3, group_s=60, repeat_s=3_600),
        )
        self.planes = (*self.planes, plane)
        return plane

    def reached(self, channel: str, message: Message, *, refused: bool) -> None:
        """A channel is asked to tell a message: what must be true of that."""
        if message.telling.value != "trigger":
            return
        contact = next(n for n, c in CONTACTS.items() if channel in c.channels)
        for item in message.items:
            notice = self.store._notices[item.notice]
            if item.notice in self.closed:
                self.problems.append(f"{item.notice} was told after it was closed")
            if notice.contact != contact:
                self.problems.append(f"{item.notice} was told to {contact} out of turn")
            if notice.step < self.steps.get(item.notice, 0):
                self.problems.append(f"{item.notice} went back to step {notice.step}")
            self.steps[item.notice] = notice.step
            names = self.names.setdefault((item.notice, notice.step), set())
            if refused:
                names.clear()
            else:
                names.add(message.id)

    @rule(group=st.integers(0, 2), together=st.integers(1, 3))
    def file(self, group: int, together: int) -> None:
        self.filed += 1
        self.do(
            self.plane.file(self.filed, "ann", "oncall", group=f"group {group}", together=together)
        )

    @rule(seconds=st.sampled_from([0, 1, 5, 30, 60, 299, 300, 600, 3_600]))
    def tick(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.do(self.plane.telling.tick())

    @rule(name=st.sampled_from(NAMES), is_final=st.booleans(), times=st.integers(1, 6))
    def fail(self, name: str, is_final: bool, times: int) -> None:
        self.plane.channels[name].fails = [NotDelivered("down", is_final=is_final)] * times

    @rule(seconds=st.sampled_from([10, 1_000, 90_000]))
    def set_back(self, seconds: int) -> None:
        self.clock.set_back(seconds)

    @rule(number=st.integers(1, 6))
    def acknowledge(self, number: int) -> None:
        notice = self.do(self.store.notice_about(f"apr_{number}"))
        if notice is None:
            return
        try:
            self.do(self.plane.escalation.acknowledge(notice.id, author=OLIVIA))
        except Conflict:
            assert notice.id in self.closed
        self.closed.add(notice.id)

    @rule(number=st.integers(1, 6))
    def resolve(self, number: int) -> None:
        notice = self.do(self.store.notice_about(f"apr_{number}"))
        if notice is not None:
            self.do(self.plane.escalation.resolve(notice.subject, "over"))
            self.closed.add(notice.id)

    @rule()
    def start_again(self) -> None:
        self.plane = self._start()
        self.do(self.plane.telling.start())

    @invariant()
    def no_rule_is_broken(self) -> None:
        assert self.problems == []

    @invariant()
    def a_step_has_one_message(self) -> None:
        assert all(len(names) <= 1 for names in self.names.values()), self.names


TestEscalations = Escalations.TestCase


def test_what_the_last_contact_never_got_comes_again_by_the_same_message() -> None:
    # Found by the machine: the clock steps back, and a channel that failed for good comes back
    # when other notices of the group are due as well.
    machine = Escalations()
    try:
        machine.file(group=0, together=2)
        machine.file(group=0, together=1)
        machine.tick(seconds=60)
        machine.tick(seconds=3_600)
        machine.file(group=0, together=1)
        machine.file(group=0, together=1)
        machine.set_back(seconds=90_000)
        machine.fail(name="boss-mail", is_final=True, times=4)
        for seconds in (299, 300, 600):
            machine.tick(seconds=seconds)
            machine.a_step_has_one_message()
            machine.no_rule_is_broken()
    finally:
        machine.teardown()


STEPS = st.lists(st.sampled_from(["begin", "tell", "miss", "give up", "ack", "end"]), max_size=30)


@given(
    steps=STEPS,
    ends=st.booleans(),
    chain=st.lists(st.sampled_from("abcde"), min_size=1, max_size=5, unique=True),
)
def test_a_notice_only_goes_forward(steps: list[str], ends: bool, chain: list[str]) -> None:
    notice = NoticeValue(
        id="ntc_1",
        kind="approval",
        subject="apr_1",
        title="t",
        ends_with_ack=ends,
        chain=tuple(chain),  # type: ignore[arg-type]
    )
    now = 1_000
    for number, step in enumerate(steps):
        before = notice
        try:
            match step:
                case "begin":
                    notice = begun(notice, f"msg_{number}", notice.id)
                case "tell":
                    notice = told(
                        notice,
                        now=now,
                        wait=60,
                        channels=("x",),
                        contact=notice.contact,
                        message=notice.sending or "none",
                    )
                case "miss" | "give up":
                    notice = missed(notice, now=now, wait=5, final=step == "give up")
                case "ack":
                    notice = acknowledged(notice, by="olivia", proof="p", now=now)
                case _:
                    notice = resolved(notice, now=now, why="over")
        except Conflict:
            assert before.state is not NoticeState.OPEN
            continue
        assert notice.state is before.state or notice.state in TRANSITIONS[before.state]
        assert notice.step >= before.step
        assert notice is before or notice.version == before.version + 1
        assert notice.contact in chain
        if notice.state is not NoticeState.OPEN:
            assert not notice.sending
            assert not notice.is_due(10**10)
        now += 10


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["", *"abcdefghz"]), max_size=8),
    st.lists(st.sampled_from("abcdefghz"), max_size=12),
    st.sampled_from(["", "a", "z"]),
)
def test_a_chain_ends_and_names_nobody_twice(
    following: dict[str, str], first: list[str], default: str
) -> None:
    contacts = {name: Contact(name=name, next=after) for name, after in following.items()}
    chain = chain_of(first, contacts=contacts, default=default)
    assert len(set(chain)) == len(chain) <= 10
    assert set(chain) <= set(contacts)
    known = list(dict.fromkeys(name for name in first if name in contacts))
    assert list(chain[: len(known)]) == known


@given(st.text(max_size=300), st.integers(1, 100))
def test_plain_text_is_one_short_visible_line(text: str, limit: int) -> None:
    shown = plain(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    if text.isascii() and text.isprintable() and len(text) <= limit:
        assert shown == text


@pytest.mark.parametrize("hidden", ["\r\n", "\u202e", "\u200b", "\x1b[2J", "\u2028", "\x00"])
def test_what_hides_is_written_out(hidden: str) -> None:
    assert hidden not in plain(f"a{hidden}b", 100)
    assert "\\u" in plain(f"a{hidden}b", 100)
