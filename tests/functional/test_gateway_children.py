"""Stdio servers behind the gateway: one child a run, and what it inherits."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bare_client import modern

from gateways import OPERATOR, Gateway

pytestmark = pytest.mark.anyio

SERVER = str(Path(__file__).parents[1] / "servers" / "sdk_server.py")


@contextlib.asynccontextmanager
async def gateway_of(gateway_factory: Any, **more: Any) -> AsyncIterator[Gateway]:
    child = {"name": "one", "command": sys.executable, "args": (SERVER,), "reach": "closed"}
    async with gateway_factory([{**child, **more}]) as gateway:
        await gateway.pin_all()
        yield gateway


async def child_of(gateway: Gateway, run: str) -> int:
    """The process that serves a run."""
    async with modern(gateway, token=await gateway.token(run)) as agent:
        return int((await agent.call("process"))["result"]["structuredContent"]["result"])


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(20):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0)


async def test_a_child_serves_one_run_and_ends_with_it(gateway_factory: Any) -> None:
    async with gateway_of(gateway_factory) as gateway:
        first, second = await gateway.open_run(), await gateway.open_run()
        child, other = await child_of(gateway, first), await child_of(gateway, second)
        assert child != other
        assert await child_of(gateway, first) == child
        await gateway.plane.runs.close_run(first, author=OPERATOR)
        await until_gone(child)
        assert await child_of(gateway, second) == other


async def test_a_child_of_a_stateless_upstream_serves_all_runs(gateway_factory: Any) -> None:
    async with gateway_of(gateway_factory, stateless=True) as gateway:
        runs = [await gateway.open_run() for _ in range(3)]
        [child] = {await child_of(gateway, run) for run in runs}
        await gateway.plane.runs.close_run(runs[0], author=OPERATOR)
        assert await child_of(gateway, runs[1]) == child


async def test_no_child_outlives_the_plane(gateway_factory: Any) -> None:
    async with gateway_of(gateway_factory) as gateway:
        child = await child_of(gateway, await gateway.open_run())
    await until_gone(child)


async def test_a_child_gets_what_the_settings_give_it_and_nothing_of_midflights_own(
    gateway_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_PLANE", "not for children")
    monkeypatch.setenv("TOKEN_FOR_ONE", "for one")
    given = {"GIVEN": "env:TOKEN_FOR_ONE"}
    async with gateway_of(gateway_factory, env=given) as gateway, modern(gateway) as agent:
        seen = (await agent.call("environment"))["result"]["structuredContent"]
    assert seen["GIVEN"] == "for one"
    assert "not for children" not in seen.values()
    assert "TOKEN_FOR_ONE" not in seen
