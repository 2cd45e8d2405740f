"""`Freeze`: what holds the control stream stops when its scope is revoked, and when it is deaf."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateways import AGENT, OPERATOR, Gateway
from midflight.apps.gateway.freezing import MAX_A_WORKLOAD
from midflight.apps.sdk.freeze import Freeze, Frozen
from midflight.domain.errors import Misconfigured
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.flights import FlightKind

pytestmark = pytest.mark.anyio

OTHER = "spiffe://midflight.internal/agents/other"
WORKLOAD = Scope(kind=ScopeKind.WORKLOAD, id=AGENT)
WAIT_S = 30.0


class Witness:
    """Hears of freezes on the freezing thread."""

    def __init__(self) -> None:
        self.frozen: list[Frozen] = []
        self.heard = threading.Event()

    def __call__(self, frozen: Frozen) -> None:
        self.frozen.append(frozen)
        self.heard.set()


@contextlib.asynccontextmanager
async def holding(
    gateway: Gateway, witness: Witness | None = None, run: str | None = None
) -> AsyncIterator[Freeze]:
    token = await gateway.token(run)
    freeze = Freeze(
        gateway.url,
        headers=lambda _method, _url: {"Authorization": f"Bearer {token}"},
        on_frozen=witness,
    )
    with pytest.raises(Frozen, match="not open yet"):
        freeze.look()
    freeze.start()
    try:
        assert await asyncio.to_thread(freeze.wait_ready, WAIT_S)
        yield freeze
    finally:
        await asyncio.to_thread(freeze.close)


def streams(gateway: Gateway) -> list[str]:
    return [
        status.name
        for status in gateway.plane.interruption.flights()
        if status.kind is FlightKind.STREAM
    ]


@pytest.mark.parametrize(
    "scope",
    [WORKLOAD, Scope(kind=ScopeKind.EVERYTHING), Scope(kind=ScopeKind.OWNER, id="team-one")],
    ids=str,
)
async def test_it_freezes_when_it_is_revoked_and_thaws_when_that_is_lifted(
    gateway_factory: Any, scope: Scope
) -> None:
    witness = Witness()
    async with gateway_factory([]) as gateway, holding(gateway, witness) as freeze:
        await freeze.check()
        assert streams(gateway) == ["freeze"]
        plane = gateway.plane
        receipt = await plane.interruption.revoke(scope, reason="odd", author=OPERATOR)
        assert receipt.impact.kinds == {"stream": 1}
        assert await asyncio.to_thread(witness.heard.wait, WAIT_S)
        with pytest.raises(Frozen, match="olivia: odd") as frozen:
            freeze.look()
        assert frozen.value.revocation == receipt.revocation.id

        await plane.interruption.lift(receipt.revocation.id, reason="over", author=OPERATOR)
        while freeze.frozen:
            await asyncio.sleep(0)
        assert streams(gateway) == ["freeze"]


async def test_a_revocation_of_somebody_else_is_not_heard(gateway_factory: Any) -> None:
    async with gateway_factory([]) as gateway:
        run = await gateway.open_run()
        beside = await gateway.open_run()
        witness, other = Witness(), Witness()
        async with holding(gateway, witness, run) as freeze, holding(gateway, other, beside) as far:
            revoke = gateway.plane.interruption.revoke
            await revoke(
                Scope(kind=ScopeKind.WORKLOAD, id=OTHER), reason="not you", author=OPERATOR
            )
            await revoke(Scope(kind=ScopeKind.RUN, id=run), reason="you", author=OPERATOR)
            assert await asyncio.to_thread(witness.heard.wait, WAIT_S)
            assert [str(each) for each in witness.frozen] == [str(witness.frozen[0])]
            assert "you" in witness.frozen[0].message
            assert freeze.frozen
            far.look()
            assert not other.frozen


async def test_a_run_that_ends_freezes_for_good(gateway_factory: Any) -> None:
    async with gateway_factory([]) as gateway:
        run = await gateway.open_run()
        witness = Witness()
        async with holding(gateway, witness, run) as freeze:
            await gateway.plane.runs.close_run(run, author=OPERATOR, reason="done")
            assert await asyncio.to_thread(witness.heard.wait, WAIT_S)
            with pytest.raises(Frozen, match="has ended"):
                await freeze.check()


async def test_who_is_revoked_before_it_asks_stays_frozen(gateway_factory: Any) -> None:
    async with gateway_factory([]) as gateway:
        await gateway.plane.interruption.revoke(WORKLOAD, reason="before", author=OPERATOR)
        async with holding(gateway) as freeze:
            with pytest.raises(Frozen, match="refuses"):
                freeze.look()


async def test_a_stranger_gets_no_stream_and_a_workload_only_so_many(gateway_factory: Any) -> None:
    async with gateway_factory([]) as gateway:
        url = f"{gateway.url}/freeze"
        headers = {"Authorization": f"Bearer {await gateway.token()}"}
        async with httpx2.AsyncClient(trust_env=False, timeout=WAIT_S) as http:
            assert (await http.get(url)).status_code == 401
            assert (await http.post(url, headers=headers)).status_code == 404
            async with contextlib.AsyncExitStack() as open_streams:
                for _ in range(MAX_A_WORKLOAD):
                    answer = await open_streams.enter_async_context(
                        http.stream("GET", url, headers=headers)
                    )
                    assert answer.status_code == 200
                assert (await http.get(url, headers=headers)).status_code == 429
                assert len(streams(gateway)) == MAX_A_WORKLOAD
            while streams(gateway):
                await asyncio.sleep(0)
            async with http.stream("GET", url, headers=headers) as answer:
                assert answer.status_code == 200


async def test_the_example_of_the_documentation_works(gateway_factory: Any) -> None:
    text = (Path(__file__).parents[2] / "docs" / "freeze.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("```python\n")
    given: dict[str, Any] = {}
    exec(rest.partition("```")[0], given)
    async with gateway_factory([]) as gateway:
        run = await gateway.open_run()
        token, steps = await gateway.token(run), list[str]()
        loop = asyncio.get_running_loop()

        def revoke() -> None:
            steps.append("one")
            scope = Scope(kind=ScopeKind.RUN, id=run)
            revoking = gateway.plane.interruption.revoke(scope, reason="odd", author=OPERATOR)
            asyncio.run_coroutine_threadsafe(revoking, loop).result(WAIT_S)

        def again() -> Any:
            while True:
                yield lambda: steps.append("more")

        def plan() -> Any:
            yield revoke
            yield from again()

        with pytest.raises(Frozen, match="odd"):
            await asyncio.to_thread(given["work"], gateway.url, token, plan())
        assert steps[0] == "one"


async def test_closed_it_is_frozen(gateway_factory: Any) -> None:
    async with gateway_factory([]) as gateway:
        async with holding(gateway) as freeze:
            freeze.look()
        with pytest.raises(Frozen, match="closed"):
            freeze.look()


def test_another_machine_is_reached_over_tls_alone() -> None:
    for url in ("http://gateway.example.org", "ftp://127.0.0.1", "nonsense"):
        with pytest.raises(Misconfigured):
            Freeze(url, headers=lambda _method, _url: {})
