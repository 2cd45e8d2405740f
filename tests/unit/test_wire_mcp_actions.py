"""Messages to actions and back: every member has its place, nothing leaves unjudged."""

from __future__ import annotations

from typing import Any

import pytest

from midflight.domain.action import Action, ActionKind
from midflight.wire.jsonrpc import Notification, Request
from midflight.wire.malformed import MalformedMessage, UnknownMethod
from midflight.wire.mcp.actions import answers_in, to_action, to_answer, to_message


def _action(method: str, **params: Any) -> Action:
    return to_action(Request(id=1, method=method, params=params), upstream="up")


def test_a_tool_call_keeps_every_member_in_its_place() -> None:
    action = _action(
        "tools/call",
        name="send",
        arguments={"to": "a@b.c"},
        task={"ttl": 5},
        requestState="s",
        inputResponses={"k": {"action": "accept"}},
        vendorThing=[1],
        _meta={"progressToken": 4, "vendor/x": "dropped"},
    )
    assert action == Action(
        kind=ActionKind.CALL_TOOL,
        upstream="up",
        name="send",
        method="tools/call",
        arguments={"to": "a@b.c"},
        params={
            "task": {"ttl": 5},
            "requestState": "s",
            "inputResponses": {"k": {"action": "accept"}},
            "vendorThing": [1],
        },
        meta={"progressToken": 4},
    )


@pytest.mark.parametrize(
    ("method", "params", "kind", "name", "arguments", "rest"),
    [
        (
            "resources/read",
            {"uri": "file:///a", "x": 1},
            ActionKind.READ_RESOURCE,
            "file:///a",
            {},
            {"x": 1},
        ),
        ("resources/subscribe", {"uri": "u:x"}, ActionKind.SUBSCRIBE, "u:x", {}, {}),
        ("resources/unsubscribe", {"uri": "u:x"}, ActionKind.SUBSCRIBE, "u:x", {}, {}),
        (
            "prompts/get",
            {"name": "p", "arguments": {"a": "b"}},
            ActionKind.GET_PROMPT,
            "p",
            {"a": "b"},
            {},
        ),
        (
            "completion/complete",
            {
                "ref": {"type": "ref/resource", "uri": "f:///{x}", "more": 1},
                "argument": {"name": "x", "value": "v"},
                "context": {"arguments": {"y": "z"}},
                "extra": 2,
            },
            ActionKind.COMPLETE,
            "f:///{x}",
            {"argument": {"name": "x", "value": "v"}, "context": {"arguments": {"y": "z"}}},
            {"ref": {"type": "ref/resource", "more": 1}, "extra": 2},
        ),
        (
            "subscriptions/listen",
            {"notifications": {"resourceSubscriptions": ["u:x"], "toolsListChanged": True}},
            ActionKind.SUBSCRIBE,
            "subscriptions/listen",
            {"resourceSubscriptions": ["u:x"], "toolsListChanged": True},
            {},
        ),
        (
            "logging/setLevel",
            {"level": "info"},
            ActionKind.NOTIFY,
            "logging/setLevel",
            {"level": "info"},
            {},
        ),
        ("tools/list", {"cursor": "c"}, ActionKind.LIST, "tools/list", {}, {"cursor": "c"}),
        ("tasks/list", {}, ActionKind.LIST, "tasks/list", {}, {}),
        ("tasks/get", {"taskId": "t"}, ActionKind.TASK, "t", {}, {}),
        (
            "tasks/update",
            {"taskId": "t", "inputResponses": {"k": {"roots": []}}},
            ActionKind.TASK,
            "t",
            {},
            {"inputResponses": {"k": {"roots": []}}},
        ),
    ],
)
def test_each_method_becomes_its_action_and_the_same_message_again(  # noqa: PLR0917 -- columns
    method: str,
    params: dict[str, Any],
    kind: ActionKind,
    name: str,
    arguments: dict[str, Any],
    rest: dict[str, Any],
) -> None:
    action = _action(method, **params)
    assert (action.kind, action.name, action.arguments, action.params) == (
        kind,
        name,
        arguments,
        rest,
    )
    assert to_message(action) == (method, params)


def test_a_notification_is_judged_whole() -> None:
    action = to_action(
        Notification(
            method="notifications/progress", params={"progressToken": 1, "message": "leak"}
        ),
        upstream="up",
    )
    assert action.kind is ActionKind.NOTIFY
    assert action.arguments == {"progressToken": 1, "message": "leak"}
    assert to_message(action) == ("notifications/progress", action.arguments)


def test_absent_arguments_are_sent_as_an_empty_object() -> None:
    assert to_message(_action("tools/call", name="t")) == (
        "tools/call",
        {"name": "t", "arguments": {}},
    )


def test_nothing_beside_the_judged_name_can_replace_it() -> None:
    action = Action(
        kind=ActionKind.CALL_TOOL,
        upstream="up",
        name="safe",
        method="tools/call",
        params={"name": "evil", "arguments": {"x": 1}},
    )
    assert to_message(action)[1] == {"name": "safe", "arguments": {}}


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {}),
        ("tools/call", {"name": ""}),
        ("tools/call", {"name": None}),
        ("tools/call", {"name": ["a"]}),
        ("tools/call", {"name": "x" * 4097}),
        ("tools/call", {"name": "a", "arguments": None}),
        ("tools/call", {"name": "a", "arguments": []}),
        ("tools/call", {"name": "a", "task": 1}),
        ("tools/call", {"name": "a", "inputResponses": []}),
        ("tools/call", {"name": "a", "inputResponses": {"k": "v"}}),
        ("tools/call", {"name": "a", "requestState": {}}),
        ("tools/call", {"name": "a", "_meta": []}),
        ("tools/call", {"name": "a", "_meta": None}),
        ("resources/read", {"uri": 1}),
        ("tools/list", {"cursor": 1}),
        ("tasks/get", {"taskId": 1}),
        ("completion/complete", {}),
        ("completion/complete", {"ref": {}}),
        ("completion/complete", {"ref": {"type": "ref/other", "name": "x"}}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "uri": "x"}}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "x", "uri": "y"}}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "x"}, "argument": "v"}),
        ("subscriptions/listen", {}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": "u"}}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": [1]}}),
        ("subscriptions/listen", {"notifications": {"taskIds": [None]}}),
    ],
)
def test_params_that_are_not_the_methods_are_refused(method: str, params: dict[str, Any]) -> None:
    with pytest.raises(MalformedMessage) as caught:
        to_action(Request(id="q", method=method, params=params), upstream="up")
    assert caught.value.rpc_code == -32602
    assert caught.value.request_id == "q"


@pytest.mark.parametrize("method", ["initialize", "ping", "server/discover", "made/up", ""])
def test_what_midflight_answers_itself_or_does_not_know_is_no_action(method: str) -> None:
    with pytest.raises(UnknownMethod):
        _action(method)
    with pytest.raises(UnknownMethod):
        to_action(Notification(method="notifications/cancelled"), upstream="up")


def test_an_answer_is_an_action_of_its_own() -> None:
    action = to_answer(
        "elicitation/create",
        {"action": "accept", "content": {"card": "1"}, "_meta": {"x": 1}},
        upstream="up",
    )
    assert action == Action(
        kind=ActionKind.ANSWER,
        upstream="up",
        name="elicitation/create",
        method="elicitation/create",
        arguments={"action": "accept", "content": {"card": "1"}},
    )
    assert to_message(action)[1] == action.arguments


def test_the_answers_inside_a_retry_are_actions_too() -> None:
    action = _action(
        "tools/call",
        name="t",
        inputResponses={
            "a": {"action": "accept", "content": {"k": "v"}},
            "b": {"roots": [{"uri": "file:///"}]},
            "c": {"role": "assistant", "content": {"type": "text", "text": "x"}, "model": "m"},
        },
    )
    assert [(a.kind, a.name) for a in answers_in(action)] == [
        (ActionKind.ANSWER, "elicitation/create"),
        (ActionKind.ANSWER, "roots/list"),
        (ActionKind.ANSWER, "sampling/createMessage"),
    ]
    assert answers_in(_action("tools/call", name="t")) == []


def test_decoding_leaves_the_message_as_it_was() -> None:
    params = {"name": "t", "arguments": {"a": 1}, "_meta": {"progressToken": 1}, "x": 1}
    kept = {**params}
    to_action(Request(id=1, method="tools/call", params=params), upstream="up")
    assert params == kept
