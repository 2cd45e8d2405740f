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
from mcp.shared.exceptions import MCPError

from conformance.reference_questions import Asked, Question, form, sampling

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
    """What all calls see: the bus for listening streams, sessions that subscribed, what changes."""

    bus: InMemorySubscriptionBus = field(default_factory=InMemorySubscriptionBus)
    revision: int = 0


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


TOOLS: Final[dict[str, Offered]] = {}


def offer(
    name: str,
    description: str,
    properties: Mapping[str, Any] | None = None,
    *,
    required: tuple[str, ...] = (),
    schema: dict[str, Any] | None = None,
) -> Callable[[Run], Run]:
    """Register a tool under `name`."""
    whole: dict[str, Any] = schema or {"type": "object", "properties": dict(properties or {})}
    if required:
        whole["required"] = list(required)

    def register(run: Run) -> Run:
        tool = types.Tool(name=name, description=description, input_schema=whole)
        TOOLS[name] = Offered(tool, run)
        return run

    return register


def text(*lines: str) -> types.CallToolResult:
    """A result of text."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=t) for t in lines])


def _elicited(answer: Any) -> str:
    content = {} if answer.content is None else answer.content
    return f"action={answer.action}, content={content}"


# Content


@offer("test_simple_text", "Answers with text.")
async def simple_text(call: Call) -> Result:
    return text("This is a simple text response for testing.")


@offer("test_image_content", "Answers with an image.")
async def image(call: Call) -> Result:
    content = types.ImageContent(type="image", data=PNG, mime_type="image/png")
    return types.CallToolResult(content=[content])


@offer("test_audio_content", "Answers with audio.")
async def audio(call: Call) -> Result:
    content = types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")
    return types.CallToolResult(content=[content])


def _embedded(uri: str, mime_type: str, body: str) -> types.EmbeddedResource:
    resource = types.TextResourceContents(uri=uri, mime_type=mime_type, text=body)
    return types.EmbeddedResource(type="resource", resource=resource)


@offer("test_embedded_resource", "Answers with a resource.")
async def embedded(call: Call) -> Result:
    body = "This is an embedded resource content."
    return types.CallToolResult(content=[_embedded("test://embedded-resource", "text/plain", body)])


@offer("test_multiple_content_types", "Answers with text, an image and a resource.")
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


@offer("test_error_handling", "Fails.")
async def failing(call: Call) -> Result:
    result = text("This tool intentionally returns an error for testing")
    result.is_error = True
    return result


@offer("json_schema_2020_12_tool", "Has a schema with all there is.", schema=SCHEMA_2020_12)
async def schemed(call: Call) -> Result:
    return text(f"Called with {sorted(call.arguments)}")


@offer(
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


@offer("test_tool_with_progress", "Reports progress.")
async def progressing(call: Call) -> Result:
    for done in (0, 50, 100):
        await call.progress(done, 100)
        await asyncio.sleep(PAUSE_S)
    return text("Done, with progress.")


@offer("test_tool_with_logging", "Logs.")
async def logging(call: Call) -> Result:
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await call.log(line)
        await asyncio.sleep(PAUSE_S)
    return text("Done, with logs.")


@offer("test_logging_tool", "Logs where the client wants to hear it.")
async def logging_if_wanted(call: Call) -> Result:
    await call.log("A line for who asked for it.")
    return text("Done.")


@offer("test_reconnection", "Closes its stream in the middle of the call.")
async def reconnecting(call: Call) -> Result:
    if call.context.close_sse_stream is not None:
        await call.context.close_sse_stream()
    await asyncio.sleep(LONG_S)
    return text("The stream was closed; this came by the next one.")


# Questions, as the legacy scenarios ask for them


@offer(
    "test_sampling",
    "Asks the client's model.",
    {"prompt": {"type": "string"}},
    required=("prompt",),
)
async def asking_model(call: Call) -> Result:
    answer = await call.ask("model", sampling(str(call.arguments["prompt"])))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return text(f"LLM response: {getattr(answer.content, 'text', answer.content)}")


@offer("test_elicitation", "Asks the user.", {"message": {"type": "string"}}, required=("message",))
async def asking_user(call: Call) -> Result:
    properties = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    question = form(str(call.arguments["message"]), properties, "username", "email")
    answer = await call.ask("user", question)
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return text(f"User response: {_elicited(answer)}")


@offer("test_elicitation_sep1034_defaults", "Asks the user, with defaults.")
async def asking_defaults(call: Call) -> Result:
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {
            "type": "string",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        "verified": {"type": "boolean", "default": True},
    }
    answer = await call.ask("user", form("Please look at the defaults.", properties))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return text(f"Elicitation completed: {_elicited(answer)}")


def _titled(prefix: str, *titles: str) -> list[dict[str, str]]:
    return [{"const": f"{prefix}{n}", "title": title} for n, title in enumerate(titles, start=1)]


@offer("test_elicitation_sep1330_enums", "Asks the user to choose, in every form of choice.")
async def asking_choices(call: Call) -> Result:
    options = ["option1", "option2", "option3"]
    properties = {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {
            "type": "string",
            "oneOf": _titled("value", "First Option", "Second Option", "Third Option"),
        },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {
            "type": "array",
            "items": {"anyOf": _titled("value", "First Choice", "Second Choice", "Third Choice")},
        },
    }
    answer = await call.ask("user", form("Please choose.", properties))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return text(f"Elicitation completed: {_elicited(answer)}")


# Interim results. The SDK's boundary seals `requestState`; tools see what they wrote.

_NAME: Final = {"name": {"type": "string"}}
_OK: Final = {"ok": {"type": "boolean"}}


@offer("test_input_required_result_elicitation", "Asks for a name by an interim result.")
async def interim_name(call: Call) -> Result:
    answer = await call.ask("user_name", form("What is your name?", _NAME, "name"))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return text(f"Hello, {(answer.content or {}).get('name')}!")


@offer("test_streaming_elicitation", "Asks by an interim result, with progress before it.")
async def interim_stream(call: Call) -> Result:
    await call.progress(0, 1)
    return await interim_name(call)


@offer("test_input_required_result_sampling", "Asks the model by an interim result.")
async def interim_model(call: Call) -> Result:
    answer = await call.ask("capital_question", sampling("What is the capital of France?"))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return text(f"The model said: {getattr(answer.content, 'text', answer.content)}")


@offer("test_input_required_result_list_roots", "Asks for the roots by an interim result.")
async def interim_roots(call: Call) -> Result:
    answer = await call.ask("client_roots", types.ListRootsRequest())
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return text("Roots: " + ", ".join(str(root.uri) for root in answer.roots))


async def _confirmed(call: Call, done: str) -> Result:
    answers = await call.ask_all({"confirm": form("Please confirm", _OK, "ok")}, "to-confirm")
    return answers if isinstance(answers, types.InputRequiredResult) else text(done)


@offer("test_input_required_result_request_state", "Carries state from round to round.")
async def interim_state(call: Call) -> Result:
    return await _confirmed(call, "state-ok")


@offer("test_input_required_result_tampered_state", "Refuses state that was changed.")
async def interim_tampered(call: Call) -> Result:
    return await _confirmed(call, "The state was whole.")


@offer("test_input_required_result_multiple_inputs", "Asks three things at once.")
async def interim_several(call: Call) -> Result:
    questions: dict[str, Question] = {
        "user_name": form("What is your name?", _NAME, "name"),
        "greeting": sampling("Generate a greeting", 50),
        "client_roots": types.ListRootsRequest(),
    }
    answers = await call.ask_all(questions, "three")
    if isinstance(answers, types.InputRequiredResult):
        return answers
    return text("All three were answered.")


@offer("test_input_required_result_multi_round", "Asks twice, one after the other.")
async def interim_rounds(call: Call) -> Result:
    first = {"step1": form("Step 1: What is your name?", _NAME, "name")}
    color = {"color": {"type": "string"}}
    second = {"step2": form("Step 2: What is your favorite color?", color, "color")}
    state = call.params.request_state or ""
    if not state.startswith("named "):
        answers = await call.ask_all(first, "first")
        if isinstance(answers, types.InputRequiredResult):
            return answers
        state = f"named {(answers['step1'].content or {}).get('name')}"
    answers = await call.ask_all(second, state)
    if isinstance(answers, types.InputRequiredResult):
        return answers
    return text(f"Both were answered by {state.removeprefix('named ')}.")


@offer("test_input_required_result_capabilities", "Asks only what the client can answer.")
async def interim_capable(call: Call) -> Result:
    able = call.capabilities
    questions: dict[str, Question] = {}
    if able.elicitation is not None:
        questions["name"] = form("What is your name?", _NAME, "name")
    if able.sampling is not None:
        questions["model"] = sampling("Say something.")
    if able.roots is not None:
        questions["roots"] = types.ListRootsRequest()
    answers = await call.ask_all(questions)
    if isinstance(answers, types.InputRequiredResult):
        return answers
    return text("Nothing is left to ask.")


@offer("test_missing_capability", "Needs a client that has a model.")
async def demanding(call: Call) -> Result:
    if call.capabilities.sampling is None:
        needed = types.MissingRequiredClientCapabilityErrorData(
            required_capabilities=types.ClientCapabilities(sampling=types.SamplingCapability())
        )
        raise MCPError(
            code=types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="This tool needs sampling.",
            data=needed.model_dump(by_alias=True, mode="json", exclude_none=True),
        )
    return text("The client has a model.")


# Lists and resources that change


@offer("test_trigger_tool_change", "Changes the list of tools.")
async def change_tools(call: Call) -> Result:
    call.shared.revision += 1
    await call.shared.bus.publish(ToolsListChanged())
    if not call.modern:
        await call.context.session.send_tool_list_changed()
    return text("The list of tools has changed.")


@offer("test_trigger_prompt_change", "Changes the list of prompts.")
async def change_prompts(call: Call) -> Result:
    call.shared.revision += 1
    await call.shared.bus.publish(PromptsListChanged())
    if not call.modern:
        await call.context.session.send_prompt_list_changed()
    return text("The list of prompts has changed.")


@offer("test_touch_resource", "Changes a resource.", {"uri": {"type": "string"}}, required=("uri",))
async def touch(call: Call) -> Result:
    uri = str(call.arguments["uri"])
    await call.shared.bus.publish(ResourceUpdated(uri=uri))
    if not call.modern:
        await call.context.session.send_resource_updated(uri)
    return text(f"{uri} has changed.")


@offer("test_changing_tool", "Its description changes with every change of the list.")
async def changing(call: Call) -> Result:
    return text("Still here.")
