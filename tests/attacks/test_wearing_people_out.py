"""An agent asks so much that people stop reading: what they get stays little, and tells of all."""

from __future__ import annotations

from pathlib import Path

import pytest
from escalation_kit import OLIVIA, Told
from hook_kit import hooked_plane

from midflight.domain.notice import Contact, NoticeKind, Severity
from midflight.services.approvals import MAX_PENDING
from midflight.services.escalation_pacing import Pace
from midflight.services.ports.notify import Telling
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio

ANN = {"ann": Contact(name="ann", channels=("chat",), answer_within=86_400)}
PACE = Pace(per_minute=3, group_s=60)


async def told() -> Told:
    made = Told(contacts=ANN, pace=PACE)
    await made.store.open()
    return made


async def test_questions_of_one_kind_come_together() -> None:
    plane = await told()
    for number in range(15):
        await plane.file(number, "ann", group="approval run_1 mail/send")
    await plane.telling.tick()
    (message,) = plane.channels["chat"].opened
    assert message.title == "15 actions wait for approval"
    assert (len(message.items), message.more) == (10, 5)


async def test_more_of_the_same_waits_a_minute() -> None:
    plane = await told()
    for number in range(30):  # one every five seconds
        await plane.file(number, "ann", group="approval run_1 mail/send")
        await plane.later(5)
    chat = plane.channels["chat"]
    assert len(chat.opened) == 3
    await plane.later(60)
    assert sum(len(m.items) + m.more for m in chat.opened) == 30


async def test_a_flood_of_kinds_is_a_digest() -> None:
    plane = await told()
    for number in range(50):
        await plane.file(number, "ann", group=f"approval run_{number} mail/send")
    await plane.telling.tick()
    chat = plane.channels["chat"]
    assert [m.title for m in chat.opened[:2]] == ["An action waits for approval"] * 2
    assert chat.opened[2].title == "48 actions wait for approval (digest)"
    assert len(chat.opened) == PACE.per_minute


async def test_an_hour_of_flood_is_a_few_messages_a_minute_and_nothing_is_lost() -> None:
    plane = await told()
    for number in range(720):
        await plane.file(number, "ann", group=f"approval run_{number} mail/send")
        await plane.later(5)
    chat = plane.channels["chat"]
    assert len(chat.opened) <= 60 * PACE.per_minute + PACE.per_minute
    await plane.later(60)
    shown = sum(len(m.items) + m.more for m in chat.opened)
    assert shown == 720


async def test_a_start_in_between_tells_nobody_twice() -> None:
    plane = await told()
    for number in range(20):
        await plane.file(number, "ann", group=f"g{number}")
    await plane.telling.tick()
    again = Told(store=plane.store, clock=plane.clock, contacts=ANN, pace=PACE)
    await again.telling.start()
    await again.telling.tick()
    assert again.heard() == {}


async def test_what_matters_most_comes_first_and_by_itself() -> None:
    plane = await told()
    for number in range(40):
        await plane.file(number, "ann", group=f"g{number}")
    await plane.file(
        99, "ann", group="x", kind=NoticeKind.BREAK_GLASS, severity=Severity.CRITICAL, title="!"
    )
    await plane.telling.tick()
    opened = plane.channels["chat"].opened
    assert opened[0].title == "!"
    assert [m.severity for m in opened] == [Severity.CRITICAL] + [Severity.WARNING] * 2


async def test_a_digest_is_acknowledged_at_once_as_far_as_it_is_shown() -> None:
    plane = await told()
    for number in range(12):
        await plane.file(number, "ann", group=f"g{number}")
    await plane.telling.tick()
    digest = plane.channels["chat"].opened[-1]
    assert len(await plane.escalation.acknowledge_thread(digest.thread, author=OLIVIA)) == 10
    await plane.telling.tick()
    endings = [m for m in plane.channels["chat"].told if m.telling is Telling.ACKNOWLEDGED]
    assert {m.thread for m in endings} == {digest.thread}


async def test_one_who_is_flooded_delays_nobody_else() -> None:
    people = ANN | {"bob": Contact(name="bob", channels=("bob-chat",))}
    plane = Told(contacts=people, pace=PACE)
    await plane.store.open()
    for number in range(100):
        await plane.file(number, "ann", group=f"g{number}")
    await plane.file(500, "bob")
    await plane.telling.tick()
    assert plane.heard() == {"chat": 3, "bob-chat": 1}


async def test_what_expires_meanwhile_is_not_told_any_more() -> None:
    plane = await told()
    assert isinstance(plane.clock, FakeClock)
    for number in range(10):
        await plane.file(number, "ann", group="same")
    await plane.telling.tick()
    for number in range(10, 20):
        await plane.file(number, "ann", group="same")
    for number in range(10, 20):
        plane.escalation.ended(f"apr_{number}", "expired")
    await plane.later(120)
    assert len(plane.channels["chat"].opened) == 1


def test_an_agent_that_asks_and_asks_makes_one_message(tmp_path: Path) -> None:
    with hooked_plane(tmp_path, extra="[escalation]\ngroup = '1h'\n") as plane:
        run = plane.untrusted_run()
        for number in range(MAX_PENDING):
            plane.ask(run, to=f"bob{number}@x.org")
        for _ in range(3):
            plane.tick()
        # The first may have gone alone, when the plane itself looked in between.
        assert len(plane.posts("/chat")) <= 2
        waiting = plane.running.client.get("/v1/open")
        assert len(waiting) == MAX_PENDING
        assert all(each["owner"] == "ann" and each["next"] for each in waiting)
