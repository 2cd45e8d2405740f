"""What is kept of legacy clients' streams: by session, by cursor, and bounded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from midflight.apps.gateway import resumption
from midflight.apps.gateway.resumption import Kept, ResumableWriter, read_on

pytestmark = pytest.mark.anyio


class Wire:
    """What was sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.messages)

    @property
    def ended(self) -> bool:
        return bool(self.messages) and not self.messages[-1].get("more_body", True)


def test_a_cursor_leads_to_what_stands_behind_it() -> None:
    kept = Kept()
    log = kept.open("one", "agent")
    log.append(b"first")
    assert b"id: 1-2\ndata: second" in log.append(b"second")
    assert kept.find("one", "1-0") == (log, 0)
    assert kept.find("one", "1-2") == (log, 2)


@pytest.mark.parametrize(
    "cursor", ["", "1", "1-3", "2-0", "01-0", "1-00", "-1-0", "1-1x", "١-0", "1-" + "9" * 40]
)
def test_a_cursor_that_was_not_given_out_leads_nowhere(cursor: str) -> None:
    kept = Kept()
    log = kept.open("one", "agent")
    log.append(b"first")
    assert kept.find("one", cursor) is None


def test_a_cursor_of_another_session_leads_nowhere() -> None:
    kept = Kept()
    kept.open("one", "agent").append(b"for one alone")
    assert kept.find("two", "1-0") is None


def test_a_session_that_ends_takes_its_streams_along() -> None:
    kept = Kept()
    kept.open("one", "agent").append(b"x")
    other = kept.open("two", "agent")
    kept.forget("one")
    assert kept.find("one", "1-0") is None
    assert kept.find("two", "2-0") == (other, 0)


def test_the_oldest_streams_are_forgotten_when_there_is_no_room() -> None:
    kept = Kept(max_bytes=10_000)
    first, second = kept.open("one", "agent"), kept.open("one", "agent")
    first.append(b"x" * 6_000)
    assert kept.find("one", "1-1") is not None
    second.append(b"y" * 6_000)
    assert kept.find("one", "1-1") is None
    assert kept.find("one", "2-1") is not None
    # What was forgotten goes on for the reader that it has, and is not counted any more.
    assert first.append(b"z" * 9_000).endswith(b"zz\n\n")
    assert kept.find("one", "2-1") is not None


def test_a_workload_that_keeps_much_crowds_out_itself_and_no_other() -> None:
    kept = Kept(max_bytes=10_000)
    modest = kept.open("one", "modest")
    modest.append(b"x" * 1_000)
    for number in range(20):
        kept.open(f"greedy {number}", "greedy").append(b"y" * 4_000)
    assert kept.find("one", "1-1") == (modest, 1)
    assert kept.find("greedy 18", "20-0") is None
    assert kept.find("greedy 19", "21-1") is not None


async def test_a_prompt_answer_is_a_document_and_is_not_kept() -> None:
    kept, wire = Kept(), Wire()
    writer = ResumableWriter(wire.send, lambda: kept.open("one", "agent"))
    await writer.finish(b"{}")
    writer.close()
    assert wire.body == b"{}"
    assert kept.find("one", "1-0") is None


async def test_a_stream_begins_by_itself_when_the_answer_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resumption, "BEGIN_AFTER_S", 0.0)
    kept, wire = Kept(), Wire()
    writer = ResumableWriter(wire.send, lambda: kept.open("one", "agent"))
    while not wire.body:
        await asyncio.sleep(0)
    assert b"id: 1-0" in wire.body
    assert b"retry: " in wire.body
    await writer.finish(b"late")
    assert wire.body.endswith(b"id: 1-1\ndata: late\n\n")
    assert wire.ended


async def test_nothing_begins_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumption, "BEGIN_AFTER_S", 0.0)
    kept, wire = Kept(), Wire()
    writer = ResumableWriter(wire.send, lambda: kept.open("one", "agent"))
    await writer.finish(b"{}")
    writer.close()
    for _ in range(20):
        await asyncio.sleep(0)
    assert wire.body == b"{}"


async def test_the_last_reader_gets_it_and_the_one_before_is_done() -> None:
    kept, post, get = Kept(), Wire(), Wire()
    writer = ResumableWriter(post.send, lambda: kept.open("one", "agent"))
    await writer.event(b"first")
    found = kept.find("one", "1-1")
    assert found is not None
    reading = asyncio.ensure_future(read_on(*found, get.send, until=set()))
    await asyncio.sleep(0)
    await writer.event(b"second")
    await writer.finish(b"third")
    await reading
    assert b"second" not in post.body
    assert get.body == b"".join(found[0].event(n) for n in (2, 3))
    assert post.ended


async def test_a_reader_stops_when_it_is_told_to() -> None:
    kept, wire = Kept(), Wire()
    log = kept.open("one", "agent")
    stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    reading = asyncio.ensure_future(read_on(log, 0, wire.send, until={stop}))
    await asyncio.sleep(0)
    stop.set_result(None)
    await reading
    log.append(b"too late")
    assert wire.body == b""
