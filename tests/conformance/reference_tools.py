"""The tools that the official suite asks of a server, in both generations of the protocol.

A tool that needs an answer asks in the form of the generation it is called in: by a request on the
stream of the call, or by an `input_required` result. What each does is said by the description of
the scenario that calls it (`conformance list --server`).
"""

from __future__ import annotations

import asyncio
import base64
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mcp import types
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ResourceUpdated,
    ToolsListChanged,
)

from conformance.reference_questions import Asked

Result = types.CallToolResult | types.InputRequiredResult

PAUSE_S: Final = 0.05
"""What the suite wants between two notifications, so that a client can see them apart."""

LONG_S: Final = 0.5
"""Longer than anybody answers with a JSON document instead of a stream."""


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00\xff\x00\x00")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
    )


def _wav() -> bytes:
    samples = bytes(16)
    form = struct.pack("<HHIIHH", 1, 1, 8_000, 8_000, 1, 8)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


PNG: Final = base64.b64encode(_png()).decode("ascii")
WAV: Final = base64.b64encode(_wav()).decode("ascii")

SCHEMA_2020_12: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@dataclass
class Shared:
    """What all calls see: the bus of listening streams, how often lists changed, tasks by id."""

    bus: InMemorySubscriptionBus = field(default_factory=InMemorySubscriptionBus)
    revision: int = 0
    jobs: dict[str, Any] = field(default_factory=dict)


@dataclass
class Call(Asked):
    """One call of a tool."""

    shared: Shared

    @property
    def arguments(self) -> dict[str, Any]:
        return self.params.arguments or {}

    @property
    def capabilities(self) -> types.ClientCapabilities:
        return self.context.session.client_capabilities or types.ClientCapabilities()

    async def progress(self, done: float, total: float) -> None:
        token = (self.context.meta or {}).get("progress_token")
        if token is None:
            return
        params = types.ProgressNotificationParams(progress_token=token, progress=done, total=total)
        await self.context.session.send_notification(
            types.ProgressNotification(params=params), related_request_id=self.context.request_id
        )

    async def log(self, text: str) -> None:
        await self.context.session.send_log_message(
            "info", text, logger="reference", related_request_id=self.context.request_id
        )


Run = Callable[[Call], Awaitable[Result]]


@dataclass
class Offered:
    """A tool and what it does."""

    tool: types.Tool
    run: Run


class Toolbox:
    """Tools by name, in the order they were offered."""

    def __init__(self) -> None:
        self.tools: dict[str, Offered] = {}

    def offer(
        self,
        name: str,
        description: str,
        properties: Mapping[str, Any] | None = None,
        *,
        required: tuple[str, ...] = (),
        schema: dict[str, Any] | None = None,
    ) -> Callable[[Run], Run]:
        """Offer what is decorated as a tool."""
        whole: dict[str, Any] = schema or {"type": "object", "properties": dict(properties or {})}
        if required:
            whole["required"] = list(required)

        def register(run: Run) -> Run:
            tool = types.Tool(name=name, description=description, input_schema=whole)
            self.tools[name] = Offered(tool, run)
            return run

        return register


def text(*lines: str) -> types.CallToolResult:
    """A result of text."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=t) for t in lines])


TOOLBOX: Final = Toolbox()


# Content


@TOOLBOX.offer("test_simple_text", "Answers with text.")
async def simple_text(call: Call) -> Result:
    return text("This is a simple text response for testing.")


@TOOLBOX.offer("test_image_content", "Answers with an image.")
async def image(call: Call) -> Result:
    content = types.ImageContent(type="image", data=PNG, mime_type="image/png")
    return types.CallToolResult(content=[content])


@TOOLBOX.offer("test_audio_content", "Answers with audio.")
async def audio(call: Call) -> Result:
    content = types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")
    return types.CallToolResult(content=[content])


def _embedded(uri: str, mime_type: str, body: str) -> types.EmbeddedResource:
    resource = types.TextResourceContents(uri=uri, mime_type=mime_type, text=body)
    return types.EmbeddedResource(type="resource", resource=resource)


@TOOLBOX.offer("test_embedded_resource", "Answers with a resource.")
async def embedded(call: Call) -> Result:
    body = "This is an embedded resource content."
    return types.CallToolResult(content=[_embedded("test://embedded-resource", "text/plain", body)])


@TOOLBOX.offer("test_multiple_content_types", "Answers with text, an image and a resource.")
async def multiple(call: Call) -> Result:
    return types.CallToolResult(
        content=[
            types.TextContent(type="text", text="Multiple content types test:"),
            types.ImageContent(type="image", data=PNG, mime_type="image/png"),
            _embedded(
                "test://mixed-content-resource", "application/json", '{"test":"data","value":123}'
            ),
        ]
    )


@TOOLBOX.offer("test_error_handling", "Fails.")
async def failing(call: Call) -> Result:
    result = text("This tool intentionally returns an error for testing")
    result.is_error = True
    return result


@TOOLBOX.offer("json_schema_2020_12_tool", "Has a schema with all there is.", schema=SCHEMA_2020_12)
async def schemed(call: Call) -> Result:
    return text(f"Called with {sorted(call.arguments)}")


@TOOLBOX.offer(
    "test_x_mcp_header",
    "Has an argument that is mirrored in a header.",
    {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "query": {"type": "string"},
    },
)
async def mirrored(call: Call) -> Result:
    return text(f"region={call.arguments.get('region')}")


# Progress, logging, streams


@TOOLBOX.offer("test_tool_with_progress", "Reports progress.")
async def progressing(call: Call) -> Result:
    for done in (0, 50, 100):
        await call.progress(done, 100)
        await asyncio.sleep(PAUSE_S)
    return text("Done, with progress.")


@TOOLBOX.offer("test_tool_with_logging", "Logs.")
async def logging(call: Call) -> Result:
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await call.log(line)
        await asyncio.sleep(PAUSE_S)
    return text("Done, with logs.")


@TOOLBOX.offer("test_logging_tool", "Logs where the client wants to hear it.")
async def logging_if_wanted(call: Call) -> Result:
    await call.log("A line for who asked for it.")
    return text("Done.")


@TOOLBOX.offer("test_reconnection", "Closes its stream in the middle of the call.")
async def reconnecting(call: Call) -> Result:
    if call.context.close_sse_stream is not None:
        await call.context.close_sse_stream()
    await asyncio.sleep(LONG_S)
    return text("The stream was closed; this came by the next one.")


# Lists and resources that change


@TOOLBOX.offer("test_trigger_tool_change", "Changes the list of tools.")
async def change_tools(call: Call) -> Result:
    call.shared.revision += 1
    await call.shared.bus.publish(ToolsListChanged())
    if not call.modern:
        await call.context.session.send_tool_list_changed()
    return text("The list of tools has changed.")


@TOOLBOX.offer("test_trigger_prompt_change", "Changes the list of prompts.")
async def change_prompts(call: Call) -> Result:
    call.shared.revision += 1
    await call.shared.bus.publish(PromptsListChanged())
    if not call.modern:
        await call.context.session.send_prompt_list_changed()
    return text("The list of prompts has changed.")


@TOOLBOX.offer(
    "test_touch_resource", "Changes a resource.", {"uri": {"type": "string"}}, required=("uri",)
)
async def touch(call: Call) -> Result:
    uri = str(call.arguments["uri"])
    await call.shared.bus.publish(ResourceUpdated(uri=uri))
    if not call.modern:
        await call.context.session.send_resource_updated(uri)
    return text(f"{uri} has changed.")


@TOOLBOX.offer("test_changing_tool", "Its description changes with every change of the list.")
async def changing(call: Call) -> Result:
    return text("Still here.")


__all__ = ["PNG", "TOOLBOX", "Call", "Offered", "Result", "Shared", "Toolbox", "text"]
