"""One suite for every way to an MCP server, against servers of the official SDK."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from upstream_kit import (
    ABLE,
    SEAT,
    FakeFlight,
    Notices,
    RecordingSink,
    call_tool,
    listing,
    until,
)

from midflight.adapters.upstream.mcp_http import McpHttpUpstream
from midflight.adapters.upstream.mcp_stdio import McpStdioUpstream
from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import Interrupted, LeaseUnavailable, UpstreamBroken
from midflight.domain.value import JSONObject
from midflight.services.ports.injection import Attachment
from midflight.services.ports.upstream import ClientRequest, Reply, RunSeat, Upstream
from servers.sdk_server import over_http

pytestmark = pytest.mark.anyio

SERVER = str(Path(__file__).parents[1] / "servers" / "sdk_server.py")
KINDS = ["http-modern", "http-legacy", "stdio-modern", "stdio-legacy"]


def only(*kinds: str) -> pytest.MarkDecorator:
    """For what only some of them have: a result to be answered, a child."""
    return pytest.mark.parametrize("world", kinds, indirect=True, scope="module")


class World:
    """An upstream that works, and what it has said unasked."""

    def __init__(self, kind: str, upstream: Upstream, notices: Notices) -> None:
        self.modern = kind.endswith("modern")
        self.stdio = kind.startswith("stdio")
        self.upstream = upstream
        self.notices = notices

    async def call(
        self,
        action: Action,
        *,
        seat: RunSeat = ABLE,
        flight: FakeFlight | None = None,
        sink: RecordingSink | None = None,
    ) -> Reply:
        async with asyncio.timeout(30):
            return await self.upstream.call(
                action,
                seat=seat,
                flight=flight or FakeFlight(),
                sink=sink or RecordingSink(seat.capabilities),
            )

    async def says(self, name: str, arguments: JSONObject | None = None, **more: Any) -> str:
        return text_of(await self.call(call_tool(name, arguments), **more))


def text_of(reply: Reply) -> str:
    assert reply.result is not None, reply.error
    return reply.result["content"][0]["text"]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
        # Production runs on uvloop; the other loop is for the long run of all tests.
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio", marks=pytest.mark.slow),
    ],
)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@contextlib.asynccontextmanager
async def _upstream(kind: str) -> AsyncIterator[Upstream]:
    if kind.startswith("stdio"):
        args = [SERVER, "--legacy"] if kind == "stdio-legacy" else [SERVER]
        child = McpStdioUpstream("sample", sys.executable, args)
        yield child
        await child.close()
        return
    async with over_http(legacy=kind == "http-legacy") as url:
        upstream = McpHttpUpstream("sample", url, backoff=0.05)
        yield upstream
        await upstream.close()


@pytest.fixture(scope="module", params=KINDS)
async def world(request: pytest.FixtureRequest, anyio_backend: object) -> AsyncIterator[World]:
    async with _upstream(request.param) as upstream:
        notices = Notices()
        await upstream.start(notices)
        yield World(request.param, upstream, notices)


async def test_it_says_what_it_is(world: World) -> None:
    info = await world.upstream.describe()
    assert info.modern is world.modern
    assert info.version == ("2026-07-28" if world.modern else "2025-11-25")
    assert info.info["name"] == "sample"
    assert info.instructions == "A sample of everything."
    assert "tools" in info.capabilities


async def test_a_call_is_answered_and_its_bytes_are_counted_both_ways(world: World) -> None:
    flight = FakeFlight()
    reply = await world.call(call_tool("echo", {"text": "héllo"}), flight=flight)
    assert text_of(reply) == "héllo"
    assert flight.looks >= 1
    assert flight.sent > 50
    assert flight.received == reply.bytes_in > 50


async def test_parallel_calls_each_get_their_own_answer(world: World) -> None:
    texts = [f"text {n}" for n in range(40)]
    assert await asyncio.gather(*(world.says("echo", {"text": t}) for t in texts)) == texts


async def test_every_other_kind_of_request_passes(world: World) -> None:
    tools = await world.call(listing())
    assert tools.result is not None
    assert "echo" in {tool["name"] for tool in tools.result["tools"]}
    page = Action(
        kind=ActionKind.READ_RESOURCE,
        upstream="sample",
        name="sample://greeting",
        method="resources/read",
    )
    read = await world.call(page)
    assert read.result is not None
    assert read.result["contents"][0]["text"] == "hello"
    prompt = Action(
        kind=ActionKind.GET_PROMPT,
        upstream="sample",
        name="summarise",
        method="prompts/get",
        arguments={"topic": "bees"},
    )
    got = await world.call(prompt)
    assert got.result is not None
    assert "bees" in got.result["messages"][0]["content"]["text"]
    templates = await world.call(listing("resources/templates/list"))
    assert templates.result is not None
    assert templates.result["resourceTemplates"][0]["uriTemplate"] == "sample://items/{number}"


async def test_an_error_of_the_upstream_is_its_answer(world: World) -> None:
    missing = Action(
        kind=ActionKind.READ_RESOURCE,
        upstream="sample",
        name="sample://none",
        method="resources/read",
    )
    reply = await world.call(missing)
    assert reply.result is None
    assert reply.error is not None
    assert reply.error["code"] < 0


async def test_progress_arrives_under_the_clients_own_token(world: World) -> None:
    sink = RecordingSink()
    await world.call(call_tool("tell", {"steps": 3}, progressToken="mine"), sink=sink)
    assert [(m, p["progressToken"], p["progress"]) for m, p in sink.heard] == [
        ("notifications/progress", "mine", n) for n in (1, 2, 3)
    ]


async def test_progress_that_nobody_asked_for_is_not_passed_on(world: World) -> None:
    sink = RecordingSink()
    await world.call(call_tool("tell", {"steps": 3}), sink=sink)
    assert sink.heard == []


async def test_a_question_reaches_the_client_of_the_call_and_its_answer_the_upstream(
    world: World,
) -> None:
    async def answer(request: ClientRequest) -> JSONObject:
        assert request.method == "elicitation/create"
        assert request.params["message"] == "Your name?"
        return {"action": "accept", "content": {"name": "Ann"}}

    sink = RecordingSink(ABLE.capabilities, answers=answer)
    flight = FakeFlight()
    assert await world.says("ask", sink=sink, flight=flight) == "hello Ann"
    assert len(sink.asked) == 1
    # The flight is looked at again before the answer leaves.
    assert flight.looks >= 2


async def test_a_question_that_the_client_does_not_answer_is_cancelled(world: World) -> None:
    sink = RecordingSink(ABLE.capabilities)
    assert await world.says("ask", sink=sink) == "cancel"


async def test_a_cut_call_raises_at_once_and_the_upstream_hears_of_it(world: World) -> None:
    flight = FakeFlight()
    tag = f"cut {id(flight)}"
    call = asyncio.ensure_future(world.call(call_tool("slow", {"tag": tag}), flight=flight))
    await until(lambda: flight.sent)
    # Something of the same run behind it, so that the call is under way at the server.
    await world.says("echo", {"text": "x"})
    flight.cut("revoked by a test")
    for _ in range(10):
        await asyncio.sleep(0)
    assert call.done()
    with pytest.raises(Interrupted) as caught:
        await call
    assert caught.value.revocation == "rev_1"
    assert await world.says("was_cancelled", {"tag": tag}) == "true"


async def test_a_cut_leaves_the_other_calls_alone(world: World) -> None:
    flights = [FakeFlight() for _ in range(10)]
    calls = [
        asyncio.ensure_future(world.call(call_tool("slow", {"tag": f"many {n}"}), flight=flight))
        for n, flight in enumerate(flights)
    ]
    await until(lambda: all(flight.sent for flight in flights))
    for flight in flights[::2]:
        flight.cut()
    for _ in range(20):
        await asyncio.sleep(0)
    assert [call.done() for call in calls] == [True, False] * 5
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_nothing_leaves_for_a_flight_that_is_already_cut(world: World) -> None:
    flight = FakeFlight()
    flight.cut()
    with pytest.raises(Interrupted):
        await world.call(call_tool("echo", {"text": "x"}), flight=flight)
    assert flight.sent == 0


async def test_a_client_that_leaves_cancels_the_upstream(world: World) -> None:
    flight = FakeFlight()
    tag = f"left {id(flight)}"
    call = asyncio.ensure_future(world.call(call_tool("slow", {"tag": tag}), flight=flight))
    await until(lambda: flight.sent)
    await world.says("echo", {"text": "x"})
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await world.says("was_cancelled", {"tag": tag}) == "true"


@only("http-modern", "stdio-modern")
async def test_a_client_that_handles_questions_itself_gets_them_as_they_are(world: World) -> None:
    sink = RecordingSink(ABLE.capabilities, takes_input_required=True)
    reply = await world.call(call_tool("ask"), sink=sink)
    assert reply.result is not None
    assert reply.result["resultType"] == "input_required"
    state = reply.result["requestState"]
    answers = {"name": {"action": "accept", "content": {"name": "Bo"}}}
    again = Action(
        kind=ActionKind.CALL_TOOL,
        upstream="sample",
        name="ask",
        method="tools/call",
        params={"inputResponses": answers, "requestState": state},
    )
    assert text_of(await world.call(again, sink=sink)) == "hello Bo"


@only("http-modern", "stdio-modern")
async def test_an_upstream_that_never_stops_asking_is_left(world: World) -> None:
    async def answer(request: ClientRequest) -> JSONObject:
        return {"roots": []}

    sink = RecordingSink({"roots": {}}, answers=answer)
    with pytest.raises(UpstreamBroken, match="more than 8 times"):
        await world.call(call_tool("insist"), sink=sink)
    assert len(sink.asked) == 8


async def test_arguments_that_a_tool_wants_mirrored_are_mirrored(world: World) -> None:
    # Over modern HTTP the first call is refused for its headers; the schema is then learnt.
    assert await world.says("region", {"place": "Zürich"}) == "Zürich"
    assert await world.says("region", {"place": "us-west1"}) == "us-west1"


async def test_a_changed_list_is_told(world: World) -> None:
    await world.upstream.describe()
    assert await world.says("echo", {"text": "x"}) == "x"
    # The listening stream must be there before the change is made.
    for _ in range(50):
        await world.says("grow")
        heard = {(run, method) for run, method, _ in world.notices.heard}
        runs = {run for run, method in heard if method == "notifications/tools/list_changed"}
        if runs & {"", ABLE.run}:
            return
    pytest.fail("no notice of the changed list came")


@only("stdio-modern", "stdio-legacy")
async def test_two_runs_never_share_a_child(world: World) -> None:
    other = RunSeat(run="run_two", workload=ABLE.workload)
    mine, again = await world.says("process"), await world.says("process")
    assert mine == again
    theirs = await world.says("process", seat=other)
    assert theirs != mine
    await world.upstream.end_run("run_two")
    with pytest.raises(ProcessLookupError):
        os.kill(int(theirs), 0)
    assert await world.says("process") == mine


async def test_an_ended_run_can_be_called_for_again(world: World) -> None:
    seat = RunSeat(run="run_three", workload=ABLE.workload)
    assert await world.says("echo", {"text": "1"}, seat=seat) == "1"
    await world.upstream.end_run("run_three")
    await world.upstream.end_run("run_three")
    assert await world.says("echo", {"text": "2"}, seat=seat) == "2"
    await world.upstream.end_run("run_three")


async def test_a_seat_without_capabilities_is_not_asked(world: World) -> None:
    sink = RecordingSink()
    try:
        reply = await world.call(call_tool("ask"), seat=SEAT, sink=sink)
    except UpstreamBroken:
        pass
    else:
        # The server noticed by itself, or got our refusal as its tool's error.
        assert reply.error is not None or reply.result["isError"]  # type: ignore[index]
    assert sink.asked == []


async def test_what_is_attached_for_an_argument_takes_its_place_on_the_way_out(
    world: World,
) -> None:
    attachment = Attachment(leases=("lease_1",), arguments={"{{lease:crm}}": "s3cret-value"})
    action = call_tool("echo", {"text": "{{lease:crm}}"})
    async with asyncio.timeout(30):
        reply = await world.upstream.call(
            action, seat=ABLE, flight=FakeFlight(), sink=RecordingSink(), attachment=attachment
        )
    assert text_of(reply) == "s3cret-value"
    # And for that call alone; the action itself holds the placeholder.
    assert action.arguments == {"text": "{{lease:crm}}"}
    assert await world.says("echo", {"text": "{{lease:crm}}"}) == "{{lease:crm}}"
    world.upstream.release("lease_1", drain=True)


async def test_what_an_upstream_cannot_place_is_refused_and_nothing_leaves(world: World) -> None:
    attachment = (
        Attachment(leases=("lease_1",), headers=(("Authorization", "Bearer s3cret-value"),))
        if world.stdio
        else Attachment(leases=("lease_1",), env=(("TOKEN", "s3cret-value"),))
    )
    flight = FakeFlight()
    with pytest.raises(LeaseUnavailable) as caught:
        await world.upstream.call(
            call_tool("echo", {"text": "x"}),
            seat=ABLE,
            flight=flight,
            sink=RecordingSink(),
            attachment=attachment,
        )
    assert flight.sent == 0
    assert "s3cret" not in str(caught.value)


@only("stdio-modern", "stdio-legacy")
async def test_another_environment_takes_another_child_and_the_last_ends(world: World) -> None:
    seat = RunSeat(run="run_env", workload=ABLE.workload)

    async def call(tool: str, attachment: Attachment) -> str:
        async with asyncio.timeout(30):
            reply = await world.upstream.call(
                call_tool(tool),
                seat=seat,
                flight=FakeFlight(),
                sink=RecordingSink(),
                attachment=attachment,
            )
        return text_of(reply)

    one = Attachment(leases=("lease_1",), env=(("LEASED", "first-secret"),))
    two = Attachment(leases=("lease_2",), env=(("LEASED", "second-secret"),))
    first = int(await call("process", one))
    assert "first-secret" in await call("environment", one)
    assert int(await call("process", one)) == first
    assert "first-secret" not in await world.says("environment")  # another run's child
    assert "second-secret" in await call("environment", two)
    await until(lambda: not _lives(first))
    second = int(await call("process", two))
    command = Path(f"/proc/{second}/cmdline").read_bytes()
    assert b"second-secret" not in command
    world.upstream.release("lease_2", drain=False)
    await until(lambda: not _lives(second))
    await world.upstream.end_run("run_env")


@only("stdio-legacy")
async def test_a_call_that_is_under_way_ends_on_the_child_that_it_began_on(world: World) -> None:
    seat = RunSeat(run="run_drain", workload=ABLE.workload, capabilities=ABLE.capabilities)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def wait(request: ClientRequest) -> JSONObject:
        asked.set()
        await answer.wait()
        return {"action": "accept", "content": {"name": "Ann"}}

    async def call(tool: str, attachment: Attachment) -> str:
        sink = RecordingSink(ABLE.capabilities, answers=wait)
        async with asyncio.timeout(30):
            reply = await world.upstream.call(
                call_tool(tool), seat=seat, flight=FakeFlight(), sink=sink, attachment=attachment
            )
        return text_of(reply)

    one = Attachment(leases=("lease_3",), env=(("LEASED", "first-secret"),))
    two = Attachment(leases=("lease_4",), env=(("LEASED", "second-secret"),))
    first = int(await call("process", one))
    asking = asyncio.ensure_future(call("ask", one))
    await asked.wait()
    assert "second-secret" in await call("environment", two)
    assert _lives(first)
    answer.set()
    assert await asking == "hello Ann"
    await until(lambda: not _lives(first))
    await world.upstream.end_run("run_drain")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
