"""Break-glass: what passes while it is open, what ends it, and who hears of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from approval_kit import asked
from control_kit import RunningPlane, running_plane
from glass_kit import BOB, OLIVIA, GlassPlane
from typer.testing import CliRunner, Result

from midflight.adapters.store.sqlite import SqliteStore
from midflight.apps.cli.main import app
from midflight.domain.errors import Conflict, Forbidden, Malformed, NotFound
from midflight.domain.notice import NoticeState
from midflight.domain.records import Changed, Intent, Observed
from midflight.services.break_glass import GlassRules
from midflight.services.guard import Performed
from midflight.testing import WORKLOAD

pytestmark = pytest.mark.anyio

TO = {"to": "bob@x.org"}


@pytest.fixture
async def plane() -> AsyncIterator[GlassPlane]:
    made = GlassPlane()
    yield made
    await made.close()


async def test_while_it_is_open_a_challenge_passes_and_names_it(plane: GlassPlane) -> None:
    run = await plane.begin()
    asked(await plane.act(run, **TO))
    entry = await plane.break_open()
    assert isinstance(await plane.act(run, **TO), Performed)
    assert isinstance(await plane.act(run, to="carol@x.org"), Performed)
    intents = [r for r in await plane.records() if isinstance(r, Intent)]
    assert [r.approval for r in intents] == [entry.id, entry.id]
    (listed,) = await plane.glass.list()
    assert listed.uses == 2
    (opened,) = [
        r for r in await plane.records() if isinstance(r, Changed) and "break_glass" in r.what
    ]
    assert opened.what == f"break_glass.open {entry.id}"
    assert (opened.author, opened.details["reason"]) == ("bob", "outage")


async def test_what_asks_about_nobody_is_as_ever(plane: GlassPlane) -> None:
    run = await plane.begin()
    await plane.break_open()
    assert isinstance(await plane.act(run, "look"), Performed)
    (intent,) = [r for r in await plane.records() if isinstance(r, Intent)]
    assert intent.approval is None


async def test_it_ends_at_its_time(plane: GlassPlane) -> None:
    run = await plane.begin()
    entry = await plane.break_open(for_s=60)
    plane.clock.advance(59)
    assert isinstance(await plane.act(run, **TO), Performed)
    plane.clock.advance(1)
    asked(await plane.act(run, **TO))
    await plane.glass.sweep()
    (ended,) = [r for r in await plane.records() if isinstance(r, Observed)]
    assert (ended.what, ended.subject) == ("break_glass.ended", entry.id)
    assert ended.details == {"workload": WORKLOAD, "why": "its time was over", "uses": 1}


async def test_it_is_closed_by_hand(plane: GlassPlane) -> None:
    run = await plane.begin()
    entry = await plane.break_open()
    closed = await plane.glass.close(entry.id, author=OLIVIA)
    assert closed.why == "closed by olivia"
    asked(await plane.act(run, **TO))
    with pytest.raises(Conflict):
        await plane.glass.close(entry.id, author=OLIVIA)
    with pytest.raises(NotFound):
        await plane.glass.close("brk_none", author=OLIVIA)


async def test_everybody_is_told_at_once_until_it_is_reviewed(plane: GlassPlane) -> None:
    await plane.begin()
    entry = await plane.break_open()
    for _ in range(3):
        await plane.telling.tick()
    assert [len(channel.opened) for channel in plane.channels.values()] == [1, 1, 1]
    assert plane.channels["pager"].opened[0].severity.value == "critical"
    await plane.escalation.acknowledge(entry.id, author=OLIVIA)
    await plane.glass.close(entry.id, author=BOB)
    # Somebody has it, and it stays listed all the same.
    (notice,) = await plane.escalation.open_notices()
    assert notice.state is NoticeState.ACKNOWLEDGED
    reviewed = await plane.glass.review(entry.id, note="two mails, both right", author=OLIVIA)
    assert (reviewed.reviewed_by, reviewed.note) == ("olivia", "two mails, both right")
    assert await plane.escalation.open_notices() == []
    assert await plane.glass.list() == []
    assert [each.id for each in await plane.glass.list(settled=True)] == [entry.id]


@pytest.mark.parametrize("ends", [False, True])
async def test_it_is_there_after_a_start_and_no_longer_than_before(
    tmp_path: Path, ends: bool
) -> None:
    first = GlassPlane(store=SqliteStore(tmp_path / "midflight.db"))
    run = await first.begin()
    entry = await first.break_open(for_s=600)
    await first.act(run, **TO)
    await first.glass.sweep()
    await first.close()
    first.clock.advance(601 if ends else 60)
    later = GlassPlane(restarts=first)
    await later.start(register=False)
    if ends:
        assert later.glass.lets_pass(WORKLOAD) == ""
        (listed,) = await later.glass.list()
        assert listed.why == "its time was over"
    else:
        assert later.glass.lets_pass(WORKLOAD) == entry.id
        (listed,) = await later.glass.list()
    assert listed.uses == 1
    await later.close()


async def test_one_that_nobody_reviewed_becomes_a_problem_of_its_own(plane: GlassPlane) -> None:
    await plane.begin()
    entry = await plane.break_open(for_s=60)
    plane.clock.advance(60)
    await plane.glass.sweep()
    assert await plane.glass.overdue() == []
    plane.clock.advance(3 * 86_400 + 1)
    assert [each.id for each in await plane.glass.overdue()] == [entry.id]


@pytest.mark.parametrize(
    ("reason", "for_s"), [("", 600), ("  ", 600), ("x" * 501, 600), ("outage", 59), ("o", 3_601)]
)
async def test_it_takes_a_reason_and_an_end(plane: GlassPlane, reason: str, for_s: int) -> None:
    await plane.begin()
    with pytest.raises(Malformed):
        await plane.glass.open(WORKLOAD, reason=reason, for_s=for_s, author=BOB)
    with pytest.raises(NotFound):
        await plane.glass.open(f"{WORKLOAD}/x", reason="o", for_s=600, author=BOB)
    assert await plane.glass.list(settled=True) == []


async def test_the_owner_may_be_kept_from_it() -> None:
    plane = GlassPlane(rules=GlassRules(four_eyes=True))
    await plane.begin()
    with pytest.raises(Forbidden, match="answers for"):
        await plane.break_open(author=OLIVIA)
    await plane.break_open(author=BOB)
    await plane.close()


# The commands, on a real plane


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningPlane:
    with running_plane(tmp_path) as made:
        monkeypatch.chdir(tmp_path)
        made.register()
        yield made  # type: ignore[misc]


def midflight(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_the_commands(running: RunningPlane) -> None:
    done = midflight("break-glass", "open", "agents/triage", "--reason", "outage", "--for", "10m")
    assert done.exit_code == 0, done.stderr
    assert "Another" in done.stderr
    (entry,) = running.client.get("/v1/break-glass")
    assert "open" in midflight("break-glass", "list").stdout
    waiting = midflight("open")
    assert entry["id"] in waiting.stdout
    assert "nobody can be told" in waiting.stdout
    doctor = midflight("doctor").stdout
    assert "can be told to nobody" in doctor
    assert f"{entry['id']} is open" in doctor
    own = midflight("notice", "ack", entry["id"])
    assert own.exit_code == 1
    assert "somebody else takes note of it" in own.stderr
    escalation = running.plane.escalating.escalation
    running.do(lambda: escalation.acknowledge(entry["id"], author=BOB))
    assert "bob has it" in midflight("open").stdout
    assert "acknowledged" in midflight("notice", "list").stdout
    assert "outage" in midflight("notice", "show", entry["id"]).stdout
    assert midflight("break-glass", "close", entry["id"]).exit_code == 0
    review = midflight("break-glass", "review", entry["id"], "--note", "fine")
    assert review.exit_code == 1
    assert "somebody else reviews it" in review.stderr
    assert "waits for review" in midflight("break-glass", "list").stdout
    assert midflight("break-glass", "open", "agents/none", "--reason", "x").exit_code == 1
