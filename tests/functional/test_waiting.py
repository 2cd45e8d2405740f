"""An agent waits for a person, in each form that its client can take."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bare_client import Legacy, Stream, final, legacy, messages, modern
from waiting_kit import (
    ONCALL,
    OPENS_PAGES,
    POLLS_TASKS,
    PUBLIC_URL,
    WaitingGateway,
    send,
    waiting_gateway,
)

from conformance.reference_server import reference
from midflight.apps.gateway import waiting_tasks
from midflight.apps.gateway.waiting import MAX_ROUNDS
from midflight.domain.identity import Author
from midflight.domain.revocation import Scope, ScopeKind
from midflight.wire.refusal import HANDLE, REFUSAL

pytestmark = [
    pytest.mark.anyio,
    # What is deprecated in the modern generation is what legacy clients have.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

ECHO: dict[str, Any] = {"name": "echo", "arguments": {"text": "hi"}}
OLIVIA = Author(name="olivia", proof="test")
WORDS = "Waiting for approval by payments-oncall, expires 08:20 UTC"


def text_of(message: dict[str, Any]) -> str:
    return str(message["result"]["content"][0]["text"])


def refusal_of(message: dict[str, Any]) -> dict[str, Any]:
    return dict(message["result"]["_meta"][REFUSAL])


async def held(waiting: WaitingGateway, work: Any) -> asyncio.Task[Any]:
    """A request that has begun to wait."""
    task = asyncio.ensure_future(work)
    await waiting.entered()
    return task


# 2026-07-28: rounds


async def test_a_modern_client_is_asked_to_open_the_page_and_comes_again(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        first = (await send(client, OPENS_PAGES, **ECHO))["result"]
        approval = await waiting.pending()
        assert first["resultType"] == "input_required"
        assert first["inputRequests"] == {
            "approval": {
                "method": "elicitation/create",
                "params": {
                    "mode": "url",
                    "url": f"{PUBLIC_URL}/approve/{approval}",
                    "message": f"{WORDS}. Somebody looks at it first.",
                },
            }
        }
        assert first["_meta"][REFUSAL]["expires_at"] == "2027-01-15T08:20:00Z"
        # While nobody is here, the registry shows it.
        assert waiting.waiting() == [f"{WORDS} ({approval})"]
        await waiting.entered()
        retry = {
            **ECHO,
            "requestState": first["requestState"],
            "inputResponses": {"approval": {"action": "accept"}},
        }
        task = await held(waiting, send(client, OPENS_PAGES, **retry))
        await waiting.approve()
        done = await task
        assert text_of(done) == "hi"
        assert done["result"]["resultType"] == "complete"
        assert waiting.served.calls == ["echo"]
        assert await waiting.states() == ["used"]
        assert waiting.waiting() == []


async def test_a_round_ends_in_another_one_and_the_last_in_words(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        said = (await send(client, OPENS_PAGES, **ECHO))["result"]
        await waiting.entered()
        for _ in range(1, MAX_ROUNDS):
            retry = {**ECHO, "requestState": said["requestState"]}
            task = await held(waiting, send(client, OPENS_PAGES, **retry))
            await waiting.pass_time(50)
            said = (await task)["result"]
            await waiting.entered()
            assert said["resultType"] == "input_required"
            assert "inputRequests" not in said  # the page is shown once
        retry = {**ECHO, "requestState": said["requestState"]}
        task = await held(waiting, send(client, OPENS_PAGES, **retry))
        await waiting.pass_time(50)
        last = await task
        assert last["result"]["isError"] is True
        assert text_of(last).startswith(WORDS)
        # By its handle it goes on after that.
        await waiting.approve()
        meta = {HANDLE: last["result"]["_meta"][HANDLE]}
        assert text_of(await send(client, OPENS_PAGES, **ECHO, meta=meta)) == "hi"
        assert waiting.served.calls == ["echo"]


async def test_what_the_upstream_asks_comes_after_the_approval(tmp_path: Path) -> None:
    able = {"elicitation": {"url": {}, "form": {}}}
    ask: dict[str, Any] = {"name": "ask", "arguments": {}}
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        said = (await send(client, able, **ask))["result"]
        await waiting.approve()
        said = (await send(client, able, **ask, requestState=said["requestState"]))["result"]
        assert said["inputRequests"]["name"]["params"]["message"] == "Your name?"
        # The retry with the answer is another action, and is asked about as such.
        answer = {"name": {"action": "accept", "content": {"name": "Ann"}}}
        retry = {**ask, "requestState": said["requestState"], "inputResponses": answer}
        said = (await send(client, able, **retry))["result"]
        assert list(said["inputRequests"]) == ["approval"]
        await waiting.approve()
        # This retry no longer carries the upstream's own state: it was kept with the question.
        retry = {**ask, "requestState": said["requestState"], "inputResponses": {}}
        assert text_of(await send(client, able, **retry)) == "hello Ann"


# Holding


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25"])
async def test_a_legacy_call_is_held_with_progress_and_passes_when_approved(
    version: str, tmp_path: Path
) -> None:
    async with (
        waiting_gateway(tmp_path) as waiting,
        legacy(waiting.gateway, version=version) as client,
    ):
        call = client.request("tools/call", **ECHO, _meta={"progressToken": "p"})
        async with client.streaming(call) as stream:
            await waiting.entered()
            first = await stream.next_of("notifications/progress")
            assert first["params"] == {
                "progressToken": "p",
                "progress": -50,
                "message": f"{WORDS}. Somebody looks at it first.",
            }
            await waiting.pass_time(10)
            second = await stream.next_of("notifications/progress")
            assert second["params"]["progress"] == -40
            await waiting.approve()
            done = await stream.next()
            assert done is not None
            assert text_of(done) == "hi"
        assert waiting.served.calls == ["echo"]


async def test_a_call_without_a_token_is_kept_alive(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, legacy(waiting.gateway) as client:
        call = client.request("tools/call", **ECHO)
        async with client.http.stream("POST", client.url, json=call) as response:
            lines = response.aiter_lines()
            await waiting.entered()
            assert response.headers["content-type"] == "text/event-stream"
            comments = [line async for line in _until_comment(lines)]
            assert comments[-1] == ":"
            await waiting.approve()
            rest = [line async for line in lines]
        assert any('"hi"' in line for line in rest)


async def _until_comment(lines: Any) -> Any:
    async for line in lines:
        yield line
        if line == ":":
            return


async def test_what_takes_too_long_is_told_whom_it_waits_for_and_how_to_go_on(
    tmp_path: Path,
) -> None:
    async with waiting_gateway(tmp_path) as waiting, legacy(waiting.gateway) as client:
        task = await held(waiting, client.ask("tools/call", **ECHO))
        approval = await waiting.pending()
        await waiting.pass_time(50)
        said = await task
        assert said["result"]["isError"] is True
        lines = text_of(said).splitlines()
        assert lines[0] == f"{WORDS}; until then Midflight does not let this happen."
        assert f"{PUBLIC_URL}/approve/{approval}" in lines[2]
        told = refusal_of(said)
        handle = said["result"]["_meta"][HANDLE]
        assert told["handle"] == handle
        assert (told["code"], told["state"]) == ("approval_required", "pending")
        assert told["asked"] == ["payments-oncall"]
        assert told["expires_s"] == 1_150
        assert told["url"] == f"{PUBLIC_URL}/approve/{approval}"
        await waiting.approve()
        done = await client.ask("tools/call", **ECHO, _meta={HANDLE: handle})
        assert text_of(done) == "hi"
        assert waiting.served.calls == ["echo"]


async def test_a_retry_without_its_handle_picks_the_question_up_as_well(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, legacy(waiting.gateway) as client:
        task = await held(waiting, client.ask("tools/call", **ECHO))
        await waiting.pass_time(50)
        await task
        await waiting.approve()
        assert text_of(await client.ask("tools/call", **ECHO)) == "hi"


async def test_a_modern_client_that_can_do_nothing_else_is_held(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        task = await held(waiting, send(client, {}, **ECHO))
        await waiting.approve()
        assert text_of(await task) == "hi"


async def test_with_no_time_to_hold_the_answer_comes_at_once(tmp_path: Path) -> None:
    off = {"wait": {"hold": "0s", "forms": ["hold"]}}
    async with (
        waiting_gateway(tmp_path, approvals=off) as waiting,
        modern(waiting.gateway) as client,
    ):
        for capabilities in ({}, OPENS_PAGES, POLLS_TASKS):
            said = await send(client, capabilities, **ECHO)
            assert text_of(said).startswith("Waiting for approval by payments-oncall")
        found = (await client.ask("server/discover"))["result"]["capabilities"]
        assert "extensions" not in found


async def test_no_call_of_a_batch_holds_up_the_others(tmp_path: Path) -> None:
    async with (
        waiting_gateway(tmp_path) as waiting,
        legacy(waiting.gateway, version="2025-03-26") as client,
    ):
        add = {"name": "add", "arguments": {"a": 1, "b": 2}}
        batch = [client.request("tools/call", **each) for each in (ECHO, add, ECHO)]
        first, second, third = messages(await client.post(batch))
        for said in (first, third):
            assert refusal_of(said)["state"] == "pending"
            assert HANDLE in said["result"]["_meta"]
        assert text_of(second) == "3"


# 2025-11-25: the page


async def test_a_legacy_client_is_asked_on_its_stream_to_open_the_page(tmp_path: Path) -> None:
    async with (
        waiting_gateway(tmp_path) as waiting,
        legacy(waiting.gateway, **OPENS_PAGES) as client,
    ):
        call = client.request("tools/call", **ECHO)
        async with client.streaming(call) as stream:
            asked = await stream.next_of("elicitation/create")
            approval = await waiting.pending()
            assert asked["params"] == {
                "mode": "url",
                "url": f"{PUBLIC_URL}/approve/{approval}",
                "message": f"{WORDS}. Somebody looks at it first.",
                "elicitationId": approval,
            }
            await answer(client, asked, {"action": "accept"})
            await waiting.approve()
            done = await stream.next_of("notifications/elicitation/complete")
            assert done["params"] == {"elicitationId": approval}
            last = await stream.next()
            assert last is not None
            assert text_of(last) == "hi"


async def answer(client: Legacy, asked: dict[str, Any], result: dict[str, Any]) -> None:
    said = await client.post({"jsonrpc": "2.0", "id": asked["id"], "result": result})
    assert said.status_code == 202


async def test_a_client_that_takes_no_stream_gets_the_error_that_asks_for_the_page(
    tmp_path: Path,
) -> None:
    async with (
        waiting_gateway(tmp_path) as waiting,
        legacy(waiting.gateway, **OPENS_PAGES) as client,
        client.listening() as stream,
    ):
        call = client.request("tools/call", **ECHO)
        said = final(await client.post(call, accept="application/json"))
        approval = await waiting.pending()
        assert said["error"]["code"] == -32042
        (page,) = said["error"]["data"]["elicitations"]
        assert (page["mode"], page["elicitationId"]) == ("url", approval)
        assert said["error"]["data"][REFUSAL]["approval"] == approval
        await waiting.approve()
        told = await stream.next_of("notifications/elicitation/complete")
        assert told["params"] == {"elicitationId": approval}
        meta = {HANDLE: said["error"]["data"][HANDLE]}
        again = client.request("tools/call", **ECHO, _meta=meta)
        assert text_of(final(await client.post(again, accept="application/json"))) == "hi"


async def test_older_versions_have_no_page(tmp_path: Path) -> None:
    async with (
        waiting_gateway(tmp_path) as waiting,
        legacy(waiting.gateway, version="2025-06-18", **OPENS_PAGES) as client,
    ):
        call = client.request("tools/call", **ECHO, _meta={"progressToken": 7})
        async with client.streaming(call) as stream:
            await waiting.entered()
            assert (await seen_until_progress(stream)) == ["notifications/progress"]
            await waiting.approve()


async def seen_until_progress(stream: Stream) -> list[str]:
    found: list[str] = []
    while message := await stream.next():
        found.append(message["method"])
        if found[-1] == "notifications/progress":
            break
    return found


# 2026-07-28: tasks


async def begin(client: Any, capabilities: dict[str, Any]) -> dict[str, Any]:
    return dict((await send(client, capabilities, **ECHO))["result"])


async def poll(client: Any, capabilities: dict[str, Any], task: str) -> dict[str, Any]:
    return dict((await send(client, capabilities, "tasks/get", taskId=task))["result"])


async def test_a_client_that_polls_is_given_a_task(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        declared = (await client.ask("server/discover"))["result"]["capabilities"]
        assert declared["extensions"] == {"io.modelcontextprotocol/tasks": {}}
        task = await begin(client, POLLS_TASKS)
        assert (task["resultType"], task["status"]) == ("task", "working")
        assert task["statusMessage"].startswith(WORDS)
        assert task["createdAt"] == "2027-01-15T08:00:00Z"
        assert task["ttlMs"] == (1_200 + 900) * 1_000
        approval = await waiting.pending()
        assert waiting.waiting() == [f"{WORDS} ({approval})"]
        again = await poll(client, POLLS_TASKS, task["taskId"])
        assert (again["resultType"], again["status"]) == ("complete", "working")
        assert again["statusMessage"] == f"{WORDS}."
        await waiting.approve()
        assert waiting.served.calls == []  # it is done for whoever comes for it
        done = await poll(client, POLLS_TASKS, task["taskId"])
        assert done["status"] == "completed"
        assert done["result"]["content"][0]["text"] == "hi"
        assert await poll(client, POLLS_TASKS, task["taskId"]) == done
        assert waiting.served.calls == ["echo"]
        assert waiting.waiting() == []


async def test_a_task_asks_for_the_page_until_it_was_shown(tmp_path: Path) -> None:
    able = OPENS_PAGES | POLLS_TASKS
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        task = (await begin(client, able))["taskId"]
        asked = await poll(client, able, task)
        assert asked["status"] == "input_required"
        ((key, question),) = asked["inputRequests"].items()
        assert question["params"]["url"].startswith(f"{PUBLIC_URL}/approve/apr_")
        given = {key: {"action": "decline"}}
        said = await send(client, able, "tasks/update", taskId=task, inputResponses=given)
        assert said["result"]["resultType"] == "complete"
        assert (await poll(client, able, task))["status"] == "working"
        await waiting.approve()
        assert (await poll(client, able, task))["status"] == "completed"


async def test_a_task_that_was_refused_or_expired_says_so(tmp_path: Path) -> None:
    # A run that idles out before its question expires takes the question with it.
    patient = {"idle_timeout": "1h"}
    async with (
        waiting_gateway(tmp_path, runs=patient) as waiting,
        modern(waiting.gateway) as client,
    ):
        task = (await begin(client, POLLS_TASKS))["taskId"]
        await waiting.refuse()
        said = await poll(client, POLLS_TASKS, task)
        assert (said["status"], said["result"]["isError"]) == ("completed", True)
        assert "payments-oncall refused this very action" in said["result"]["content"][0]["text"]
        other = {**ECHO, "arguments": {"text": "ho"}}
        task = (await send(client, POLLS_TASKS, **other))["result"]["taskId"]
        waiting.clock.advance(1_201)
        async with modern(waiting.gateway) as later:  # its token has ended meanwhile
            said = await poll(later, POLLS_TASKS, task)
        assert said["status"] == "completed"
        assert "Nobody approved it by 08:20 UTC" in said["result"]["content"][0]["text"]
        assert waiting.served.calls == []


async def test_a_cancelled_task_is_not_done_whoever_approves_it(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        task = (await begin(client, POLLS_TASKS))["taskId"]
        said = await send(client, POLLS_TASKS, "tasks/cancel", taskId=task)
        assert said["result"]["resultType"] == "complete"
        assert waiting.waiting() == []
        await waiting.approve()
        assert (await poll(client, POLLS_TASKS, task))["status"] == "cancelled"
        assert waiting.served.calls == []


async def test_what_the_upstream_asks_in_a_task_is_asked_by_the_task(tmp_path: Path) -> None:
    able = POLLS_TASKS | {"elicitation": {"form": {}}}
    async with (
        waiting_gateway(tmp_path, legacy=True) as waiting,
        modern(waiting.gateway) as client,
    ):
        ask: dict[str, Any] = {"name": "ask", "arguments": {}}
        task = (await send(client, able, **ask))["result"]["taskId"]
        await waiting.approve()
        asked = await poll(client, able, task)
        while asked["status"] == "working":
            asked = await poll(client, able, task)
        assert asked["status"] == "input_required"
        ((key, question),) = asked["inputRequests"].items()
        assert question["params"]["message"] == "Your name?"
        given = {key: {"action": "accept", "content": {"name": "Ann"}}}
        await send(client, able, "tasks/update", taskId=task, inputResponses=given)
        done = await poll(client, able, task)
        assert done["status"] == "completed"
        assert done["result"]["content"][0]["text"] == "hello Ann"


async def test_a_task_whose_facts_got_worse_waits_for_another_answer(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        task = (await begin(client, POLLS_TASKS))["taskId"]
        await waiting.approve()
        policies = tmp_path / "policies" / "test.cedar"
        policies.write_text(policies.read_text().replace("payments-oncall", "security"))
        assert await waiting.plane.policies.reload_if_changed()
        said = await poll(client, POLLS_TASKS, task)
        assert (said["status"], said["statusMessage"]) == ("working", "It is looked at again.")
        said = await poll(client, POLLS_TASKS, task)
        assert said["statusMessage"].startswith("Waiting for approval by security")
        security = Author(name="security", proof="test")
        await waiting.plane.approval_desk.approve(await waiting.pending(), author=security)
        assert (await poll(client, POLLS_TASKS, task))["status"] == "completed"
        assert await waiting.states() == ["used", "void"]
        assert waiting.served.calls == ["echo"]


async def test_of_many_polls_at_once_one_does_it_and_all_hear_the_same(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        task = (await begin(client, POLLS_TASKS))["taskId"]
        await waiting.approve()
        said = await asyncio.gather(*(poll(client, POLLS_TASKS, task) for _ in range(20)))
        assert {each["status"] for each in said} <= {"working", "completed"}
        done = await poll(client, POLLS_TASKS, task)
        assert done["result"]["content"][0]["text"] == "hi"
        assert all(each["result"] == done["result"] for each in said if "result" in each)
        assert waiting.served.calls == ["echo"]


async def test_a_task_that_is_being_done_is_cancelled_at_the_upstream(tmp_path: Path) -> None:
    slow: dict[str, Any] = {"name": "slow", "arguments": {"tag": "x"}}
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        task = (await send(client, POLLS_TASKS, **slow))["result"]["taskId"]
        await waiting.approve()
        said = await poll(client, POLLS_TASKS, task)
        assert (said["status"], said["statusMessage"]) == ("working", "Approved; it is being done.")
        await waiting.served.slow_started.wait()
        await send(client, POLLS_TASKS, "tasks/cancel", taskId=task)
        await waiting.served.until_cancelled("x")
        assert (await poll(client, POLLS_TASKS, task))["status"] == "cancelled"


async def test_results_that_nobody_fetches_make_room_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_tasks, "MAX_JOBS", 1)
    slow: dict[str, Any] = {"name": "slow", "arguments": {}}
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        first = (await begin(client, POLLS_TASKS))["taskId"]
        await waiting.approve()
        assert (await poll(client, POLLS_TASKS, first))["status"] == "completed"
        second = (await send(client, POLLS_TASKS, **slow))["result"]["taskId"]
        await waiting.approve()
        assert (await poll(client, POLLS_TASKS, second))["status"] == "working"
        said = await poll(client, POLLS_TASKS, first)
        assert said["status"] == "failed"
        assert "keeps its result no longer" in said["error"]["message"]
        # While all that there is room for is being done, the next one waits for its turn.
        third = (await begin(client, POLLS_TASKS))["taskId"]
        await waiting.approve()
        said = await poll(client, POLLS_TASKS, third)
        assert said["statusMessage"] == "Approved; it waits for its turn."
        await send(client, POLLS_TASKS, "tasks/cancel", taskId=second)
        assert waiting.served.calls == ["echo", "slow"]


# Ends


async def test_a_no_ends_the_wait_at_once(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, legacy(waiting.gateway) as client:
        task = await held(waiting, client.ask("tools/call", **ECHO))
        await waiting.refuse()
        assert "payments-oncall refused this very action" in text_of(await task)
        assert await waiting.states() == ["refused"]
        assert waiting.served.calls == []


async def test_a_question_that_expires_ends_the_wait_and_is_not_asked_anew(tmp_path: Path) -> None:
    slow = {"wait": {"hold": "1h"}}
    async with (
        waiting_gateway(tmp_path, approvals=slow, identity={"token_ttl": "15m"}) as waiting,
        legacy(waiting.gateway) as client,
    ):
        # Of the call and of the proof behind it the shorter counts: the proof, here.
        task = await held(waiting, client.ask("tools/call", **ECHO))
        await waiting.pass_time(901)
        said = await task
        assert text_of(said).startswith(WORDS)
        handle = said["result"]["_meta"][HANDLE]
        token = await waiting.gateway.token()
        client.http.headers["authorization"] = f"Bearer {token}"
        task = asyncio.ensure_future(
            client.ask("tools/call", **ECHO, _meta={HANDLE: handle}),
        )
        while (await waiting.entered()) and waiting.room.count > 1:
            pass
        await waiting.pass_time(300)
        said = await task
        assert "Nobody approved it by 08:20 UTC, which is a no." in text_of(said)
        assert len(await waiting.states()) == 1


async def test_a_revocation_ends_the_wait_at_once_and_says_so(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, legacy(waiting.gateway) as client:
        task = await held(waiting, client.ask("tools/call", **ECHO))
        approval = await waiting.pending()
        assert waiting.waiting() == [f"{WORDS} ({approval})"]
        (flight,) = waiting.plane.interruption.flights()
        assert (flight.upstream, flight.name) == ("one", "echo")
        assert waiting.plane.interruption.in_flight == 0  # it takes nobody's place
        scope = Scope(kind=ScopeKind.TOOL, id="one/echo")
        await waiting.plane.interruption.revoke(scope, reason="stop it", author=OLIVIA)
        said = await task
        assert refusal_of(said)["code"] == "interrupted"
        assert "olivia: stop it" in text_of(said)
        assert waiting.waiting() == []
        # Who is revoked is not served by a yes either.
        await waiting.approve(approval)
        assert refusal_of(await client.ask("tools/call", **ECHO))["code"] == "revoked"
        assert waiting.served.calls == []


async def test_the_end_of_the_run_ends_the_wait(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting:
        run = await waiting.gateway.open_run()
        token = await waiting.gateway.token(run)
        async with legacy(waiting.gateway, token=token) as client:
            task = await held(waiting, client.ask("tools/call", **ECHO))
            await waiting.plane.runs.close_run(run, author=OLIVIA)
            said = await task
        assert said["result"]["isError"] is True
        assert waiting.waiting() == []


async def test_a_client_that_leaves_leaves_nothing_behind(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting:
        left = asyncio.Event()
        leave = waiting.plane.interruption.leave

        def noted(flight: Any) -> None:
            leave(flight)
            left.set()

        waiting.plane.interruption.leave = noted  # type: ignore[method-assign]
        async with modern(waiting.gateway) as client:
            task = await held(waiting, send(client, {}, **ECHO))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await left.wait()
        assert (waiting.room.count, waiting.waiting()) == (0, [])
        assert await waiting.states() == ["pending"]


async def test_a_legacy_client_cancels_its_wait(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, legacy(waiting.gateway) as client:
        call = client.request("tools/call", **ECHO)
        task = await held(waiting, client.post(call))
        await client.tell("notifications/cancelled", requestId=call["id"])
        assert final(await task)["error"]["code"] == -32800
        assert (waiting.room.count, waiting.waiting()) == (0, [])


async def test_it_is_judged_anew_when_it_is_done(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, legacy(waiting.gateway) as client:
        task = await held(waiting, client.ask("tools/call", **ECHO))
        policies = tmp_path / "policies" / "test.cedar"
        text = policies.read_text()
        policies.write_text(text + '@id("never") forbid(principal, action, resource);\n')
        assert await waiting.plane.policies.reload_if_changed()
        await waiting.approve()
        said = await task
        assert refusal_of(said)["policies"][0] == "never"
        assert waiting.served.calls == []


async def test_a_task_that_the_upstream_makes_of_it_goes_on_behind_the_same_id(
    gateway_factory: Any,
) -> None:
    policy = (
        '@id("permit-all") permit(principal, action, resource);\n'
        '@id("ask") @reason("r") @approvers("payments-oncall") @expires("20m")\n'
        'forbid(principal, action in Action::"call_tool", resource)\n'
        'when { resource == Tool::"one/slow_compute" } unless { context.approval.granted };\n'
    )
    async with (
        reference() as url,
        gateway_factory([{"name": "one", "url": url, "reach": "closed"}], policy=policy) as gateway,
    ):
        await gateway.pin_all()
        async with modern(gateway) as client:
            slow = {"name": "slow_compute", "arguments": {"seconds": 0, "label": "x"}}
            task = (await send(client, POLLS_TASKS, **slow))["result"]["taskId"]
            (asked,) = await gateway.plane.approval_desk.list()
            await gateway.plane.approval_desk.approve(asked.id, author=ONCALL)
            said = await poll(client, POLLS_TASKS, task)
            while said["status"] == "working":
                said = await poll(client, POLLS_TASKS, task)
            assert (said["taskId"], said["status"]) == (task, "completed")
            assert said["result"]["content"][0]["text"] == "Computed x."
