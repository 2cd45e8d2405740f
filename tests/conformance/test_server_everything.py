"""A server that nobody here wrote, behind Midflight: it offers the same as when asked directly.

`@modelcontextprotocol/server-everything` speaks the legacy generation. So the modern client meets
it only through Midflight, and is held against the legacy client that meets it directly.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from conformance.official_suite import HERE, NODE
from gateways import running_gateway

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.conformance,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

SERVER = HERE / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
PRELOAD = HERE / "on_loopback.mjs"

# Tasks of the two generations are different things and are not translated (ARCHITECTURE.md).
TASK_ONLY = {"simulate-research-query"}

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("echo", {"message": "naïve ☃"}),
    ("get-sum", {"a": 2, "b": 3}),
    ("get-structured-content", {"location": "Chicago"}),
    ("get-annotated-message", {"messageType": "error", "includeImage": True}),
    ("get-tiny-image", {}),
    ("get-resource-links", {"count": 3}),
    ("get-resource-reference", {"resourceType": "Text", "resourceId": 1}),
    ("trigger-elicitation-request", {}),
    ("trigger-sampling-request", {"prompt": "Say something.", "maxTokens": 10}),
]


@asynccontextmanager
async def over_http() -> AsyncIterator[str]:
    """The server as a process on loopback; its URL."""
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        "--import",
        str(PRELOAD),
        str(SERVER),
        "streamableHttp",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={},
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            line = b""
            while not (found := re.match(rb"port=(\d+)", line)):
                line = await process.stderr.readline()
                assert line, "The server ended before it listened."
        draining = asyncio.ensure_future(process.stderr.read())
        yield f"http://127.0.0.1:{int(found[1])}/mcp"
        draining.cancel()
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def served(kind: str) -> AsyncIterator[tuple[Any, dict[str, Any]]]:
    """(what a client connects to directly, the entry of `midflight.toml`)."""
    assert SERVER.is_file(), f"{SERVER} is missing: run `make sync`."
    if kind == "stdio":
        arguments = [str(SERVER), "stdio"]
        direct = stdio_client(StdioServerParameters(command=str(NODE), args=arguments))
        yield direct, {"command": str(NODE), "args": tuple(arguments)}
        return
    async with over_http() as url:
        yield streamable_http_client(url), {"url": url}


async def elicited(context: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": "Ada", "check": True})


async def sampled(context: Any, params: Any) -> types.CreateMessageResult:
    said = types.TextContent(type="text", text="Something.")
    return types.CreateMessageResult(role="assistant", content=said, model="none")


asked_for_roots: list[None] = []


async def roots(context: Any) -> types.ListRootsResult:
    asked_for_roots.append(None)
    return types.ListRootsResult(roots=[])


CALLBACKS: dict[str, Any] = {
    "elicitation_callback": elicited,
    "sampling_callback": sampled,
    "list_roots_callback": roots,
}


def plain(model: Any) -> Any:
    """A model as JSON, without what it says of who answered, and when."""
    dumped = model.model_dump(by_alias=True, mode="json", exclude_none=True)
    for member in ("_meta", "resultType", "ttlMs", "cacheScope"):
        dumped.pop(member, None)
    return json.loads(re.sub(r"\d+:\d\d:\d\d [AP]M", "a time", json.dumps(dumped)))


async def offered(client: Client) -> dict[str, Any]:
    """Everything in the server's lists, by list."""
    lists = {
        "tools": (await client.list_tools()).tools,
        "prompts": (await client.list_prompts()).prompts,
        "resources": (await client.list_resources()).resources,
        "templates": (await client.list_resource_templates()).resource_templates,
    }
    return {name: [plain(entry) for entry in entries] for name, entries in lists.items()}


async def done(client: Client) -> dict[str, Any]:
    """What the server answers to a bit of everything."""
    answers: dict[str, Any] = {}
    for name, arguments in CALLS:
        answers[f"{name} {arguments}"] = plain(await client.call_tool(name, arguments))
    steps: list[float] = []

    async def progress(step: float, total: float | None, message: str | None) -> None:
        steps.append(step)

    operation = {"duration": 0.2, "steps": 4}
    name = "trigger-long-running-operation"
    while True:
        before = len(asked_for_roots)
        steps.clear()
        result = await client.call_tool(name, operation, progress_callback=progress)
        # The server asks for roots when it likes. What it says to a modern client while a question
        # waits for its answer is passed on to nobody (`apps/gateway/sinks.py`): once more, then.
        if len(asked_for_roots) == before:
            break
    answers[name] = (plain(result), steps)
    uri = "demo://resource/static/document/structure.md"
    answers[uri] = plain(await client.read_resource(uri))
    answers["prompt"] = plain(await client.get_prompt("args-prompt", {"city": "Bern"}))
    answers["completion"] = plain(
        await client.complete(
            types.PromptReference(name="completable-prompt"), {"name": "department", "value": "E"}
        )
    )
    return answers


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
@pytest.mark.parametrize("kind", ["stdio", "http"])
async def test_everything_is_the_same_through_midflight(
    kind: str, mode: str, tmp_path: Path
) -> None:
    async with served(kind) as (transport, entry):
        upstream = {"name": "everything", "reach": "closed", **entry}
        async with Client(transport, mode="legacy", **CALLBACKS) as direct:
            listed, answered = await offered(direct), await done(direct)
        async with running_gateway(tmp_path, [upstream]) as gateway:
            await gateway.pin_all()
            async with gateway.client(mode=mode, **CALLBACKS) as client:
                shown, got = await offered(client), await done(client)
    if mode != "legacy":
        listed["tools"] = [tool for tool in listed["tools"] if tool["name"] not in TASK_ONLY]
    assert shown == listed
    assert got == answered
