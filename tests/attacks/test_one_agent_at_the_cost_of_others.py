"""A workload that uses up what it shares with others: sessions, the event loop, memory, disk."""

from __future__ import annotations

import pytest

from midflight.apps.gateway import sessions as module
from midflight.apps.gateway.sessions import Sessions
from midflight.domain.errors import NotFound
from midflight.testing import FakeClock, caller

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
