"""Results, errors and questions between the generations: pure functions on JSON.

None of them changes what it is given. Unknown fields survive; what a generation does not have is
dropped only where its clients would refuse the whole message for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from midflight.domain.errors import UpstreamBroken
from midflight.domain.value import JSON, JSONObject
from midflight.wire import json
from midflight.wire.malformed import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    UNSUPPORTED_VERSION,
)
from midflight.wire.mcp.capabilities import (
    capabilities_for_legacy,
    capabilities_for_modern,
    client_capabilities,
    merged_capabilities,
)
from midflight.wire.mcp.meta import SERVER_INFO, SUBSCRIPTION_ID
from midflight.wire.mcp.methods import CLIENT_REQUESTS
from midflight.wire.mcp.versions import SUPPORTED, is_modern

COMPLETE: Final = "complete"
INPUT_REQUIRED: Final = "input_required"
TASK: Final = "task"

# How long a client may keep what was filtered for it: policy and posture change at any time, and
# a refusal of a hidden tool is cheap; a stale list only costs one refused call.
PRIVATE_TTL_MS: Final = 5_000

RESOURCE_NOT_FOUND: Final = -32002
URL_ELICITATION_REQUIRED: Final = -32042

# MCP 2026-07-28, basic §Error Codes and Streamable HTTP §Protocol Version Header.
_STATUSES: Final = {METHOD_NOT_FOUND: 404, MISSING_CAPABILITY: 400}

_MODERN_ONLY: Final = ("resultType", "ttlMs", "cacheScope", "inputRequests", "requestState")


def result_for_modern(
    method: str, result: JSONObject, *, server_info: JSONObject | None, private: bool
) -> JSONObject:
    """A result as modern clients expect it.

    Adds `resultType` where it is missing (absent means complete), caching hints to complete
    results of cacheable methods, and who answered. `private` says that the result was filtered or
    labelled for this caller: its cache scope is then `private`, whatever the upstream said, and
    its life at most `PRIVATE_TTL_MS`.
    """
    shaped = dict(result)
    kind = shaped.get("resultType")
    if type(kind) is not str:
        kind = shaped["resultType"] = COMPLETE
    row = CLIENT_REQUESTS.get(method)
    if kind == COMPLETE and row is not None and row.cacheable:
        _add_caching(shaped, private=private)
    if server_info is not None:
        shaped["_meta"] = {**_meta_of(shaped), SERVER_INFO: server_info}
    return shaped


def result_for_legacy(method: str, result: JSONObject) -> JSONObject:
    """A result as legacy clients expect it.

    Drops what only modern results have. A `structuredContent` that is no object becomes text, and
    an `outputSchema` of another type than object is left out: legacy clients refuse the whole
    message, or the whole list, over either.

    Raises:
        UpstreamBroken: the upstream answered with a task or a question that was not resolved
            before; there is no legacy form of that.
    """
    if result.get("resultType") in (INPUT_REQUIRED, TASK):
        raise UpstreamBroken(
            "The upstream asked for something that this client's protocol version has no form for.",
            hint="Use a client that speaks protocol version 2026-07-28.",
        )
    shaped = {name: value for name, value in result.items() if name not in _MODERN_ONLY}
    carried = shaped.get("_meta")
    if type(carried) is dict and SERVER_INFO in carried:
        rest = {k: v for k, v in cast("JSONObject", carried).items() if k != SERVER_INFO}
        shaped["_meta"] = rest
        if not rest:
            del shaped["_meta"]
    match method:
        case "tools/call":
            _structured_as_text(shaped)
        case "tools/list":
            _object_schemas_only(shaped)
        case _:
            pass
    return shaped


def error_for(version: str, error: JSONObject, *, method: str = "") -> JSONObject:
    """An upstream's error as clients of a protocol version expect it.

    - Resource not found is -32602 for modern clients and -32002 for legacy ones.
    - -32042 (URL elicitation required) exists only in 2025-11-25; see `questions_in`.
    - -32020 and -32022 are about the headers and version that Midflight sent, not the client.
    """
    modern = is_modern(version)
    code = error.get("code")
    if code in (HEADER_MISMATCH, UNSUPPORTED_VERSION):
        return {
            "code": INTERNAL_ERROR,
            "message": "The upstream did not understand Midflight. Its operator should look at it.",
        }
    if modern and code == RESOURCE_NOT_FOUND:
        return {**error, "code": INVALID_PARAMS}
    if modern and code == URL_ELICITATION_REQUIRED:
        return {**error, "code": INTERNAL_ERROR}
    if not modern and code == MISSING_CAPABILITY:
        return {**error, "code": INVALID_PARAMS}
    if not modern and code == INVALID_PARAMS and method == "resources/read":
        data = error.get("data")
        if type(data) is dict and "uri" in data:
            return {**error, "code": RESOURCE_NOT_FOUND}
    return error


def status_for_modern(error: JSONObject) -> int:
    """The HTTP status that goes with an upstream's error to a modern client; 200 for most."""
    code = error.get("code")
    return _STATUSES.get(code, 200) if type(code) is int else 200


def discover_result(
    *, capabilities: JSONObject, server_info: JSONObject, instructions: str = ""
) -> JSONObject:
    """The answer to `server/discover`. Private: what is declared may depend on the caller."""
    result: JSONObject = {
        "supportedVersions": list(SUPPORTED),
        "capabilities": capabilities,
    }
    if instructions:
        result["instructions"] = instructions
    return result_for_modern("server/discover", result, server_info=server_info, private=True)


def initialize_result(
    *, version: str, capabilities: JSONObject, server_info: JSONObject, instructions: str = ""
) -> JSONObject:
    """The answer to `initialize`, with the version that `versions.negotiate` gave."""
    result: JSONObject = {
        "protocolVersion": version,
        "capabilities": capabilities,
        "serverInfo": server_info,
    }
    if instructions:
        result["instructions"] = instructions
    return result


def input_required(requests: Mapping[str, JSONObject], state: str) -> JSONObject:
    """A modern interim result: questions by key, `{"method": …, "params": …}` each, and state."""
    result: JSONObject = {"resultType": INPUT_REQUIRED}
    if requests:
        result["inputRequests"] = dict(requests)
    if state:
        result["requestState"] = state
    return result


def question_for_modern(method: str, params: JSONObject) -> JSONObject:
    """A legacy upstream's question as an entry of `inputRequests`."""
    return {"method": method, "params": _without(params, ("task", "elicitationId"))}


def question_for_legacy(key: str, question: JSONObject) -> tuple[str, JSONObject]:
    """An entry of a modern upstream's `inputRequests` as a request to a legacy client.

    Raises:
        UpstreamBroken: it is no question.
    """
    method = question.get("method")
    params = question.get("params", {})
    if type(method) is not str or type(params) is not dict:
        raise UpstreamBroken("The upstream asked a question that is none.")
    shaped = _without(cast("JSONObject", params), ("task",))
    if method == "elicitation/create" and shaped.get("mode") == "url":
        # Legacy URL elicitations must have an id; the question's key is unique in its request.
        shaped.setdefault("elicitationId", key)
    return method, shaped


def questions_in(error: JSONObject) -> dict[str, JSONObject]:
    """The elicitations that a legacy -32042 error asks for, as `inputRequests`; empty if none."""
    data = error.get("data")
    if error.get("code") != URL_ELICITATION_REQUIRED or type(data) is not dict:
        return {}
    asked = cast("JSONObject", data).get("elicitations")
    if type(asked) is not list:
        return {}
    return {
        f"elicitation-{number}": question_for_modern("elicitation/create", cast("JSONObject", item))
        for number, item in enumerate(cast("list[Any]", asked), start=1)
        if type(item) is dict
    }


def params_across(params: JSONObject) -> JSONObject:
    """What of an action's params may go to an upstream of the other generation.

    `task` asks for a form of task that the other side does not have, and is ignored by receivers
    that declare none (2025-11-25, Tasks §Task Support); `inputResponses` and `requestState` belong
    to retries, which are resolved on this side. All were judged; less is sent.
    """
    return _without(params, ("task", "inputResponses", "requestState"))


def tagged(params: JSONObject, subscription: int | str | None) -> JSONObject:
    """A notification's params with the subscription it is delivered on, or without any."""
    carried = _without(_meta_of(params), (SUBSCRIPTION_ID,))
    if subscription is not None:
        carried[SUBSCRIPTION_ID] = subscription
    shaped = _without(params, ("_meta",))
    if carried:
        shaped["_meta"] = carried
    return shaped


def needs_task(tool: JSONObject) -> bool:
    """Whether a legacy tool can be called only as a task (`execution.taskSupport`)."""
    execution = tool.get("execution")
    return (
        type(execution) is dict and cast("JSONObject", execution).get("taskSupport") == "required"
    )


def _add_caching(shaped: JSONObject, *, private: bool) -> None:
    ttl = shaped.get("ttlMs")
    scope = shaped.get("cacheScope")
    if type(ttl) is not int or ttl < 0:
        ttl = PRIVATE_TTL_MS if private else 0
    if private:
        ttl = min(ttl, PRIVATE_TTL_MS)
        scope = "private"
    shaped["ttlMs"] = ttl
    shaped["cacheScope"] = scope if scope in ("public", "private") else "private"


def _structured_as_text(shaped: JSONObject) -> None:
    if "structuredContent" not in shaped or type(shaped["structuredContent"]) is dict:
        return
    structured: JSON = shaped.pop("structuredContent")
    content = shaped.get("content")
    if type(content) is not list or not content:
        shaped["content"] = [{"type": "text", "text": json.encode(structured).decode()}]


def _object_schemas_only(shaped: JSONObject) -> None:
    tools = shaped.get("tools")
    if type(tools) is list:
        shaped["tools"] = [_with_object_schema(tool) for tool in cast("list[Any]", tools)]


def _with_object_schema(tool: Any) -> Any:
    if type(tool) is not dict:
        return tool
    definition = cast("JSONObject", tool)
    schema = definition.get("outputSchema")
    if type(schema) is dict and cast("JSONObject", schema).get("type") != "object":
        return _without(definition, ("outputSchema",))
    return definition


def _meta_of(holder: JSONObject) -> JSONObject:
    carried = holder.get("_meta")
    return cast("JSONObject", carried) if type(carried) is dict else {}


def _without(members: JSONObject, names: tuple[str, ...]) -> JSONObject:
    return {name: value for name, value in members.items() if name not in names}


__all__ = [
    "COMPLETE",
    "INPUT_REQUIRED",
    "PRIVATE_TTL_MS",
    "RESOURCE_NOT_FOUND",
    "TASK",
    "URL_ELICITATION_REQUIRED",
    "capabilities_for_legacy",
    "capabilities_for_modern",
    "client_capabilities",
    "discover_result",
    "error_for",
    "initialize_result",
    "input_required",
    "merged_capabilities",
    "needs_task",
    "params_across",
    "question_for_legacy",
    "question_for_modern",
    "questions_in",
    "result_for_legacy",
    "result_for_modern",
    "status_for_modern",
    "tagged",
]
