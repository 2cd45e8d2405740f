"""Who is told when, until somebody has it."""

from __future__ import annotations

import pytest
from escalation_kit import CONTACTS, OLIVIA, Told, notice
from notify_kit import ListChannel

from midflight.domain.errors import Conflict, NotFound, StoreUnavailable
from midflight.domain.notice import Contact, Notice, NoticeState
from midflight.domain.records import Acknowledged, Notified
from midflight.services.escalation import MAX_QUEUE
from midflight.services.ports.notify import Item, NotDelivered, Telling
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio


async def told(**parts: object) -> Told:
    made = Told(**parts)  # type: ignore[arg-type] -- passed on as given
    await made.store.open()
    return made


async def test_the_owner_is_told_then_the_contact_then_the_next_one() -> None:
    plane = await told()
    filed = await plane.file()
    assert filed.chain == ("ann", "oncall", "boss")
    await plane.telling.tick()
    assert plane.heard() == {"ann-chat": 1}
    await plane.later(299)
    assert plane.heard() == {"ann-chat": 1}
    await plane.later(1)
    assert plane.heard() == {"ann-chat": 1, "pager": 1}
    await plane.later(600)
    assert plane.heard() == {"ann-chat": 1, "pager": 1, "boss-mail": 1}
    # Nobody is left: the last one hears again, once a day.
    await plane.later(86_399)
    assert plane.heard()["boss-mail"] == 1
    await plane.later(1)
    assert plane.heard() == {"ann-chat": 1, "pager": 1, "boss-mail": 2}
    after = await plane.about()
    assert after.is_exhausted
    steps = [(r.contact, r.step) for r in plane.recorder.records if isinstance(r, Notified)]
    assert steps == [("ann", 0), ("oncall", 1), ("boss", 2), ("boss", 3)]


async def test_who_has_it_spares_the_others() -> None:
    plane = await told()
    filed = await plane.file()
    await plane.telling.tick()
    after = await plane.escalation.acknowledge(filed.id, author=OLIVIA)
    assert (after.state, after.by, after.proof) == (
        NoticeState.ACKNOWLEDGED,
        "olivia",
        "peer-uid:1000",
    )
    await plane.later(10_000)
    assert plane.heard() == {"ann-chat": 1}
    with pytest.raises(Conflict, match="olivia"):
        await plane.escalation.acknowledge(filed.id, author=OLIVIA)
    (record,) = [r for r in plane.recorder.records if isinstance(r, Acknowledged)]
    assert (record.notice, record.author) == (filed.id, "olivia")


async def test_those_who_keep_track_hear_that_somebody_has_it_and_of_the_end() -> None:
    plane = await told()
    filed = await plane.file()
    await plane.telling.tick()
    await plane.escalation.acknowledge("apr_1", author=OLIVIA)
    await plane.telling.tick()
    plane.escalation.ended("apr_1", "answered")
    await plane.telling.tick()
    got = plane.channels["ann-chat"].told
    assert [(m.telling, m.thread) for m in got] == [
        (Telling.OPENED, filed.id),
        (Telling.ACKNOWLEDGED, filed.id),
        (Telling.RESOLVED, filed.id),
    ]
    assert (await plane.about()).why == "answered"
    await plane.later(10_000)
    assert len(got) == 3


async def test_what_is_over_before_anybody_is_told_is_told_to_nobody() -> None:
    plane = await told()
    plane.escalation.wanted(notice(), ("ann",))
    plane.escalation.ended("apr_1", "answered")
    await plane.telling.tick()
    await plane.later(10_000)
    assert all(channel.told == [] for channel in plane.channels.values())
    assert (await plane.about()).state is NoticeState.RESOLVED


async def test_a_channel_that_fails_is_tried_again_and_then_the_next_one_is_told() -> None:
    plane = await told()
    chat: ListChannel = plane.channels["ann-chat"]
    chat.fails = [NotDelivered("down")] * 9
    await plane.file()
    await plane.telling.tick()
    assert (chat.tries, plane.heard()) == (1, {})
    messages = {r.message for r in plane.recorder.records if isinstance(r, Notified)}
    for seconds in (5, 20, 60, 300):
        await plane.later(seconds)
    assert chat.tries == 5
    messages |= {r.message for r in plane.recorder.records if isinstance(r, Notified)}
    assert len(messages) == 1  # the same one, so that a receiver can drop what it has
    await plane.later(0)
    assert (chat.tries, plane.heard()) == (5, {"pager": 1})


async def test_a_channel_that_will_never_take_it_is_not_tried_again() -> None:
    plane = await told()
    plane.channels["ann-chat"].fails = [NotDelivered("no such hook", is_final=True)]
    await plane.file()
    await plane.telling.tick()
    await plane.telling.tick()
    assert plane.heard() == {"pager": 1}
    errors = [r.error for r in plane.recorder.records if isinstance(r, Notified)]
    assert errors == ["no such hook", ""]


async def test_a_receiver_may_ask_for_patience() -> None:
    plane = await told()
    plane.channels["ann-chat"].fails = [NotDelivered("429", after_s=120)]
    await plane.file()
    await plane.telling.tick()
    await plane.later(119)
    assert plane.heard() == {}
    await plane.later(1)
    assert plane.heard() == {"ann-chat": 1}


@pytest.mark.parametrize("every", [False, True])
async def test_channels_of_a_contact_are_taken_in_order_or_all(every: bool) -> None:
    contact = Contact(name="ann", channels=("first", "second"), every=every)
    plane = await told(contacts={"ann": contact})
    await plane.file()
    await plane.telling.tick()
    assert plane.heard() == ({"first": 1, "second": 1} if every else {"first": 1})
    other = await told(contacts={"ann": contact})
    other.channels["first"].fails = [NotDelivered("down")]
    await other.file()
    await other.telling.tick()
    assert other.heard() == {"second": 1}
    assert (await other.about()).told[0].channels == ("second",)


async def test_several_approvers_are_told_at_once() -> None:
    plane = await told()
    await plane.file(1, "ann", "boss", "oncall", together=2)
    await plane.telling.tick()
    await plane.telling.tick()
    assert plane.heard() == {"ann-chat": 1, "boss-mail": 1}
    await plane.later(900)
    assert plane.heard() == {"ann-chat": 1, "boss-mail": 1, "pager": 1}


async def test_everybody_gets_a_turn_before_a_question_is_over() -> None:
    plane = await told()
    now = int(plane.clock.now())
    await plane.file(expires_at=now + 300)
    await plane.telling.tick()
    await plane.later(100)
    assert plane.heard() == {"ann-chat": 1, "pager": 1}
    await plane.later(100)
    assert plane.heard() == {"ann-chat": 1, "pager": 1, "boss-mail": 1}


async def test_what_has_no_owner_goes_to_the_default_contact() -> None:
    plane = await told(default="boss")
    filed = await plane.file(1, "nobody-known")
    assert filed.chain == ("boss",)


async def test_what_can_be_told_to_nobody_stays_listed() -> None:
    plane = await told(contacts={})
    filed = await plane.file()
    await plane.telling.tick()
    assert filed.chain == ()
    assert [each.id for each in await plane.escalation.open_notices()] == [filed.id]


async def test_contacts_that_name_each_other_end() -> None:
    circle = {
        name: Contact(name=name, channels=(name,), next=following)
        for name, following in (("ann", "bob"), ("bob", "cat"), ("cat", "ann"))
    }
    plane = await told(contacts=circle)
    assert (await plane.file(1, "ann")).chain == ("ann", "bob", "cat")


async def test_a_clock_that_is_set_back_delays_nobody() -> None:
    clock = FakeClock()
    plane = await told(clock=clock)
    await plane.file()
    await plane.telling.tick()
    clock.set_back(86_400)
    clock.advance(300)
    await plane.telling.tick()
    assert plane.heard() == {"ann-chat": 1, "pager": 1}


async def test_a_contact_that_left_the_settings_is_passed_over() -> None:
    plane = await told()
    await plane.file()
    later = Told(
        store=plane.store,
        clock=plane.clock,
        contacts={name: CONTACTS[name] for name in ("oncall", "boss")},
    )
    await later.telling.start()
    await later.telling.tick()
    await later.telling.tick()
    assert later.heard() == {"pager": 1}


async def test_an_answer_while_it_is_told_stands_and_its_end_is_told() -> None:
    plane = await told()
    filed = await plane.file()
    chat: ListChannel = plane.channels["ann-chat"]
    inner = chat.tell

    async def answered_meanwhile(message: object) -> None:
        chat.tell = inner  # type: ignore[method-assign]
        await plane.escalation.acknowledge(filed.id, author=OLIVIA)
        await inner(message)  # type: ignore[arg-type]

    chat.tell = answered_meanwhile  # type: ignore[method-assign,assignment]
    await plane.telling.tick()
    await plane.telling.tick()
    assert [m.telling for m in chat.told] == [Telling.OPENED, Telling.ACKNOWLEDGED]
    after = await plane.about()
    assert after.state is NoticeState.ACKNOWLEDGED
    assert [each.contact for each in after.told] == ["ann"]


async def test_an_answer_just_before_it_is_told_spares_everybody() -> None:
    plane = await told()
    filed = await plane.file()
    item = plane.telling._item

    async def answered_meanwhile(notice: Notice, channel: str) -> Item:
        await plane.escalation.acknowledge(filed.id, author=OLIVIA)
        return await item(notice, channel)

    plane.telling._item = answered_meanwhile
    await plane.telling.tick()
    await plane.later(10_000)
    assert plane.heard() == {}


async def test_an_end_that_cannot_be_told_is_told_later() -> None:
    plane = await told()
    await plane.file()
    await plane.telling.tick()
    chat: ListChannel = plane.channels["ann-chat"]
    chat.fails = [NotDelivered("down")]
    plane.escalation.ended("apr_1", "answered")
    await plane.telling.tick()
    assert len(chat.told) == 1
    await plane.later(30)
    assert [m.telling for m in chat.told] == [Telling.OPENED, Telling.RESOLVED]


async def test_an_end_that_the_last_process_did_not_tell_is_told_by_the_next() -> None:
    plane = await told()
    await plane.file()
    await plane.telling.tick()
    await plane.escalation.resolve("apr_1", "answered")  # and it dies before the next tick
    later = Told(store=plane.store, clock=plane.clock)
    await later.telling.start()
    await later.telling.tick()
    assert [m.telling for m in later.channels["ann-chat"].told] == [Telling.RESOLVED]


async def test_a_channel_with_a_bug_silences_nobody_else() -> None:
    plane = await told()

    async def broken(message: object) -> None:
        raise KeyError("s3cret")

    plane.channels["ann-chat"].tell = broken
    await plane.file(1)
    await plane.file(2, "oncall")
    await plane.telling.tick()
    assert plane.heard() == {"pager": 1}
    errors = [r.error for r in plane.recorder.records if isinstance(r, Notified) if r.error]
    assert errors == ["ann-chat failed (KeyError)."]


async def test_a_store_that_is_gone_loses_nothing_that_was_given_away() -> None:
    plane = await told()
    await plane.store.close()
    plane.escalation.wanted(notice(), ("ann",))  # on the path of an action: never an exception
    with pytest.raises(StoreUnavailable):
        await plane.telling.tick()
    await plane.store.open()
    await plane.telling.tick()
    assert plane.heard() == {"ann-chat": 1}


async def test_what_is_given_away_is_bounded() -> None:
    plane = await told()
    for number in range(MAX_QUEUE + 50):
        plane.escalation.wanted(notice(number), ("ann",))
    assert len(plane.escalation._queue) == MAX_QUEUE


async def test_a_thread_is_acknowledged_as_a_whole() -> None:
    plane = await told()
    for number in (1, 2):
        await plane.file(number, group="same")
    await plane.telling.tick()
    (message,) = plane.channels["ann-chat"].opened
    assert message.title == "2 actions wait for approval"
    done = await plane.escalation.acknowledge_thread(message.thread, author=OLIVIA)
    assert len(done) == 2
    await plane.later(10_000)
    assert plane.heard() == {"ann-chat": 1}
    with pytest.raises(NotFound):
        await plane.escalation.acknowledge_thread("ntc_none", author=OLIVIA)


async def test_a_thread_has_somebody_once_all_of_it_has_and_ends_with_the_last() -> None:
    plane = await told()
    for number in (1, 2):
        await plane.file(number, group="same")
    await plane.telling.tick()
    chat = plane.channels["ann-chat"]
    await plane.escalation.resolve("apr_1", "answered")
    await plane.telling.tick()
    assert len(chat.told) == 1
    await plane.escalation.acknowledge("apr_2", author=OLIVIA)
    await plane.telling.tick()
    await plane.escalation.resolve("apr_2", "answered")
    await plane.telling.tick()
    assert [m.telling for m in chat.told] == [
        Telling.OPENED,
        Telling.ACKNOWLEDGED,
        Telling.RESOLVED,
    ]
    assert len({m.thread for m in chat.told}) == 1


async def test_what_ended_long_ago_is_forgotten() -> None:
    plane = await told()
    await plane.file()
    await plane.escalation.resolve("apr_1", "answered")
    await plane.escalation.prune()
    assert len(await plane.escalation.history()) == 1
    assert isinstance(plane.clock, FakeClock)
    plane.clock.advance(31 * 86_400)
    await plane.escalation.prune()
    assert await plane.escalation.history() == []
