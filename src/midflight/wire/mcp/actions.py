"""MCP messages to actions and back: what is judged is what is sent.

`to_action` puts every member of `params` somewhere: the target's name in `name`, arguments in
`arguments`, the allow-listed part of `_meta` in `meta`, and all the rest, unknown members included,
in `params`, which the digest covers. `to_message` encodes exactly that. So nothing leaves unjudged
and nothing is lost on the way, except members of `_meta` that the allow-list drops.

Where the members stand:

| method | name | arguments |
|---|---|---|
| tools/call, prompts/get | params.name | params.arguments |
| resources/read, (un)subscribe | params.uri | |
| tasks/get, result, cancel, update | params.taskId | |
| completion/complete | name or URI of params.ref | argument and context |
| subscriptions/listen | the method | the filter, params.notifications |
| logging/setLevel, notifications | the method | every member of params |
| lists | the method | |
| an answer to the upstream's question | the question's method | the answer |
"""

from __future__ import annotations

from typing import Any, Final, cast

from midflight.domain.action import Action, ActionKind
from midflight.domain.value import JSONObject
from midflight.wire.jsonrpc import Notification, Request
from midflight.wire.lookalikes import lookalike
from midflight.wire.malformed import INVALID_PARAMS, MalformedMessage, UnknownMethod
from midflight.wire.mcp import meta as _meta
from midflight.wire.mcp.methods import TABLE, Method, Own, from_client

MAX_NAME: Final = 4096

# What any method's params may be called by the specification; whatever merely looks like one of
# these is refused, whichever method it stands in.
_KNOWN: Final = frozenset(
    {"_meta"}
    | {row.name_field for row in TABLE if row.name_field is not None}
    | {field for row in TABLE for field in row.fields}
)
_SHAPES: Final[dict[str, type]] = {
    "arguments": dict,
    "task": dict,
    "inputResponses": dict,
    "notifications": dict,
    "ref": dict,
    "argument": dict,
    "context": dict,
    "cursor": str,
    "requestState": str,
    "level": str,
    "reason": str,
}
# Members that only the answer to one kind of question has.
_ANSWERED_BY: Final = (
    ("action", "elicitation/create"),
    ("roots", "roots/list"),
    ("role", "sampling/createMessage"),
    ("model", "sampling/createMessage"),
    ("stopReason", "sampling/createMessage"),
)
_REF: Final = frozenset({"type", "name", "uri", "title"})
_ARGUMENT: Final = frozenset({"name", "value"})
_FILTER: Final = frozenset(
    {
        "toolsListChanged",
        "promptsListChanged",
        "resourcesListChanged",
        "resourceSubscriptions",
        "taskIds",
    }
)


def to_action(message: Request | Notification, *, upstream: str) -> Action:
    """What a client's message wants done at `upstream`.

    Raises:
        UnknownMethod: a method that is not in the table, or that Midflight answers itself.
        MalformedMessage: -32602, `params` that are not what the method takes, or that two parsers
            would read differently. Both carry the request's id.
    """
    method = from_client(message)
    try:
        return _action(method, message.params, upstream)
    except MalformedMessage as problem:
        problem.request_id = message.id if isinstance(message, Request) else None
        raise


def to_message(action: Action) -> tuple[str, JSONObject]:
    """The method and params that carry the action: the inverse of `to_action`.

    `arguments` of tools and prompts are always sent, `{}` if there are none: some servers tell an
    absent object from an empty one, and only refuse the absent.
    """
    params: JSONObject = {}
    match action.kind:
        case ActionKind.CALL_TOOL | ActionKind.GET_PROMPT:
            params["name"] = action.name
            params["arguments"] = action.arguments
        case ActionKind.READ_RESOURCE:
            params["uri"] = action.name
        case ActionKind.TASK:
            params["taskId"] = action.name
        case ActionKind.COMPLETE:
            params["ref"] = _reference(action)
            params.update(action.arguments)
        case ActionKind.SUBSCRIBE:
            listens = action.method == "subscriptions/listen"
            params["notifications" if listens else "uri"] = (
                action.arguments if listens else action.name
            )
        case ActionKind.NOTIFY | ActionKind.ANSWER:
            params.update(action.arguments)
        case ActionKind.LIST | ActionKind.OPEN_RUN | ActionKind.DELEGATE | ActionKind.LEASE:
            pass
    return action.method, _with_rest(params, action)


def to_answer(method: str, result: JSONObject, *, upstream: str) -> Action:
    """A client's answer to the upstream's question `method` (elicitation, sampling, roots).

    The whole result is judged as arguments; its `_meta` passes by the allow-list.
    """
    arguments, meta = _split(result)
    return Action(
        kind=ActionKind.ANSWER,
        upstream=upstream,
        name=method,
        method=method,
        arguments=arguments,
        meta=meta,
    )


def answers_in(action: Action) -> list[Action]:
    """The answers that a modern retry or `tasks/update` carries in `inputResponses`, as actions.

    Each is judged as an answer of its own, beside the call that carries it. The question's kind is
    told from the answer's shape, since the retry does not repeat it; one that could be of several
    kinds is judged as each.
    """
    responses = action.params.get("inputResponses")
    if type(responses) is not dict:
        return []
    return [
        to_answer(question, answer, upstream=action.upstream)
        for answer in cast("dict[str, JSONObject]", responses).values()
        for question in _questions(answer)
    ]


def _action(method: Method, params: JSONObject, upstream: str) -> Action:
    if isinstance(method.kind, Own) or method.kind is None:
        raise UnknownMethod(
            f"{method.name} is answered by Midflight and never forwarded.",
            hint="Send it to the endpoint itself.",
        )
    rest, meta = _split(params)
    if not rest.keys() <= _KNOWN:
        _refuse_lookalikes(rest, _KNOWN)
    _check_shapes(rest)
    arguments: JSONObject = {}
    name = method.name
    if method.name_field is not None:
        name = _name(rest.pop(method.name_field, None), method.name_field)
    match method.kind:
        case ActionKind.CALL_TOOL | ActionKind.GET_PROMPT:
            arguments = rest.pop("arguments", {})
        case ActionKind.COMPLETE:
            name, rest, arguments = _completion(rest)
        case ActionKind.NOTIFY:
            arguments, rest = rest, {}
        case ActionKind.SUBSCRIBE if method.name_field is None:
            arguments = _filter(rest)
        case _:
            pass
    return Action(
        kind=method.kind,
        upstream=upstream,
        name=name,
        method=method.name,
        arguments=arguments,
        params=rest,
        meta=meta,
    )


def _split(params: JSONObject) -> tuple[JSONObject, JSONObject]:
    rest = dict(params)
    if "_meta" not in rest:
        return rest, {}
    return rest, _meta.passed(rest.pop("_meta"))


def _with_rest(params: JSONObject, action: Action) -> JSONObject:
    # What is judged as name or arguments is never overwritten by what stands beside it.
    if action.params:
        params = {**action.params, **params}
    if action.meta:
        params["_meta"] = action.meta
    return params


def _name(value: Any, field: str) -> str:
    if type(value) is str and 0 < len(value) <= MAX_NAME:
        return value
    raise _wrong(f"{field} is not a string of 1 to {MAX_NAME} characters")


def _check_shapes(params: JSONObject) -> None:
    for member, value in params.items():
        shape = _SHAPES.get(member)
        if shape is not None and type(value) is not shape:
            raise _wrong(f"{member} is not {'an object' if shape is dict else 'a string'}")
    responses = params.get("inputResponses")
    if responses is not None and any(type(answer) is not dict for answer in responses.values()):
        raise _wrong("inputResponses holds something that is not an answer")


def _refuse_lookalikes(members: JSONObject, known: frozenset[str]) -> None:
    for member in members:
        meant = lookalike(member, known)
        if meant is not None:
            raise _wrong(f"params have a member that some servers would take for {meant}")


def _completion(rest: JSONObject) -> tuple[str, JSONObject, JSONObject]:
    reference = rest.pop("ref", None)
    if type(reference) is not dict:
        raise _wrong("completion/complete needs a ref")
    reference = dict(cast("JSONObject", reference))
    _refuse_lookalikes(reference, _REF)
    match reference.get("type"):
        case "ref/prompt":
            field, other = "name", "uri"
        case "ref/resource":
            field, other = "uri", "name"
        case _:
            raise _wrong("ref has no known type")
    if other in reference:
        raise _wrong(f"ref has a {other} that its type does not have")
    name = _name(reference.pop(field, None), f"ref.{field}")
    arguments: JSONObject = {}
    for member in ("argument", "context"):
        if member in rest:
            arguments[member] = rest.pop(member)
    _refuse_lookalikes(arguments.get("argument", {}), _ARGUMENT)
    rest["ref"] = reference
    return name, rest, arguments


def _reference(action: Action) -> JSONObject:
    reference: JSONObject = dict(action.params["ref"])
    reference["name" if reference["type"] == "ref/prompt" else "uri"] = action.name
    return reference


def _filter(rest: JSONObject) -> JSONObject:
    wanted = rest.pop("notifications", None)
    if wanted is None:
        raise _wrong("subscriptions/listen needs notifications")
    _refuse_lookalikes(wanted, _FILTER)
    for member in ("resourceSubscriptions", "taskIds"):
        if member in wanted:
            values = wanted[member]
            if type(values) is not list or any(
                type(v) is not str or not 0 < len(v) <= MAX_NAME for v in cast("list[Any]", values)
            ):
                raise _wrong(f"notifications.{member} is not a list of names")
    return wanted


def _questions(answer: JSONObject) -> list[str]:
    found = [question for member, question in _ANSWERED_BY if member in answer]
    return list(dict.fromkeys(found)) or ["sampling/createMessage"]


def _wrong(what: str) -> MalformedMessage:
    return MalformedMessage(
        f"{what[0].upper()}{what[1:]}.",
        hint="See the method's parameters in the Model Context Protocol.",
        rpc_code=INVALID_PARAMS,
    )


__all__ = ["MAX_NAME", "answers_in", "to_action", "to_answer", "to_message"]
