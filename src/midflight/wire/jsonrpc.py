"""JSON-RPC 2.0 messages: bytes to requests, notifications and responses, and back.

The envelope is closed: a member that is not JSON-RPC's own is refused, so `"Method"` beside
`"method"` cannot mean one thing here and another to a parser that folds case (Go's does).
What the methods mean stands in `wire/mcp`.
"""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from midflight.domain.errors import Malformed
from midflight.domain.value import JSON, Discreet, JSONObject
from midflight.wire import json
from midflight.wire.lookalikes import lookalike
from midflight.wire.malformed import INVALID_PARAMS, INVALID_REQUEST, MalformedMessage

MAX_METHOD = 256
MAX_ID = 256
MAX_BATCH = 50

Id: TypeAlias = int | str

_MEMBERS = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_REQUEST = frozenset({"jsonrpc", "id", "method", "params"})
_RESPONSE = frozenset({"jsonrpc", "id", "result", "error"})


class Request(Discreet):
    """A call that is owed an answer. An absent `params` is an empty one."""

    id: Id
    method: str
    params: JSONObject = {}


class Notification(Discreet):
    """A message that is owed nothing."""

    method: str
    params: JSONObject = {}


class Response(Discreet):
    """An answer: `result` or `error`, never both.

    `id` is None only for an error whose request could not be read.
    """

    id: Id | None
    result: JSONObject | None = None
    error: JSONObject | None = None


Message: TypeAlias = Request | Notification | Response


def decode_message(raw: bytes | memoryview, *, max_values: int = json.MAX_VALUES) -> Message:
    """Decode one message of at most `max_values` values.

    Raises:
        Malformed: not JSON (-32700), not JSON-RPC (-32600) or `params` that are no object
            (-32602); a `MalformedMessage` with the request's id where it could be read.
    """
    return _message(json.decode(raw, max_values=max_values))


def decode_batch(raw: bytes | memoryview, *, max_values: int = json.MAX_VALUES) -> list[Message]:
    """Decode a batch, which only MCP 2025-03-26 has: 1 to 50 messages, distinct request ids.

    One bad message refuses the whole batch: what would run of it must not depend on the parser.

    Raises:
        Malformed: as `decode_message`, or not such a batch.
    """
    value = json.decode(raw, max_values=max_values)
    if not isinstance(value, list):
        raise MalformedMessage("A batch is an array of messages.", hint="Send a JSON array.")
    if not 1 <= len(value) <= MAX_BATCH:
        raise MalformedMessage(
            f"A batch has 1 to {MAX_BATCH} messages, this one has {len(value)}.",
            hint="Send smaller batches.",
        )
    messages = [_message(item) for item in value]
    ids = [(type(m.id), m.id) for m in messages if isinstance(m, Request)]
    if len(set(ids)) != len(ids):
        raise MalformedMessage(
            "Two requests of the batch have the same id.", hint="Give each request its own id."
        )
    return messages


def is_batch(raw: bytes) -> bool:
    """Whether the document would be an array: a look at the first byte that is not white space."""
    return raw.lstrip(b" \t\r\n")[:1] == b"["


def encode_request(request_id: Id, method: str, params: JSONObject) -> bytes:
    """The bytes of a request. Empty `params` are left out."""
    message: JSONObject = {"jsonrpc": "2.0", "id": request_id, "method": method}
    if params:
        message["params"] = params
    return json.encode(message)


def encode_notification(method: str, params: JSONObject) -> bytes:
    """The bytes of a notification. Empty `params` are left out."""
    message: JSONObject = {"jsonrpc": "2.0", "method": method}
    if params:
        message["params"] = params
    return json.encode(message)


def encode_result(request_id: Id, result: JSONObject) -> bytes:
    """The bytes of an answer."""
    return json.encode({"jsonrpc": "2.0", "id": request_id, "result": result})


def encode_error(request_id: Id | None, *, code: int, message: str, data: JSON = None) -> bytes:
    """The bytes of an error. Without a readable request id the answer's is null (JSON-RPC §5)."""
    error: JSONObject = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return json.encode({"jsonrpc": "2.0", "id": request_id, "error": error})


def encode_malformed(problem: Malformed) -> bytes:
    """The bytes of the error that answers a message which did not decode."""
    known = isinstance(problem, MalformedMessage)
    return encode_error(
        problem.request_id if known else None,
        code=problem.rpc_code,
        message=str(problem),
        data=problem.data if known else None,
    )


def _message(value: JSON) -> Message:
    if not isinstance(value, dict):
        raise MalformedMessage(
            "A JSON-RPC message is an object.",
            hint="Batches exist only in protocol version 2025-03-26."
            if isinstance(value, list)
            else "",
        )
    raw_id = value.get("id")
    request_id = raw_id if _is_id(raw_id) else None
    try:
        return _checked(value, request_id)
    except MalformedMessage as problem:
        # A request is answered under its id; a bad answer is not answered at all.
        answers = "method" not in value and ("result" in value or "error" in value)
        problem.request_id = None if answers else request_id
        raise


def _checked(value: JSONObject, request_id: Id | None) -> Message:
    if value.get("jsonrpc") != "2.0":
        raise MalformedMessage(
            'The message does not say "jsonrpc": "2.0".', hint="Send JSON-RPC 2.0."
        )
    return _call(value, request_id) if "method" in value else _response(value, request_id)


def _call(value: JSONObject, request_id: Id | None) -> Request | Notification:
    if not value.keys() <= _REQUEST:
        _refuse_unknown_members(value)
        raise MalformedMessage(
            "The message has a method and a result or error.", hint="Send one or the other."
        )
    method = value["method"]
    if type(method) is not str or not 0 < len(method) <= MAX_METHOD:
        raise MalformedMessage(
            f"The method is not a string of 1 to {MAX_METHOD} characters.",
            hint="Name a method of the protocol.",
        )
    params = value.get("params")
    if params is None and "params" not in value:
        params = cast("JSONObject", {})
    if type(params) is not dict:
        raise MalformedMessage(
            "The params are not an object.",
            hint="Send params by name.",
            rpc_code=INVALID_PARAMS,
        )
    params = cast("JSONObject", params)
    if "id" not in value:
        return Notification(method=method, params=params)
    if request_id is None:
        raise _bad_id()
    return Request(id=request_id, method=method, params=params)


def _response(value: JSONObject, request_id: Id | None) -> Response:
    if not value.keys() <= _RESPONSE or ("result" in value) == ("error" in value):
        _refuse_unknown_members(value)
        raise MalformedMessage(
            "The message is neither a call nor an answer with one of result and error.",
            hint="Send a method, or an id with one of result and error.",
        )
    if "error" in value:
        if request_id is None and value.get("id") is not None:
            raise _bad_id()
        return Response(id=request_id, error=_error(value["error"]))
    if request_id is None:
        raise _bad_id()
    result = value["result"]
    if type(result) is not dict:
        raise MalformedMessage(
            "The result is not an object.", hint="MCP results are objects (basic §Responses)."
        )
    return Response(id=request_id, result=cast("JSONObject", result))


def _error(error: Any) -> JSONObject:
    if type(error) is dict:
        members = cast("JSONObject", error)
        if type(members.get("code")) is int and type(members.get("message")) is str:
            return members
    raise MalformedMessage(
        "The error is not an object with an integer code and a message.",
        hint="See JSON-RPC 2.0 §5.1.",
    )


def _is_id(value: Any) -> bool:
    # bool is an int to Python, and 1.0 equals 1: types are compared, not values.
    return type(value) is int or (type(value) is str and len(value) <= MAX_ID)


def _bad_id() -> MalformedMessage:
    return MalformedMessage(
        f"The id is neither an integer nor a string of at most {MAX_ID} characters.",
        hint="MCP forbids null, fractions and booleans as ids.",
        rpc_code=INVALID_REQUEST,
    )


def _refuse_unknown_members(value: JSONObject) -> None:
    if value.keys() <= _MEMBERS:
        return
    for member in value:
        known = lookalike(member, _MEMBERS)
        if known is not None:
            raise MalformedMessage(
                f'The message has a member that some parsers would take for "{known}".',
                hint=f'Spell it "{known}", once.',
            )
    raise MalformedMessage(
        "The message has a member that JSON-RPC does not have.",
        hint="Send jsonrpc, id, method and params only.",
    )


__all__ = [
    "MAX_BATCH",
    "MAX_ID",
    "MAX_METHOD",
    "Id",
    "Message",
    "Notification",
    "Request",
    "Response",
    "decode_batch",
    "decode_message",
    "encode_error",
    "encode_malformed",
    "encode_notification",
    "encode_request",
    "encode_result",
    "is_batch",
]
