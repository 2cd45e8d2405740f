"""Which members of a caller's `_meta` go on: an allow-list.

`_meta` is not part of what policy judges, so it must not carry anything worth judging. Protocol
fields pass in their specified shape with bounded text; trace context passes when it is valid; all
else is dropped, `baggage` and vendor keys included, since they are free text that would leave with
every call. Client capabilities keep what the specification defines and the extensions whose
messages Midflight knows: the methods of any other would be refused anyway.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, cast

from midflight.domain.value import JSON, JSONObject
from midflight.wire.malformed import INVALID_PARAMS, MalformedMessage

PROTOCOL_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
RELATED_TASK: Final = "io.modelcontextprotocol/related-task"
PROGRESS_TOKEN: Final = "progressToken"  # noqa: S105 -- a name of the protocol

TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"
UI_EXTENSION: Final = "io.modelcontextprotocol/ui"

LOG_LEVELS: Final = (
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
)

MAX_TOKEN: Final = 256
MAX_TEXT: Final = 128

# W3C Trace Context §3.2: version 00, no all-zero ids. Later versions may append fields, which
# would be free text; they are dropped.
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
# §3.3: at most 32 members and, as the least every vendor must carry, 512 characters.
_TRACESTATE_KEY: Final = (
    r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
)
_TRACESTATE: Final = re.compile(
    _TRACESTATE_KEY + r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]\Z"
)
_MAX_TRACESTATE: Final = 512
# RFC 6838 §4.2 names, with parameters that are tokens: a place for a type and for no sentence.
_MEDIA_TYPE: Final = re.compile(
    r"[a-z0-9][a-z0-9.+-]{0,62}/[a-z0-9][a-z0-9.+-]{0,62}(?:;[a-z0-9-]{1,31}=[a-z0-9.-]{1,31}){0,2}\Z"
)
_MAX_TRACESTATE_MEMBERS: Final = 32


def passed(meta: JSON) -> JSONObject:
    """The part of a caller's `_meta` that passes.

    Raises:
        MalformedMessage: -32602 when `_meta` is no object, or a protocol field in it has the
            wrong shape. Invalid trace context is dropped, as its standard asks.
    """
    if type(meta) is not dict:
        raise _wrong("_meta is not an object")
    kept: JSONObject = {}
    for key, value in meta.items():
        check = _ALLOWED.get(key)
        if check is not None:
            allowed = check(value)
            if allowed is not None:
                kept[key] = allowed
    return kept


def capabilities(value: Any) -> JSONObject:
    """What a client may do, reduced to what the specification and known extensions define."""
    if type(value) is not dict:
        raise _wrong(f"{CLIENT_CAPABILITIES} is not an object")
    if not value:
        return {}
    declared = cast("JSONObject", value)
    kept: JSONObject = {}
    if type(declared.get("roots")) is dict:
        kept["roots"] = _flags(declared["roots"], ("listChanged",))
    if type(declared.get("sampling")) is dict:
        kept["sampling"] = _switches(declared["sampling"], ("context", "tools"))
    if type(declared.get("elicitation")) is dict:
        kept["elicitation"] = _switches(declared["elicitation"], ("form", "url"))
    extensions = declared.get("extensions")
    if type(extensions) is dict:
        known = _extensions(cast("JSONObject", extensions))
        if known:
            kept["extensions"] = known
    return kept


def implementation(value: Any) -> JSONObject | None:
    """A name, title and version of bounded length, or None. Self-reported: never a fact."""
    if type(value) is not dict:
        raise _wrong(f"{CLIENT_INFO} is not an object")
    declared = cast("JSONObject", value)
    name, version, title = declared.get("name"), declared.get("version"), declared.get("title")
    if type(name) is not str or type(version) is not str:
        return None
    kept: JSONObject = {"name": name[:MAX_TEXT], "version": version[:MAX_TEXT]}
    if type(title) is str:
        kept["title"] = title[:MAX_TEXT]
    return kept


def level_reached(level: JSON, wanted: str | None) -> bool:
    """Whether a log message of `level` is for a request that wants `wanted` and what is graver."""
    if wanted not in LOG_LEVELS or level not in LOG_LEVELS:
        return False
    return LOG_LEVELS.index(cast("str", level)) >= LOG_LEVELS.index(wanted)


def _flags(value: JSONObject, members: tuple[str, ...]) -> JSONObject:
    return {m: value[m] for m in members if type(value.get(m)) is bool}


def _switches(value: JSONObject, members: tuple[str, ...]) -> JSONObject:
    return {m: {} for m in members if type(value.get(m)) is dict}


def _extensions(declared: JSONObject) -> JSONObject:
    kept: JSONObject = {}
    if type(declared.get(TASKS_EXTENSION)) is dict:
        kept[TASKS_EXTENSION] = {}
    ui = declared.get(UI_EXTENSION)
    if type(ui) is dict:
        types = cast("JSONObject", ui).get("mimeTypes")
        kept[UI_EXTENSION] = (
            {"mimeTypes": [t for t in cast("list[Any]", types)[:8] if _is_media_type(t)]}
            if type(types) is list
            else {}
        )
    return kept


def _is_media_type(value: Any) -> bool:
    return type(value) is str and len(value) <= MAX_TEXT and _MEDIA_TYPE.match(value) is not None


def _token(value: Any) -> int | str:
    if type(value) is int or (type(value) is str and len(value) <= MAX_TOKEN):
        return value
    raise _wrong(f"progressToken is neither an integer nor a string of at most {MAX_TOKEN}")


def _version(value: Any) -> str:
    if type(value) is str and len(value) <= MAX_TEXT:
        return value
    raise _wrong(f"{PROTOCOL_VERSION} is not a short string")


def _level(value: Any) -> str:
    if value in LOG_LEVELS:
        return cast("str", value)
    raise _wrong(f"{LOG_LEVEL} is not one of {', '.join(LOG_LEVELS)}")


def _related_task(value: Any) -> JSONObject:
    if type(value) is dict:
        task = cast("JSONObject", value).get("taskId")
        if type(task) is str and len(task) <= MAX_TOKEN:
            return {"taskId": task}
    raise _wrong(f"{RELATED_TASK} does not name a task")


def _traceparent(value: Any) -> str | None:
    return value if type(value) is str and _TRACEPARENT.match(value) else None


def _tracestate(value: Any) -> str | None:
    if type(value) is not str or len(value) > _MAX_TRACESTATE:
        return None
    members = [member.strip(" \t") for member in value.split(",")]
    if len(members) > _MAX_TRACESTATE_MEMBERS:
        return None
    return value if all(_TRACESTATE.match(member) for member in members) else None


def _wrong(what: str) -> MalformedMessage:
    return MalformedMessage(
        f"{what}.", hint="See MCP, basic, General fields.", rpc_code=INVALID_PARAMS
    )


_ALLOWED: Final[dict[str, Callable[[Any], JSON]]] = {
    PROGRESS_TOKEN: _token,
    PROTOCOL_VERSION: _version,
    CLIENT_INFO: implementation,
    CLIENT_CAPABILITIES: capabilities,
    LOG_LEVEL: _level,
    RELATED_TASK: _related_task,
    "traceparent": _traceparent,
    "tracestate": _tracestate,
}

__all__ = [
    "CLIENT_CAPABILITIES",
    "CLIENT_INFO",
    "LOG_LEVEL",
    "LOG_LEVELS",
    "PROGRESS_TOKEN",
    "PROTOCOL_VERSION",
    "RELATED_TASK",
    "SERVER_INFO",
    "SUBSCRIPTION_ID",
    "TASKS_EXTENSION",
    "UI_EXTENSION",
    "capabilities",
    "implementation",
    "level_reached",
    "passed",
]
