"""A gateway is killed with SIGKILL while agents wait: what they hold is good after the restart.

`midflight up` in a process of its own; the upstream is in the test's process, and its journal says
what reached it over all lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from bare_client import BOTH, Legacy, Modern
from process_kit import ProcessPlane, process_plane
from waiting_kit import OPENS_PAGES, POLLS_TASKS, send

from midflight.wire.refusal import HANDLE, REFUSAL
from servers.journal_server import Journal, journalling

pytestmark = pytest.mark.anyio

POLICY = (
    '@id("all") permit(principal, action, resource);\n'
    '@id("ask") @reason("Somebody looks.") @approvers("payments-oncall") @expires("20m")\n'
    'forbid(principal, action in Action::"call_tool", resource)\n'
    'when { [Tool::"up/send", Tool::"up/hold"].contains(resource) }\n'
    "unless { context.approval.granted };\n"
)


@contextlib.asynccontextmanager
async def plane_of(folder: Path) -> AsyncIterator[tuple[ProcessPlane, Journal, str]]:
    """A plane with a token of an agent, and its upstream's journal."""
    name = pwd.getpwuid(os.getuid()).pw_name
    extra = (
        f'[approvals]\ngroups = {{ "payments-oncall" = ["{name}"] }}\n'
        '[approvals.wait]\nhold = "1s"\n'
    )
    async with journalling() as journal:
        upstream = f'[[upstream]]\nname = "up"\nurl = "{journal.url}"\nreach = "closed"\n'
        with process_plane(folder, upstream, extra=extra) as plane:
            shutil.rmtree(folder / "policies" / "standard")
            (folder / "policies" / "ask.cedar").write_text(POLICY, encoding="utf-8")
            await asyncio.to_thread(plane.start)
            workload = await asyncio.to_thread(plane.register, "one")
            traits = {"send": ("send", "closed"), "hold": ("write", "closed")}
            await asyncio.to_thread(plane.pin, "up", traits)
            _, token = await asyncio.to_thread(plane.open_run, workload)
            yield plane, journal, token


async def restart(plane: ProcessPlane) -> None:
    plane.kill()
    await asyncio.to_thread(plane.reaped)
    await asyncio.to_thread(plane.start)


@contextlib.asynccontextmanager
async def client_of(
    plane: ProcessPlane, token: str, kind: type[Any] = Modern
) -> AsyncIterator[Any]:
    headers = {"authorization": f"Bearer {token}", "accept": BOTH, "host": "127.0.0.1:8600"}
    async with httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http:
        yield kind(http, f"{plane.url}/mcp")


def answer(plane: ProcessPlane, verb: str, nonce_of: dict[str, Any] | str) -> None:
    approval = nonce_of if isinstance(nonce_of, str) else nonce_of["_meta"][REFUSAL]["approval"]
    plane.control.post(f"/v1/approvals/{approval}/{verb}")


def pending_of(plane: ProcessPlane) -> list[dict[str, Any]]:
    return list(plane.control.get("/v1/approvals", state="pending"))


def call_of(nonce: str, tool: str = "send") -> dict[str, Any]:
    return {"name": tool, "arguments": {"nonce": nonce}}


async def test_what_waits_goes_on_after_a_crash(tmp_path: Path) -> None:
    async with plane_of(tmp_path) as (plane, journal, token):
        async with client_of(plane, token) as client:
            rounds = (await send(client, OPENS_PAGES, **call_of("round")))["result"]
            task = (await send(client, POLLS_TASKS, **call_of("task")))["result"]
            pending = (await send(client, {}, **call_of("call")))["result"]
            no = (await send(client, OPENS_PAGES, **call_of("no")))["result"]
            # One more is held in the very moment.
            held = asyncio.ensure_future(send(client, {}, **call_of("held")))
            notes: list[str] = []
            while len(notes) < 5:  # a question is filed before its call is seen to wait
                flights = await asyncio.to_thread(plane.control.get, "/v1/flights")
                notes = [flight["note"] for flight in flights]
            assert len(await asyncio.to_thread(pending_of, plane)) == 5
            assert all(note.startswith("Waiting for approval by payments-oncall") for note in notes)
            await asyncio.to_thread(answer, plane, "refuse", no)
            await restart(plane)
            with pytest.raises(httpx2.HTTPError):
                await held
        async with client_of(plane, token) as client:
            # Pending: it waits on, with a fresh handle.
            retry = {**call_of("round"), "requestState": rounds["requestState"]}
            again = (await send(client, OPENS_PAGES, **retry))["result"]
            assert again["resultType"] == "input_required"
            # What was held in that moment was the same question, too.
            assert len(await asyncio.to_thread(pending_of, plane)) == 4
            assert again["_meta"][REFUSAL]["approval"] == rounds["_meta"][REFUSAL]["approval"]
            said = await send(client, POLLS_TASKS, "tasks/get", taskId=task["taskId"])
            assert said["result"]["status"] == "working"
            # Approved: it is done, once.
            for waits in (rounds, task, pending):
                await asyncio.to_thread(answer, plane, "approve", waits)
            retry = {**call_of("round"), "requestState": again["requestState"]}
            assert "isError" not in (await send(client, OPENS_PAGES, **retry))["result"]
            said = await send(client, POLLS_TASKS, "tasks/get", taskId=task["taskId"])
            assert said["result"]["status"] == "completed"
            meta = {HANDLE: pending["_meta"][HANDLE]}
            assert (await send(client, {}, **call_of("call"), meta=meta))["result"]["content"]
            # Refused: it says so.
            retry = {**call_of("no"), "requestState": no["requestState"]}
            last = (await send(client, OPENS_PAGES, **retry))["result"]
            assert "refused this very action" in last["content"][0]["text"]
        assert sorted(journal.nonces("send")) == ["call", "round", "task"]


async def test_a_legacy_client_goes_on_in_a_new_session(tmp_path: Path) -> None:
    async with plane_of(tmp_path) as (plane, journal, token):
        async with client_of(plane, token, Legacy) as client:
            await client.open()
            pending = (await client.ask("tools/call", **call_of("x")))["result"]
        await restart(plane)
        await asyncio.to_thread(answer, plane, "approve", pending)
        async with client_of(plane, token, Legacy) as client:
            await client.open()
            meta = {HANDLE: pending["_meta"][HANDLE]}
            done = (await client.ask("tools/call", **call_of("x"), _meta=meta))["result"]
            assert not done.get("isError")
        assert journal.nonces("send") == ["x"]


async def test_what_was_being_done_when_the_plane_died_is_not_done_again(tmp_path: Path) -> None:
    async with plane_of(tmp_path) as (plane, journal, token):
        async with client_of(plane, token) as client:
            task = (await send(client, POLLS_TASKS, **call_of("x", "hold")))["result"]
            await asyncio.to_thread(answer, plane, "approve", task)
            said = await send(client, POLLS_TASKS, "tasks/get", taskId=task["taskId"])
            assert said["result"]["status"] == "working"
            assert journal.nonces("hold") == ["x"]
        await restart(plane)
        async with client_of(plane, token) as client:
            said = (await send(client, POLLS_TASKS, "tasks/get", taskId=task["taskId"]))["result"]
            assert said["status"] == "failed"
            assert "It is not done again" in said["error"]["message"]
            for method in ("tasks/update", "tasks/cancel"):
                extra: dict[str, Any] = {"inputResponses": {}} if method == "tasks/update" else {}
                await send(client, POLLS_TASKS, method, taskId=task["taskId"], **extra)
        assert journal.nonces("hold") == ["x"]
