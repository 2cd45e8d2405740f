"""Ways to tell an upstream something, or to hear it, beside the actions that policy judges."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hostile_server import Hostile, hostile
from raw_client import PREFIX, raw_client

from gateways import AGENT, OPERATOR, running_gateway
from midflight.domain.identity import Workload
from midflight.domain.revocation import Scope, ScopeKind

pytestmark = pytest.mark.anyio

SECRET = "the-secret-that-must-stay"
OTHER = "spiffe://midflight.internal/agents/other"


def entry(server: Hostile) -> dict[str, Any]:
    return {"name": "one", "url": server.url, "reach": "closed"}


@pytest.mark.parametrize("modern", [False, True])
async def test_what_a_client_says_of_itself_carries_nothing_out(
    modern: bool, tmp_path: Path
) -> None:
    async with (
        hostile(modern=modern) as server,
        running_gateway(tmp_path, [entry(server)]) as gateway,
    ):
        await gateway.pin_all()
        capabilities = {
            "experimental": {SECRET: {}},
            "sampling": {SECRET: SECRET},
            SECRET: {},
            "extensions": {
                "io.modelcontextprotocol/ui": {"mimeTypes": [f"text/html {SECRET}", SECRET]},
                SECRET: {},
            },
        }
        about = {"name": "raw", "version": "0", "description": SECRET, "websiteUrl": SECRET}
        async with raw_client(gateway) as client:
            await client.open(capabilities=capabilities, clientInfo={**about, "name": "x" * 5_000})
            called = await client.legacy("tools/call", {"name": "look", "arguments": {}})
            assert called["result"]["content"], called
            again = await client.modern(
                "tools/call",
                {"name": "look", "arguments": {}},
                capabilities=capabilities,
                **{f"{PREFIX}clientInfo": about, "baggage": SECRET, SECRET: SECRET},
            )
            assert again["result"]["content"], again
        assert server.methods().count("tools/call") == 2
        assert SECRET not in str(server.heard)
        assert "x" * 200 not in str(server.heard)


@pytest.mark.parametrize("who", ["revoked", "unregistered", "disabled"])
async def test_who_may_not_act_may_not_discover_either(who: str, tmp_path: Path) -> None:
    async with hostile() as server, running_gateway(tmp_path, [entry(server)]) as gateway:
        server.answers["server/discover"] = {"instructions": SECRET}
        await gateway.pin_all()
        async with raw_client(gateway) as client:
            match who:
                case "revoked":
                    scope = Scope(kind=ScopeKind.WORKLOAD, id=AGENT)
                    await gateway.plane.interruption.revoke(scope, reason="r", author=OPERATOR)
                case "disabled":
                    await gateway.plane.inventory.disable(AGENT, OPERATOR)
                case _:
                    gateway.plane.inventory._current.clear()  # as if it had never been there
            said = await client.modern("server/discover", {})
            assert "error" in said, said
            opened = await client.open()
            assert "error" in opened, opened
            assert client.session == ""


async def other_client(gateway: Any) -> str:
    await gateway.plane.inventory.register(
        Workload(id=OTHER, owner="o", escalation="e", review_by=int(time.time()) + 86_400), OPERATOR
    )
    return (await gateway.plane.identity.mint(workload=OTHER, author=OPERATOR)).token


async def test_a_list_of_tasks_shows_nobody_elses(tmp_path: Path) -> None:
    async with (
        hostile(modern=False) as server,
        running_gateway(tmp_path, [entry(server)]) as gateway,
    ):
        mine = {"taskId": "task-mine", "status": "working"}
        theirs = {"taskId": "task-theirs", "status": "working", "statusMessage": SECRET}
        server.answers["tools/call"] = {"task": mine}
        server.answers["tasks/list"] = {"tasks": [mine, theirs]}
        await gateway.pin_all()
        async with raw_client(gateway) as client:
            await client.open()
            call = {"name": "look", "arguments": {}, "task": {"ttl": 1000}}
            await client.legacy("tools/call", call)
            listed = await client.legacy("tasks/list", {})
        assert listed["result"]["tasks"] == [mine]


@pytest.mark.parametrize("method", ["tasks/get", "tasks/result", "tasks/cancel"])
async def test_a_task_of_another_workload_does_not_exist(method: str, tmp_path: Path) -> None:
    async with (
        hostile(modern=False) as server,
        running_gateway(tmp_path, [entry(server)]) as gateway,
    ):
        server.answers["tools/call"] = {"task": {"taskId": "task-1", "status": "working"}}
        await gateway.pin_all()
        async with (
            raw_client(gateway) as client,
            raw_client(gateway, token=await other_client(gateway)) as other,
        ):
            call = {"name": "look", "arguments": {}, "task": {"ttl": 1000}}
            await client.open()
            await client.legacy("tools/call", call)
            await other.open()
            refused = await other.legacy(method, {"taskId": "task-1"})
            assert refused["error"]["code"] == -32602
            related = {f"{PREFIX}related-task": {"taskId": "task-1"}}
            meddling = await other.legacy(
                "tools/call", {"name": "look", "arguments": {}, "_meta": related}
            )
            assert meddling["error"]["code"] == -32602
        assert method not in server.methods()
        assert server.methods().count("tools/call") == 1
