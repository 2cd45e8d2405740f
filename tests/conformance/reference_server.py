"""The reference server: all that the official suite asks for, on the SDK, in both generations.

It is the yardstick: the suite runs against it directly and through Midflight, and what passes
directly has to pass through. Serves over Streamable HTTP in the running loop, resumably.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from sdk_serving import ASGI, only_legacy, serving

from conformance import reference_asking, reference_tasks, reference_tools
from conformance.reference_questions import Asked, Context, form
from conformance.reference_tools import PNG, Call, Offered, Result, Shared

NAME: Final = "conformance-reference"

TOOLS: Final[dict[str, Offered]] = {
    **reference_tools.TOOLBOX.tools,
    **reference_asking.TOOLBOX.tools,
    **reference_tasks.TOOLBOX.tools,
}
RESOURCES: Final[dict[str, types.TextResourceContents | types.BlobResourceContents]] = {
    "test://static-text": types.TextResourceContents(
        uri="test://static-text",
        mime_type="text/plain",
        text="This is the content of the static text resource.",
    ),
    "test://static-binary": types.BlobResourceContents(
        uri="test://static-binary", mime_type="image/png", blob=PNG
    ),
    "test://watched-resource": types.TextResourceContents(
        uri="test://watched-resource", mime_type="text/plain", text="Watch this."
    ),
}
TEMPLATE: Final = ("test://template/", "/data")


def _argument(name: str, description: str) -> types.PromptArgument:
    return types.PromptArgument(name=name, description=description, required=True)


PROMPTS: Final = (
    types.Prompt(name="test_simple_prompt", description="A prompt without arguments."),
    types.Prompt(
        name="test_prompt_with_arguments",
        description="A prompt with two arguments.",
        arguments=[_argument("arg1", "The first."), _argument("arg2", "The second.")],
    ),
    types.Prompt(
        name="test_prompt_with_embedded_resource",
        description="A prompt with a resource in it.",
        arguments=[_argument("resourceUri", "The URI of the resource.")],
    ),
    types.Prompt(name="test_prompt_with_image", description="A prompt with an image in it."),
    types.Prompt(name="test_input_required_result_prompt", description="A prompt that asks first."),
)


class MemoryEvents(EventStore):
    """Events of all streams, in order, for clients that come back."""

    def __init__(self) -> None:
        self._events: list[tuple[str, types.JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str:
        stream_id, _ = self._events[int(last_event_id) - 1]
        for number, (stream, message) in enumerate(self._events, start=1):
            if number > int(last_event_id) and stream == stream_id and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id


class Reference(Server[Any]):
    """The SDK's server, announcing that its lists change in the legacy generation too."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        changing = NotificationOptions(
            prompts_changed=True, resources_changed=True, tools_changed=True
        )
        return super().create_initialization_options(
            notification_options or changing, experimental_capabilities, extensions
        )


def build() -> Reference:
    """The server."""
    shared = Shared()

    async def list_tools(context: Context, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_now(offered.tool) for offered in TOOLS.values()])

    def _now(tool: types.Tool) -> types.Tool:
        if tool.name != "test_changing_tool" or not shared.revision:
            return tool
        return tool.model_copy(update={"description": f"Version {shared.revision}."})

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> Result:
        offered = TOOLS.get(params.name)
        if offered is None:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {params.name}")
        return await offered.run(Call(context, params, shared))

    async def watch(context: Context, params: Any) -> types.EmptyResult:
        return types.EmptyResult()

    server = Reference(
        NAME,
        version="1.0.0",
        instructions="Everything that the official suite asks for.",
        get_tool_input_schema=_input_schema,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=_list_resources,
        on_list_resource_templates=_list_templates,
        on_read_resource=_read_resource,
        on_subscribe_resource=watch,
        on_unsubscribe_resource=watch,
        on_subscriptions_listen=ListenHandler(shared.bus),
        on_list_prompts=_list_prompts,
        on_get_prompt=_get_prompt,
        on_completion=_complete,
        on_set_logging_level=watch,
    )
    reference_tasks.serve_tasks(server, shared.jobs)
    server.middleware.append(
        RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME)
    )
    return server


@asynccontextmanager
async def reference(*, legacy: bool = False) -> AsyncIterator[str]:
    """The server over Streamable HTTP in this loop; its URL. `legacy`: as one of 2025-11-25."""
    app: Any = build().streamable_http_app(event_store=MemoryEvents(), retry_interval=50)
    async with serving(_trimming(only_legacy(app) if legacy else app)) as url:
        yield f"{url}/mcp"


def _trimming(app: ASGI) -> ASGI:
    """Cut blanks around header values (RFC 9110 §5.5), which uvicorn's httptools leaves on."""

    async def trimmed(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
            scope = {**scope, "headers": headers}
        await app(scope, receive, send)

    return trimmed


def _input_schema(name: str) -> dict[str, Any] | None:
    offered = TOOLS.get(name)
    return None if offered is None else offered.tool.input_schema


# Resources


async def _list_resources(context: Context, params: Any) -> types.ListResourcesResult:
    resources = [
        types.Resource(
            uri=uri,
            name=uri.removeprefix("test://"),
            description="For the suite.",
            mime_type=contents.mime_type,
        )
        for uri, contents in RESOURCES.items()
    ]
    return types.ListResourcesResult(resources=resources)


async def _list_templates(context: Context, params: Any) -> types.ListResourceTemplatesResult:
    template = types.ResourceTemplate(
        uri_template="{id}".join(TEMPLATE),
        name="template",
        description="Data by id.",
        mime_type="application/json",
    )
    return types.ListResourceTemplatesResult(resource_templates=[template])


async def _read_resource(
    context: Context, params: types.ReadResourceRequestParams
) -> types.ReadResourceResult:
    uri = str(params.uri)
    contents = RESOURCES.get(uri)
    start, end = TEMPLATE
    if contents is None and uri.startswith(start) and uri.endswith(end):
        asked = uri.removeprefix(start).removesuffix(end)
        data = {"id": asked, "templateTest": True, "data": f"Data for ID: {asked}"}
        contents = types.TextResourceContents(
            uri=uri, mime_type="application/json", text=json.dumps(data)
        )
    if contents is None:
        raise MCPError(code=types.INVALID_PARAMS, message="Resource not found", data={"uri": uri})
    return types.ReadResourceResult(contents=[contents])


# Prompts


async def _list_prompts(context: Context, params: Any) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=list(PROMPTS))


async def _get_prompt(
    context: Context, params: types.GetPromptRequestParams
) -> types.GetPromptResult | types.InputRequiredResult:
    given = params.arguments or {}
    match params.name:
        case "test_simple_prompt":
            return _prompt(_said("This is a simple prompt for testing."))
        case "test_prompt_with_arguments":
            said = f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'"
            return _prompt(_said(said))
        case "test_prompt_with_embedded_resource":
            resource = types.TextResourceContents(
                uri=given["resourceUri"],
                mime_type="text/plain",
                text="Embedded resource content for testing.",
            )
            return _prompt(
                types.EmbeddedResource(type="resource", resource=resource),
                _said("Please process the embedded resource above."),
            )
        case "test_prompt_with_image":
            return _prompt(
                types.ImageContent(type="image", data=PNG, mime_type="image/png"),
                _said("Please analyze the image above."),
            )
        case "test_input_required_result_prompt":
            return await _asking_prompt(context, params)
        case _:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown prompt: {params.name}")


async def _asking_prompt(
    context: Context, params: types.GetPromptRequestParams
) -> types.GetPromptResult | types.InputRequiredResult:
    context_form = form(
        "What context should the prompt use?", {"context": {"type": "string"}}, "context"
    )
    answer = await Asked(context, params).ask("user_context", context_form)
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return _prompt(_said(f"In the context of {(answer.content or {}).get('context')}."))


def _said(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


def _prompt(*contents: types.ContentBlock) -> types.GetPromptResult:
    return types.GetPromptResult(
        messages=[types.PromptMessage(role="user", content=content) for content in contents]
    )


async def _complete(context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    known = ("paris", "park", "party", "test")
    values = [word for word in known if word.startswith(params.argument.value)]
    return types.CompleteResult(
        completion=types.Completion(values=values, total=len(values), has_more=False)
    )


async def _serve() -> None:
    async with reference() as url:
        print(url, flush=True)  # noqa: T201 -- how a person learns where it is
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
