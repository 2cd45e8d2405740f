"""Somebody keeps people from hearing: by noise, a channel that hangs, an answer to something else.

What is told here is told through the services; the channels are lists, and one of them hangs.
"""

from __future__ import annotations

import asyncio

import pytest
from escalation_kit import OLIVIA, Told, notice
from notify_kit import ListChannel

from midflight.adapters.store.memory import MemoryStore
from midflight.domain.notice import Contact, Notice, NoticeKind, NoticeState, Severity
from midflight.services.escalation import MAX_ALIKE, MAX_ASKED
from midflight.services.escalation_endings import MAX_TRIES
from midflight.services.escalation_pacing import Pace
from midflight.services.ports.notify import Message, NotDelivered, Telling

pytestmark = pytest.mark.anyio

ANN = {"ann": Contact(name="ann", channels=("chat",), answer_within=86_400)}
TWO = ANN | {"bob": Contact(name="bob", channels=("bob-chat",))}
PACE = Pace(per_minute=3, group_s=60)


class Hanging(ListChannel):
    """A channel that takes nothing until it is let go."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def tell(self, message: Message) -> None:
        self.asked.set()
        await self.go.wait()
        await super().tell(message)


async def told(contacts: dict[str, Contact] = ANN, **more: object) -> Told:
    made = Told(contacts=contacts, pace=PACE, **more)  # type: ignore[arg-type] -- passed on as given
    await made.store.open()
    return made


def finding(number: int, workload: str = "noisy", **changes: object) -> Notice:
    return notice(
        number,
        kind=NoticeKind.FINDING,
        title="Detector probing found something",
        workload=workload,
        group=f"finding probing run_{number}",
        ends_with_ack=True,
        **changes,
    )


# A channel that hangs


async def test_a_channel_that_hangs_holds_up_those_who_are_reached_by_it_alone() -> None:
    chat = Hanging("chat")
    plane = await told(TWO, channels=[chat, ListChannel("bob-chat")])
    await plane.file(1, "ann")
    await plane.telling.begin()
    await chat.asked.wait()
    # What happens while it hangs is told to others meanwhile, again and again.
    for number in range(2, 5):
        await plane.file(number, "bob")
        while len(plane.channels["bob-chat"].told) < number - 1:
            await plane.telling.begin()
            await asyncio.sleep(0)
    assert chat.told == []
    chat.go.set()
    await plane.telling.tick()
    assert plane.heard() == {"chat": 1, "bob-chat": 3}


async def test_ends_that_hang_hold_up_nobody_who_is_to_be_told() -> None:
    pager = Hanging("chat")
    pager.go.set()
    plane = await told(TWO, channels=[pager, ListChannel("bob-chat")])
    await plane.file(1, "ann")
    await plane.telling.tick()
    pager.go.clear()
    pager.asked.clear()
    plane.escalation.ended("apr_1", "answered")
    await plane.telling.begin()
    await pager.asked.wait()
    await plane.file(2, "bob")
    await plane.telling.begin()
    while not plane.channels["bob-chat"].told:
        await asyncio.sleep(0)
    pager.go.set()
    await plane.telling.tick()


async def test_a_pager_that_is_down_is_asked_once_a_round_for_all_that_ended() -> None:
    plane = await told()
    for number in range(3):  # an agent's questions, each answered or over while the pager is down
        await plane.file(number, "ann", group=f"g{number}")
    await plane.telling.tick()
    pager = plane.channels["chat"]
    pager.fails, pager.tries = [NotDelivered("down")] * 1_000, 0
    for number in range(3):
        plane.escalation.ended(f"apr_{number}", "answered")
    await plane.telling.tick()
    assert pager.tries == 1
    await plane.later(30)
    assert pager.tries == 2
    pager.fails = []
    await plane.later(60)
    ended = [m.thread for m in pager.told if m.telling is Telling.RESOLVED]
    assert len(ended) == len(set(ended)) == 3


async def test_an_end_in_many_threads_does_not_become_more_with_each_try() -> None:
    plane = await told(TWO | {"cat": Contact(name="cat", channels=("cat-chat",))})
    everybody = ("ann", "bob", "cat")
    for number in range(4):  # told to each of them in another company, so in another thread
        await plane.file(number, *everybody, group="same", together=3)
    for answered in range(3):
        await plane.telling.tick()
        await plane.escalation.resolve(f"apr_{answered}", "answered")
    await plane.telling.tick()
    last = await plane.about(3)
    threads = {f"ntc_{number}" for number in range(6)}
    stored = Notice(**{name: getattr(last, name) for name in last.__struct_fields__})
    many = type(stored)(
        **{
            **{name: getattr(stored, name) for name in stored.__struct_fields__},
            "threads": (*stored.threads, *sorted(threads)),
            "version": stored.version + 1,
        }
    )
    assert await plane.store.change_notices([many])
    for channel in plane.channels.values():
        channel.fails = [NotDelivered("down")] * 100_000
        channel.tries = 0
    await plane.escalation.resolve("apr_3", "answered")
    for tries in range(MAX_TRIES + 2):
        await plane.later(30 * 2**tries)
    for channel in plane.channels.values():
        assert channel.tries <= MAX_TRIES + 3  # once a round, and no round more than there are


# An answer to something else


async def test_who_takes_a_digest_takes_what_it_shows() -> None:
    plane = await told()
    for number in range(30):
        await plane.file(number, "ann", group=f"g{number}")
    await plane.telling.tick()
    digest = plane.channels["chat"].opened[-1]
    shown = {each.notice for each in digest.items}
    assert digest.more == 18
    taken = await plane.escalation.acknowledge_thread(digest.thread, author=OLIVIA)
    assert {each.id for each in taken} == shown
    open_ = [
        each
        for each in await plane.escalation.open_notices()
        if each.state is NoticeState.OPEN and digest.thread in each.threads
    ]
    assert open_ == []
    # What nobody was shown goes on, to the next contact or to the same one again.
    left = [each for each in await plane.escalation.open_notices() if not each.by]
    assert len(left) == 30 - len(shown)


async def test_a_digest_that_is_sent_again_after_a_crash_is_in_its_own_thread() -> None:
    store = MemoryStore()
    plane = await told(store=store)
    await plane.file(0, "ann", group="g0")
    await plane.telling.tick()
    chat = plane.channels["chat"]
    first = chat.opened[0].thread
    chat.fails = [None, None, NotDelivered("cut off")]
    for number in range(1, 9):
        await plane.file(number, "ann", group=f"g{number}")
    await plane.later(86_400)  # what was told first is due again, and comes into the digest
    again = await told(store=store, clock=plane.clock)
    await again.later(60)
    digests = [m for m in (*chat.opened, *again.channels["chat"].opened) if "digest" in m.title]
    assert len(digests) == 1
    assert digests[0].thread == digests[0].id
    assert digests[0].thread != first


async def test_what_was_in_a_digest_is_later_told_in_a_thread_of_its_own() -> None:
    plane = await told(
        {
            "ann": Contact(name="ann", channels=("chat",), answer_within=60, next="bob"),
            "bob": Contact(name="bob", channels=("bob-chat",)),
        }
    )
    for number in range(9):
        await plane.file(number, "ann", group=f"g{number}")
    await plane.telling.tick()
    digest = plane.channels["chat"].opened[-1].thread
    await plane.later(60)
    threads = {m.thread for m in plane.channels["bob-chat"].opened[:2]}
    assert digest not in threads


# Noise


async def test_noise_of_one_workload_does_not_hide_the_questions_of_others() -> None:
    plane = await told()
    for number in range(MAX_ALIKE):
        found = finding(number, severity=Severity.ERROR)
        await plane.escalation.file(found, ("ann",))
    await plane.file(500, "ann", workload="quiet")  # a warning, and filed last
    await plane.telling.tick()
    shown = {each.subject for m in plane.channels["chat"].opened for each in m.items}
    assert "apr_500" in shown


async def test_findings_of_one_workload_without_end_fill_no_store() -> None:
    plane = await told()
    for number in range(MAX_ALIKE * 3):
        plane.escalation.wanted(finding(number), ("ann",))
    await plane.escalation.write()
    kept = await plane.escalation.open_notices()
    assert len(kept) == MAX_ALIKE
    assert kept[-1].facts[-1][0] == "more"
    # A worse one, another workload's, an approval and break-glass are told all the same.
    for number, other in enumerate(
        (
            finding(1_001, severity=Severity.ERROR),
            finding(1_002, "other"),
            notice(1_003, workload="noisy"),
            notice(1_004, kind=NoticeKind.BREAK_GLASS, workload="noisy"),
        ),
        MAX_ALIKE + 1,
    ):
        assert await plane.escalation.file(other, ("ann",))
        assert len(await plane.escalation.open_notices()) == number
    # Once somebody has looked, further ones are told again.
    await plane.escalation.acknowledge(kept[0].id, author=OLIVIA)
    assert await plane.escalation.file(finding(2_000), ("ann",))
    assert not await plane.escalation.file(finding(2_001), ("ann",))


async def test_questions_of_one_workload_without_end_push_out_nobody_elses() -> None:
    """The store lists so many that are open, oldest first: what came later would never be told."""
    plane = await told()
    for number in range(MAX_ASKED + 20):
        plane.escalation.wanted(notice(number, workload="noisy", group="g"), ("ann",))
    plane.escalation.wanted(notice(9_999, workload="quiet"), ("ann",))
    await plane.escalation.write()
    kept = await plane.escalation.open_notices()
    assert len(kept) == MAX_ASKED + 1
    assert kept[-1].workload == "quiet"
    # Answered ones make room, acknowledged ones once, and what they end is not counted twice.
    await plane.escalation.acknowledge("apr_0", author=OLIVIA)
    await plane.escalation.resolve("apr_0", "answered")
    await plane.escalation.resolve("apr_1", "answered")
    room = [
        await plane.escalation.file(notice(number, workload="noisy"), ("ann",))
        for number in range(20_000, 20_004)
    ]
    assert room == [True, True, False, False]


async def test_what_is_open_is_counted_over_a_restart() -> None:
    store = MemoryStore()
    plane = await told(store=store)
    for number in range(MAX_ALIKE):
        await plane.escalation.file(finding(number), ("ann",))
    again = await told(store=store)
    assert not await again.escalation.file(finding(5_000), ("ann",))


async def test_a_notice_that_can_never_be_written_holds_up_no_other() -> None:
    plane = await told()
    store, add = plane.store, plane.store.add_notice

    async def picky(each: Notice) -> bool:
        if each.subject == "apr_1":
            raise ValueError("no such text")
        return await add(each)

    store.add_notice = picky  # type: ignore[method-assign]
    plane.escalation.wanted(notice(1), ("ann",))
    plane.escalation.wanted(notice(2), ("ann",))
    await plane.telling.tick()
    assert [each.items[0].subject for each in plane.channels["chat"].opened] == ["apr_2"]
