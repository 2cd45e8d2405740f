"""A workload that uses up what it shares with others: sessions, the event loop, memory, disk."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest

from midflight.apps.gateway import routing
from midflight.apps.gateway import sessions as module
from midflight.apps.gateway.app import MAX_VALUES
from midflight.apps.gateway.sessions import Sessions
from midflight.domain.errors import Malformed, NotFound
from midflight.testing import FakeClock, caller
from midflight.wire.jsonrpc import Request, decode_message
from midflight.wire.mcp.lists import could_be

pytestmark = pytest.mark.anyio

HONEST = "spiffe://test.midflight.internal/agents/honest"
GREEDY = "spiffe://test.midflight.internal/agents/greedy"


def opened(sessions: Sessions, workload: str) -> str:
    return sessions.open(
        caller=caller(workload=workload), endpoint="/mcp", version="2025-11-25", params={}
    ).id


async def test_a_flood_of_sessions_ends_only_those_of_who_opens_them() -> None:
    sessions = Sessions(FakeClock().token)
    honest = opened(sessions, HONEST)
    own = [opened(sessions, GREEDY) for _ in range(module.MAX_OF_ONE + 5)]
    sessions.find(honest, caller=caller(workload=HONEST), endpoint="/mcp")
    sessions.find(own[-1], caller=caller(workload=GREEDY), endpoint="/mcp")
    with pytest.raises(NotFound):
        sessions.find(own[0], caller=caller(workload=GREEDY), endpoint="/mcp")


async def test_many_workloads_end_the_sessions_of_the_greediest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_SESSIONS", 50)
    sessions = Sessions(FakeClock().token)
    honest = opened(sessions, HONEST)
    for _ in range(40):
        opened(sessions, GREEDY)
    for number in range(100):
        opened(sessions, f"{GREEDY}/{number % 8}")
    sessions.find(honest, caller=caller(workload=HONEST), endpoint="/mcp")


async def test_a_uri_made_for_a_template_does_not_stop_the_clock() -> None:
    # Five expressions and 4,000 separators: 10^15 ways for a pattern that tries them all.
    template = "x://{a}-{b}-{c}-{d}-{e}.md"
    assert not could_be("x://" + "-" * 4_000 + "/", template)
    assert could_be("x://1-2-3-4-5.md", template)
    assert could_be("x://with/slashes-2-3-4-5.md", template)  # claims more, never less
    assert not could_be("y://1-2-3-4-5.md", template)
    assert could_be("x://plain", "x://plain")
    assert not could_be("x://plain/more", "x://plain")


def test_a_flood_of_tasks_and_resources_forgets_only_those_of_who_makes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routing, "MAX_LEARNED", 20)
    routes = routing.Routes(["one", "two"], cast("Any", None))
    honest, greedy = caller("run_1", workload=HONEST), caller("run_2", workload=GREEDY)
    routes.note_task(honest, "one", {"task": {"taskId": "t"}})
    routes.learn(honest, "one", [{"uri": "file:///a"}])
    for number in range(100):
        routes.note_task(greedy, "one", {"task": {"taskId": f"t{number}"}})
    routes.learn(greedy, "two", [{"uri": f"file:///{number}"} for number in range(100)])
    listed = {"tasks": [{"taskId": "t"}, {"taskId": "t0"}, {"taskId": "t99"}]}
    assert routes.own_tasks(honest, "one", listed)["tasks"] == [{"taskId": "t"}]
    assert routes.own_tasks(greedy, "one", listed)["tasks"] == [{"taskId": "t99"}]
    request = Request(id=1, method="tasks/get", params={"taskId": "t"})

    async def nothing() -> None:
        raise AssertionError("it is known")

    assert asyncio.run(routes.route(request, (honest, nothing)))[0] == "one"


def body(arguments: Any) -> bytes:
    params = {"name": "look", "arguments": arguments}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return json.dumps(message).encode()


@pytest.mark.parametrize(
    "arguments",
    [
        {"a": [[1]] * MAX_VALUES},
        {"a": [{"x": 1}] * MAX_VALUES},
        {f"a{number}": 0 for number in range(MAX_VALUES)},
        {"a": {f"a{number}": {} for number in range(MAX_VALUES)}},
    ],
    ids=["arrays", "records", "arguments", "objects"],
)
def test_a_message_of_more_values_than_can_be_judged_in_time_is_refused(arguments: Any) -> None:
    with pytest.raises(Malformed, match="values"):
        decode_message(body(arguments), max_values=MAX_VALUES)


@pytest.mark.parametrize(
    "arguments",
    [{"text": "[1,{2}," * MAX_VALUES}, {"a": [1] * (MAX_VALUES - 100)}],
    ids=["text is one value", "below the bound"],
)
def test_a_large_message_of_few_values_is_no_attack(arguments: Any) -> None:
    decoded = decode_message(body(arguments), max_values=MAX_VALUES)
    assert isinstance(decoded, Request)
    assert decoded.params["arguments"] == arguments
