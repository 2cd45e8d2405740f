"""Shapes between the generations, held against the official SDK's models of each version."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from mcp_types import methods as sdk
from pydantic import TypeAdapter

from midflight.domain.errors import UpstreamBroken
from midflight.wire.mcp import capabilities, translate
from midflight.wire.mcp.versions import MODERN

_INFO = {"name": "midflight", "version": "0.1.0"}
_TOOL = {"name": "t", "inputSchema": {"type": "object", "$defs": {"x": {"type": "string"}}}}
_LEGACY_RESULTS: dict[str, dict[str, Any]] = {
    "tools/list": {"tools": [{**_TOOL, "vendor": 1}], "nextCursor": "c"},
    "tools/call": {"content": [{"type": "text", "text": "x"}], "isError": False, "vendor": [1]},
    "resources/list": {"resources": [{"uri": "f:///a", "name": "a"}]},
    "resources/templates/list": {"resourceTemplates": []},
    "resources/read": {"contents": [{"uri": "f:///a", "text": "x"}]},
    "prompts/list": {"prompts": [{"name": "p"}]},
    "prompts/get": {
        "messages": [{"role": "user", "content": {"type": "text", "text": "x"}}],
    },
    "completion/complete": {"completion": {"values": ["a"]}},
}


def _validates(method: str, version: str, result: dict[str, Any]) -> bool:
    model = TypeAdapter(sdk.SERVER_RESULTS[(method, version)])
    model.validate_python(result, strict=False)
    return True


@pytest.mark.parametrize("method", sorted(_LEGACY_RESULTS))
@pytest.mark.parametrize("private", [True, False])
def test_a_legacy_result_becomes_a_modern_one_that_the_sdk_accepts(
    method: str, private: bool
) -> None:
    legacy = _LEGACY_RESULTS[method]
    before = copy.deepcopy(legacy)
    modern = translate.result_for_modern(method, legacy, server_info=_INFO, private=private)
    assert legacy == before
    assert modern["resultType"] == "complete"
    assert modern["_meta"]["io.modelcontextprotocol/serverInfo"] == _INFO
    assert {k: v for k, v in modern.items() if k in legacy} == legacy
    assert ("ttlMs" in modern) == (method in sdk.CACHEABLE_METHODS)
    assert _validates(method, MODERN, modern)


@pytest.mark.parametrize("method", sorted(_LEGACY_RESULTS))
def test_there_and_back_is_the_same_result(method: str) -> None:
    legacy = _LEGACY_RESULTS[method]
    modern = translate.result_for_modern(method, legacy, server_info=_INFO, private=True)
    back = translate.result_for_legacy(method, modern)
    assert back == legacy
    assert _validates(method, "2025-11-25", back)
    assert _validates(method, "2025-06-18", back)


@pytest.mark.parametrize(
    ("given", "private", "ttl", "scope"),
    [
        ({}, True, 5_000, "private"),
        ({}, False, 0, "private"),
        ({"ttlMs": 3_600_000, "cacheScope": "public"}, True, 5_000, "private"),
        ({"ttlMs": 3_600_000, "cacheScope": "public"}, False, 3_600_000, "public"),
        ({"ttlMs": -1, "cacheScope": "world"}, False, 0, "private"),
        ({"ttlMs": True}, True, 5_000, "private"),
        ({"ttlMs": 10}, True, 10, "private"),
        ({"ttlMs": 1.5}, False, 0, "private"),
    ],
)
def test_what_was_filtered_for_a_caller_is_never_shared_or_kept_long(
    given: dict[str, Any], private: bool, ttl: int, scope: str
) -> None:
    result = translate.result_for_modern(
        "tools/list", {"tools": [], **given}, server_info=None, private=private
    )
    assert (result["ttlMs"], result["cacheScope"]) == (ttl, scope)


def test_interim_results_carry_no_caching_hints() -> None:
    asked = translate.input_required({"k": {"method": "roots/list", "params": {}}}, "state")
    shaped = translate.result_for_modern("resources/read", asked, server_info=_INFO, private=True)
    assert "ttlMs" not in shaped
    assert "cacheScope" not in shaped
    assert shaped["resultType"] == "input_required"
    assert _validates("resources/read", MODERN, shaped)


@pytest.mark.parametrize("kind", ["task", "input_required"])
def test_what_has_no_legacy_form_is_never_passed_off_as_a_result(kind: str) -> None:
    with pytest.raises(UpstreamBroken):
        translate.result_for_legacy("tools/call", {"resultType": kind, "taskId": "t"})


def test_structured_content_that_legacy_clients_refuse_becomes_text() -> None:
    shaped = translate.result_for_legacy(
        "tools/call", {"resultType": "complete", "content": [], "structuredContent": [1, "é"]}
    )
    assert shaped == {"content": [{"type": "text", "text": '[1,"é"]'}]}
    kept = {"content": [], "structuredContent": {"a": 1}}
    assert translate.result_for_legacy("tools/call", kept) == kept


def test_output_schemas_that_legacy_clients_refuse_are_left_out_of_the_list() -> None:
    listed = {
        "tools": [
            {**_TOOL, "outputSchema": {"type": "array"}},
            {**_TOOL, "outputSchema": {"type": "object"}},
        ]
    }
    assert translate.result_for_legacy("tools/list", listed)["tools"] == [
        _TOOL,
        {**_TOOL, "outputSchema": {"type": "object"}},
    ]


@pytest.mark.parametrize(
    ("version", "method", "code", "data", "expected"),
    [
        (MODERN, "resources/read", -32002, {"uri": "x"}, -32602),
        ("2025-11-25", "resources/read", -32602, {"uri": "x"}, -32002),
        ("2025-11-25", "resources/read", -32602, None, -32602),
        ("2025-11-25", "tools/call", -32602, {"uri": "x"}, -32602),
        ("2025-11-25", "resources/read", -32002, {"uri": "x"}, -32002),
        (MODERN, "tools/call", -32042, {}, -32603),
        ("2025-11-25", "tools/call", -32042, {}, -32042),
        (MODERN, "tools/call", -32021, {}, -32021),
        ("2025-11-25", "tools/call", -32021, {}, -32602),
        (MODERN, "tools/call", -32020, {}, -32603),
        ("2025-11-25", "tools/call", -32022, {}, -32603),
        (MODERN, "tools/call", -32601, None, -32601),
        (MODERN, "tools/call", 7, None, 7),
    ],
)
def test_error_codes_are_those_of_the_clients_version(
    version: str, method: str, code: int, data: Any, expected: int
) -> None:
    error = {"code": code, "message": "m", **({} if data is None else {"data": data})}
    assert translate.error_for(version, error, method=method)["code"] == expected
    assert error["code"] == code


def test_greetings_are_what_the_sdk_accepts() -> None:
    found = translate.discover_result(
        capabilities={"tools": {"listChanged": True}}, server_info=_INFO, instructions="Be kind."
    )
    assert _validates("server/discover", MODERN, found)
    assert found["supportedVersions"][0] == MODERN
    assert found["cacheScope"] == "private"
    opened = translate.initialize_result(
        version="2025-06-18", capabilities={"tools": {}}, server_info=_INFO
    )
    assert _validates("initialize", "2025-06-18", opened)
    assert "instructions" not in opened


def test_tasks_are_declared_only_within_a_generation() -> None:
    legacy = {"tools": {}, "logging": {}, "tasks": {"list": {}}, "vendor": {"x": 1}}
    assert translate.capabilities_for_modern(legacy) == {
        "tools": {},
        "logging": {},
        "vendor": {"x": 1},
    }
    assert translate.capabilities_for_legacy(legacy, upstream_modern=False) == legacy
    modern = {
        "tools": {},
        "extensions": {"io.modelcontextprotocol/tasks": {}, "io.modelcontextprotocol/ui": {}},
    }
    assert translate.capabilities_for_modern(modern, upstream_modern=True) == modern
    assert translate.capabilities_for_legacy(modern) == {
        "tools": {},
        "extensions": {"io.modelcontextprotocol/ui": {}},
    }
    assert (
        translate.capabilities_for_legacy({"extensions": {"io.modelcontextprotocol/tasks": {}}})
        == {}
    )


def test_the_aggregate_can_do_what_one_of_its_upstreams_can() -> None:
    assert translate.merged_capabilities(
        [
            {"tools": {"listChanged": False}, "resources": {"subscribe": True}},
            {"tools": {"listChanged": True}, "resources": {}, "completions": {}},
        ]
    ) == {
        "tools": {"listChanged": True},
        "resources": {"subscribe": True},
        "completions": {},
    }
    assert translate.merged_capabilities([]) == {}


def test_an_upstream_is_told_only_what_the_client_declared() -> None:
    declared = {
        "roots": {"listChanged": True},
        "elicitation": {},
        "tasks": {"list": {}},
        "extensions": {"io.modelcontextprotocol/tasks": {}},
    }
    assert translate.client_capabilities(declared, modern=True) == {
        "roots": {},
        "elicitation": {},
        "extensions": {"io.modelcontextprotocol/tasks": {}},
    }
    assert translate.client_capabilities(declared, modern=False) == {
        "roots": {"listChanged": True},
        "elicitation": {},
    }
    assert translate.client_capabilities(None, modern=True) == {}


def test_questions_cross_with_what_each_generation_needs() -> None:
    url = {"mode": "url", "message": "m", "url": "https://x.example/", "elicitationId": "e"}
    question = translate.question_for_modern("elicitation/create", {**url, "task": {"ttl": 1}})
    assert question == {
        "method": "elicitation/create",
        "params": {"mode": "url", "message": "m", "url": "https://x.example/"},
    }
    method, params = translate.question_for_legacy("k1", question)
    assert (method, params) == ("elicitation/create", {**url, "elicitationId": "k1"})
    assert translate.question_for_legacy("k", {"method": "roots/list"}) == ("roots/list", {})
    for bad in ({}, {"method": 1}, {"method": "roots/list", "params": []}):
        with pytest.raises(UpstreamBroken):
            translate.question_for_legacy("k", bad)


def test_url_elicitations_of_a_legacy_error_become_questions() -> None:
    error = {
        "code": -32042,
        "message": "m",
        "data": {"elicitations": [{"mode": "url", "url": "u", "elicitationId": "e"}, 1]},
    }
    assert translate.questions_in(error) == {
        "elicitation-1": {"method": "elicitation/create", "params": {"mode": "url", "url": "u"}}
    }
    assert translate.questions_in({"code": -32042, "message": ""}) == {}
    assert translate.questions_in({**error, "code": 1}) == {}


def test_params_of_one_generation_stay_on_their_side() -> None:
    assert translate.params_across(
        {"task": {}, "inputResponses": {}, "requestState": "s", "cursor": "c"}
    ) == {"cursor": "c"}


def test_a_notification_carries_the_subscription_it_is_delivered_on() -> None:
    key = "io.modelcontextprotocol/subscriptionId"
    params = {"uri": "u", "_meta": {key: 4, "x": 1}}
    assert translate.tagged(params, 9) == {"uri": "u", "_meta": {"x": 1, key: 9}}
    assert translate.tagged(params, None) == {"uri": "u", "_meta": {"x": 1}}
    assert translate.tagged({"uri": "u", "_meta": {key: 4}}, None) == {"uri": "u"}
    assert params["_meta"] == {key: 4, "x": 1}


def test_a_tool_that_runs_only_as_a_task_is_recognised() -> None:
    assert translate.needs_task({"execution": {"taskSupport": "required"}})
    assert not translate.needs_task({"execution": {"taskSupport": "optional"}})
    assert not translate.needs_task({"execution": 1})
    assert not translate.needs_task({})


@pytest.mark.parametrize(
    ("code", "status"),
    [(-32021, 400), (-32601, 404), (-32602, 200), (-32603, 200), (7, 200), ("-32601", 200)],
)
def test_an_upstreams_error_has_the_status_that_modern_clients_expect(
    code: Any, status: int
) -> None:
    assert translate.status_for_modern({"code": code, "message": "x"}) == status


def test_a_request_that_needs_an_extension_says_which() -> None:
    extension = "io.modelcontextprotocol/tasks"
    assert capabilities.missing_extension({"extensions": {extension: {}}}, extension) is None
    for declared in ({}, {"extensions": {}}, {"extensions": {"other": {}}}, {"extensions": None}):
        error = capabilities.missing_extension(declared, extension)
        assert error is not None
        assert error["code"] == -32021
        assert error["data"] == {"requiredCapabilities": {"extensions": {extension: {}}}}
