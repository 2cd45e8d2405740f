"""Break-glass as a way around everything: by the agent, for ever, past a no, without a review."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from approval_kit import asked
from control_kit import WORKLOAD as REGISTERED
from control_kit import running_plane
from glass_kit import BOB, OLIVIA, GlassPlane

from midflight.domain.decision import DenyCode
from midflight.domain.errors import Conflict, Forbidden, LedgerUnavailable, MidflightError
from midflight.domain.identity import Author, Workload
from midflight.domain.notice import NoticeState
from midflight.domain.records import Intent, Record
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.break_glass import GlassRules
from midflight.services.guard import Performed, Refused
from midflight.testing import OPERATOR, WORKLOAD

pytestmark = pytest.mark.anyio

TO = {"to": "bob@x.org"}
KNOCK = """
import http.client, json, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
c = http.client.HTTPConnection("midflight"); c.sock = s
body = json.dumps({"workload": sys.argv[2], "reason": "mine", "for_s": 600})
c.request("POST", "/v1/break-glass", body, {"content-type": "application/json"})
print(c.getresponse().status)
"""


@pytest.fixture
async def plane() -> AsyncIterator[GlassPlane]:
    made = GlassPlane()
    yield made
    await made.close()


def denied(outcome: Performed | Refused) -> DenyCode | None:
    assert isinstance(outcome, Refused), outcome
    return getattr(outcome.decision, "code", None)


async def intents(plane: GlassPlane) -> int:
    return len([r for r in await plane.records() if isinstance(r, Intent)])


# Who opens it


def test_the_user_that_an_agent_runs_as_opens_nothing(tmp_path: Path) -> None:
    with running_plane(tmp_path) as running:
        running.register()
        socket = str(running.plane.settings.control_socket)
        # This process is the operator until its user id is registered as a workload's, which the
        # control API would not do.
        agent = Workload(
            id=f"{REGISTERED}/mine",
            owner="ann",
            escalation="oncall",
            review_by=4_000_000_000,
            uid=os.getuid(),
        )
        running.do(lambda: running.plane.inventory.register(agent, OPERATOR))
        done = subprocess.run(
            [sys.executable, "-c", KNOCK, socket, REGISTERED],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.strip() == "403", done.stderr
        assert running.do(lambda: running.plane.escalating.glass.list(settled=True)) == []


def test_an_operator_token_opens_and_reviews_nothing(tmp_path: Path) -> None:
    # It may have leaked; the socket says who calls.
    import http.client  # noqa: PLC0415
    import json  # noqa: PLC0415

    with running_plane(tmp_path) as running:
        running.register()
        token = running.client.post("/v1/operator/tokens")["token"]
        for path in ("/v1/break-glass", "/v1/break-glass/brk_1/review"):
            connection = http.client.HTTPConnection("127.0.0.1", running.api_port)
            body = json.dumps({"workload": REGISTERED, "reason": "x", "for_s": 600})
            headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
            connection.request("POST", path, body, headers)
            assert connection.getresponse().status == 403
            connection.close()
        assert running.client.get("/v1/break-glass") == []


# What it lets pass


async def test_what_policy_denies_stays_denied(plane: GlassPlane) -> None:
    plane.asking.hard = True  # asks whatever was approved: not to be had by a yes either
    run = await plane.begin()
    await plane.break_open()
    asked(await plane.act(run, **TO))
    assert await intents(plane) == 0


async def test_what_is_not_pinned_stays_denied(plane: GlassPlane) -> None:
    await plane.start()
    run = await plane.open()
    await plane.break_open()
    assert denied(await plane.act(run, **TO)) is not None
    assert await intents(plane) == 0


async def test_what_a_person_refused_stays_refused(plane: GlassPlane) -> None:
    run = await plane.begin()
    approval = await plane.ask(run, **TO)
    await plane.desk.refuse(approval, author=Author(name="team-one", proof="p"))
    await plane.break_open()
    assert denied(await plane.act(run, **TO)) is DenyCode.APPROVAL_REQUIRED
    assert await intents(plane) == 0


async def test_a_canary_does_not_pass(plane: GlassPlane) -> None:
    run = await plane.begin()
    made = await plane.canaries.add("trap", OPERATOR)
    await plane.break_open()
    assert denied(await plane.act(run, to=made.value)) is DenyCode.CANARY
    assert await intents(plane) == 0


async def test_another_workload_profits_nothing(plane: GlassPlane) -> None:
    await plane.begin()
    await plane.break_open()
    assert plane.glass.lets_pass(f"{WORKLOAD}/child") == ""


@pytest.mark.parametrize(
    "scope",
    [
        Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD),
        Scope(kind=ScopeKind.OWNER, id="team-one"),
        Scope(kind=ScopeKind.EVERYTHING),
    ],
)
async def test_a_revocation_ends_it_for_good(plane: GlassPlane, scope: Scope) -> None:
    run = await plane.begin()
    entry = await plane.break_open()
    done = await plane.interruption.revoke(scope, reason="stop", author=OPERATOR)
    assert denied(await plane.act(run, **TO)) is not None
    with pytest.raises(Conflict, match="is revoked"):
        await plane.break_open(author=OLIVIA)
    await plane.interruption.lift(done.revocation.id, reason="over", author=OPERATOR)
    assert plane.glass.lets_pass(WORKLOAD) == ""
    (listed,) = await plane.glass.list()
    assert listed.id == entry.id
    assert done.revocation.id in listed.why


async def test_a_revocation_while_nobody_ran_ends_it_too(plane: GlassPlane) -> None:
    await plane.begin()
    await plane.break_open()
    await plane.interruption.revoke(
        Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD), reason="stop", author=OPERATOR
    )
    # Nothing of its end was written down before the process died.
    later = GlassPlane(restarts=plane)
    await later.start(register=False)
    assert later.glass.lets_pass(WORKLOAD) == ""
    (listed,) = await later.glass.list()
    assert listed.closed_at
    await later.close()


async def test_a_yes_that_is_judged_again_on_the_facts_of_now(plane: GlassPlane) -> None:
    run = await plane.begin()
    await plane.break_open()
    inner = plane.store.last_approval

    async def meanwhile(digest: str) -> object:
        # While the store is asked, the workload gets another owner.
        known = plane.inventory.current(WORKLOAD)
        assert known is not None
        await plane.inventory.register(msgspec.structs.replace(known, owner="other"), OPERATOR)
        return await inner(digest)

    plane.store.last_approval = meanwhile  # type: ignore[method-assign,assignment]
    assert isinstance(await plane.act(run, **TO), Refused)
    assert await intents(plane) == 0


# How long


@pytest.mark.parametrize("back", [1, 300, 600, 86_400])
async def test_setting_the_clock_back_prolongs_nothing(plane: GlassPlane, back: int) -> None:
    await plane.begin()
    entry = await plane.break_open(for_s=600)
    for _ in range(9):
        plane.clock.advance(60)
        plane.clock.set_back(60)
        assert plane.glass.lets_pass(WORKLOAD) == entry.id
    plane.clock.advance(60)
    plane.clock.set_back(back)
    assert plane.glass.lets_pass(WORKLOAD) == ""
    plane.clock.advance(back)
    assert plane.glass.lets_pass(WORKLOAD) == ""


async def test_starting_again_with_the_clock_set_back_prolongs_nothing(plane: GlassPlane) -> None:
    await plane.begin()
    await plane.break_open(for_s=600)
    plane.clock.advance(601)
    plane.clock.set_back(590)
    later = GlassPlane(restarts=plane)  # the same start of the machine: its other clock counts on
    await later.start(register=False)
    assert later.glass.lets_pass(WORKLOAD) == ""
    await later.close()


async def test_on_another_start_of_the_machine_a_clock_before_the_opening_ends_it(
    plane: GlassPlane,
) -> None:
    await plane.begin()
    await plane.break_open(for_s=600)
    plane.clock.set_back(1)
    later = GlassPlane(restarts=plane, boot="boot-2")
    await later.start(register=False)
    assert later.glass.lets_pass(WORKLOAD) == ""
    await later.close()


async def test_it_is_not_opened_twice_at_once(plane: GlassPlane) -> None:
    await plane.begin()
    outcomes = await asyncio.gather(
        *(plane.break_open(author=Author(name=f"p{n}", proof=f"u{n}")) for n in range(3)),
        return_exceptions=True,
    )
    assert sum(not isinstance(each, BaseException) for each in outcomes) == 1
    still = [each for each in await plane.glass.list() if not each.closed_at]
    assert len(still) == 1


async def test_it_is_not_the_rule(plane: GlassPlane) -> None:
    await plane.begin()
    first = await plane.break_open(author=BOB)
    with pytest.raises(Conflict, match="is open"):
        await plane.break_open(author=BOB)
    await plane.glass.close(first.id, author=BOB)
    with pytest.raises(Conflict, match="nobody has reviewed"):
        await plane.break_open(author=BOB)
    people = [Author(name=f"p{n}", proof=f"u{n}") for n in range(3)]
    for person in people[:2]:
        entry = await plane.break_open(author=person)
        await plane.glass.close(entry.id, author=person)
    with pytest.raises(Conflict, match="wait for their review"):
        await plane.break_open(author=people[2])
    await plane.glass.review(first.id, note="fine", author=OLIVIA)
    await plane.break_open(author=people[2])


# The review


async def test_nobody_reviews_his_own(plane: GlassPlane) -> None:
    await plane.begin()
    entry = await plane.break_open(author=BOB)
    with pytest.raises(Conflict, match="still open"):
        await plane.glass.review(entry.id, note="fine", author=OLIVIA)
    await plane.glass.close(entry.id, author=OLIVIA)
    for author in (BOB, Author(name="robert", proof=BOB.proof)):
        with pytest.raises(Forbidden, match="somebody else"):
            await plane.glass.review(entry.id, note="fine", author=author)
    with pytest.raises(Conflict, match="what was found"):
        await plane.glass.review(entry.id, note=" ", author=OLIVIA)
    await plane.glass.review(entry.id, note="fine", author=OLIVIA)
    with pytest.raises(Conflict, match="already"):
        await plane.glass.review(entry.id, note="once more", author=OLIVIA)


async def test_what_cannot_be_recorded_is_not_opened(plane: GlassPlane) -> None:
    run = await plane.begin()

    def full(record: Record) -> None:
        raise LedgerUnavailable("The backlog is full.")

    append = plane.ledger.append
    plane.ledger.append = full  # type: ignore[method-assign,assignment]
    with pytest.raises(LedgerUnavailable):
        await plane.break_open()
    plane.ledger.append = append  # type: ignore[method-assign]
    asked(await plane.act(run, **TO))
    assert await plane.glass.list(settled=True) == []


async def test_rules_bound_an_opening() -> None:
    plane = GlassPlane(rules=GlassRules(max_s=120, four_eyes=True))
    await plane.begin()
    with pytest.raises(Forbidden):
        await plane.break_open(for_s=120, author=Author(name="team-one", proof="u9"))
    await plane.break_open(for_s=120, author=BOB)
    await plane.close()


def test_four_eyes_count_the_groups_of_the_openers_account(tmp_path: Path) -> None:
    with running_plane(tmp_path, extra="[break_glass]\nfour_eyes = true\n") as running:
        running.register(owner="payments")
        client = running.client
        client.post("/v1/approvers", name="olivia", groups=["payments"])
        asked_for = {"workload": REGISTERED, "reason": "mine", "for_s": 600}
        with pytest.raises(MidflightError, match="answers for"):
            client.post("/v1/break-glass", **asked_for)
        assert client.get("/v1/break-glass") == []
        client.post("/v1/approvers/change", name="olivia", groups=["others"])
        assert client.post("/v1/break-glass", **asked_for)["author"] == "olivia"


async def test_who_opens_it_does_not_silence_its_alarm(plane: GlassPlane) -> None:
    await plane.begin()
    opened = await plane.break_open(author=BOB)
    notice = await plane.escalation.show(opened.id)
    for name in (notice.id, opened.id):
        with pytest.raises(Forbidden, match="somebody else"):
            await plane.escalation.acknowledge(
                name, author=Author(name="bob", proof="slack:T0OURS/U0BOB")
            )
    assert (await plane.escalation.show(opened.id)).state is NoticeState.OPEN
    await plane.telling.tick()
    assert any(channel.told for channel in plane.channels.values())
    after = await plane.escalation.acknowledge(notice.id, author=OLIVIA)
    assert after.by == "olivia"
