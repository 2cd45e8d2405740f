"""A few workloads, or one run of a workload, hold every control stream that there is.

Then a program of somebody else's could hold none, and would not hear that it is to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways import OPERATOR, Gateway, running_gateway
from midflight.apps.gateway import freezing
from midflight.apps.gateway.fair_places import FairPlaces
from midflight.domain.identity import Workload

pytestmark = pytest.mark.anyio

ALL, OF_ONE = 8, 4
WAIT_S = 30.0


class Crowd:
    """Holds streams of many workloads and runs, and sees which of them end."""

    def __init__(self, gateway: Gateway, http: httpx2.AsyncClient) -> None:
        self._gateway = gateway
        self._http = http
        self._held = contextlib.AsyncExitStack()
        self.ended: list[str] = []
        self._reading: list[asyncio.Task[None]] = []

    async def run(self, name: str) -> tuple[str, str]:
        """A run of a workload of that name, and a token for it."""
        plane = self._gateway.plane
        workload = Workload(
            id=f"spiffe://midflight.internal/agents/{name}",
            owner="team",
            escalation="oncall",
            review_by=int(plane.clock.now()) + 86_400,
        )
        await plane.inventory.register(workload, OPERATOR)
        run = await plane.runs.open_run(workload=workload, intent="Hold on.", author=OPERATOR)
        minted = await plane.identity.mint(workload=workload.id, run=run.id, author=OPERATOR)
        return run.id, minted.token

    async def ask(self, token: str, label: str) -> int:
        """Ask for one more stream; the status."""
        headers = {"Authorization": f"Bearer {token}"}
        request = self._http.stream("GET", f"{self._gateway.url}/freeze", headers=headers)
        answer = await self._held.enter_async_context(request)
        if answer.status_code == 200:

            async def read() -> None:
                async for _ in answer.aiter_bytes():
                    pass
                self.ended.append(label)

            self._reading.append(asyncio.ensure_future(read()))
        return answer.status_code

    async def close(self) -> None:
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        await self._held.aclose()


@contextlib.asynccontextmanager
async def crowd(folder: Path, patch: pytest.MonkeyPatch):  # noqa: ANN201 -- an async context
    patch.setattr(freezing, "MAX_STREAMS", ALL)
    patch.setattr(freezing, "MAX_A_WORKLOAD", OF_ONE)
    limits = httpx2.Limits(max_connections=None)
    async with (
        running_gateway(folder, []) as gateway,
        httpx2.AsyncClient(trust_env=False, timeout=WAIT_S, limits=limits) as http,
    ):
        made = Crowd(gateway, http)
        try:
            yield made
        finally:
            await made.close()


async def test_a_few_workloads_do_not_keep_another_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with crowd(tmp_path, monkeypatch) as made:
        for name in ("greedy-1", "greedy-2"):
            _, token = await made.run(name)
            for number in range(OF_ONE):
                assert await made.ask(token, f"{name} {number}") == 200
        # All places are taken; the oldest of one of the greedy goes for each who has none.
        _, token = await made.run("honest")
        assert await made.ask(token, "honest") == 200
        while not made.ended:
            await asyncio.sleep(0)
        assert made.ended == ["greedy-1 0"]
        # The greedy get no place back from who has one.
        _, greedy = await made.run("greedy-1")
        assert await made.ask(greedy, "again") == 429
        assert "honest" not in made.ended


async def test_a_run_does_not_keep_the_others_of_its_workload_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with crowd(tmp_path, monkeypatch) as made:
        _, stolen = await made.run("one")
        for number in range(OF_ONE):
            assert await made.ask(stolen, f"stolen {number}") == 200
        assert await made.ask(stolen, "more") == 429
        _, token = await made.run("one")
        assert await made.ask(token, "honest") == 200
        while not made.ended:
            await asyncio.sleep(0)
        assert made.ended == ["stolen 0"]


async def test_a_stranger_turns_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with crowd(tmp_path, monkeypatch) as made:
        for name in ("one", "two"):
            _, token = await made.run(name)
            for number in range(OF_ONE):
                assert await made.ask(token, f"{name} {number}") == 200
        for _ in range(ALL):
            assert await made.ask("forged", "stranger") == 401
        assert made.ended == []


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("12345")), max_size=200))
def test_places_are_bounded_and_nobody_is_turned_out_for_who_has_as_many(
    asked: list[tuple[str, str]],
) -> None:
    """Whoever holds nothing gets in unless every place is of somebody with but one."""
    places = FairPlaces[int](of_all=ALL, of_workload=OF_ONE)
    held: dict[int, tuple[str, str]] = {}
    for number, (workload, run) in enumerate(asked):
        before = Counter(w for w, _ in held.values())
        runs = Counter(r for w, r in held.values() if w == workload)
        has_room, gone = places.make_room(workload, run)
        if gone is not None:
            loser, lost = held.pop(gone)
            # Of whoever holds most, and the oldest of it; and it becomes more even.
            if before[workload] == OF_ONE:
                assert (loser, runs[lost]) == (workload, max(runs.values()))
                assert runs[lost] >= runs[run] + 2
            else:
                assert before[loser] == max(before.values()) >= before[workload] + 2
            assert gone == min([*(n for n, at in held.items() if at == (loser, lost)), gone])
        if has_room:
            places.enter(number, workload, run)
            held[number] = (workload, run)
        else:
            assert gone is None
            assert before[workload] == OF_ONE or len(held) == ALL
            assert before[workload] > 0 or max(before.values()) == 1
        after = Counter(w for w, _ in held.values())
        assert len(places) == len(held) <= ALL
        assert max(after.values(), default=0) <= OF_ONE
    for number, at in held.items():
        places.leave(number, *at)
        places.leave(number, *at)
    assert len(places) == 0
