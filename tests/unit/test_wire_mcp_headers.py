"""Request headers of the modern generation, checked and made."""

from __future__ import annotations

from typing import Any

import pytest

from midflight.wire.jsonrpc import Request
from midflight.wire.malformed import MalformedMessage
from midflight.wire.mcp import headers, meta
from midflight.wire.mcp.headers import check_modern, for_upstream, valid_param_headers

_META = {
    meta.PROTOCOL_VERSION: "2026-07-28",
    meta.CLIENT_CAPABILITIES: {},
}
_SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry"},
        "deep": {
            "type": "object",
            "properties": {"id": {"type": "string", "x-mcp-header": "Deep-Id"}},
        },
        "query": {"type": "string"},
    },
}


def _request(method: str = "tools/call", **params: Any) -> Request:
    return Request(id=8, method=method, params={"_meta": _META, **params})


def _headers(
    method: str = "tools/call", name: str | None = "run", **more: str
) -> dict[bytes, list[bytes]]:
    made = {b"mcp-protocol-version": [b"2026-07-28"], b"mcp-method": [method.encode()]}
    if name is not None:
        made[b"mcp-name"] = [name.encode()]
    for key, value in more.items():
        made[key.replace("_", "-").lower().encode()] = [value.encode()]
    return made


def _code(found: dict[bytes, list[bytes]], request: Request, schema: Any = None) -> int:
    with pytest.raises(MalformedMessage) as caught:
        check_modern(found, request, tool_schema=schema)
    assert caught.value.request_id == request.id
    return caught.value.rpc_code


def test_headers_that_mirror_the_body_pass() -> None:
    check_modern(_headers(), _request(name="run"), tool_schema=None)
    check_modern(
        _headers("resources/read", "file:///a b"),
        _request("resources/read", uri="file:///a b"),
        tool_schema=None,
    )
    check_modern(_headers("tools/list", None), _request("tools/list"), tool_schema=None)
    check_modern(_headers("tasks/get", "t1"), _request("tasks/get", taskId="t1"), tool_schema=None)
    check_modern(_headers("tasks/get", None), _request("tasks/get", taskId="t1"), tool_schema=None)


def test_white_space_around_a_header_is_not_part_of_it() -> None:
    found = _headers()
    found[b"mcp-name"] = [b" \trun \t"]
    check_modern(found, _request(name="run"), tool_schema=None)


@pytest.mark.parametrize("header", [b"mcp-protocol-version", b"mcp-method", b"mcp-name"])
@pytest.mark.parametrize(
    "values", [[], [b"x"], [b""], [b"run\xff"], [b"r\x01n"], [b"Run"], [b"TOOLS/CALL"]]
)
def test_a_required_header_that_is_missing_or_different_is_a_mismatch(
    header: bytes, values: list[bytes]
) -> None:
    found = {**_headers(), header: values}
    if not values:
        del found[header]
    assert _code(found, _request(name="run")) == -32020


@pytest.mark.parametrize("header", [b"mcp-protocol-version", b"mcp-method", b"mcp-name"])
def test_a_header_that_is_there_twice_is_a_mismatch_even_if_both_agree(header: bytes) -> None:
    found = _headers()
    found[header] = found[header] * 2
    assert _code(found, _request(name="run")) == -32020


def test_a_task_that_is_named_must_be_the_one_of_the_body() -> None:
    assert _code(_headers("tasks/cancel", "other"), _request("tasks/cancel", taskId="t")) == -32020


@pytest.mark.parametrize(
    "carried",
    [
        None,
        [],
        {},
        {meta.PROTOCOL_VERSION: "2026-07-28"},
        {meta.CLIENT_CAPABILITIES: {}},
        {meta.PROTOCOL_VERSION: 1, meta.CLIENT_CAPABILITIES: {}},
        {meta.PROTOCOL_VERSION: "2026-07-28", meta.CLIENT_CAPABILITIES: []},
    ],
)
def test_a_request_without_its_required_metadata_has_invalid_params(carried: object) -> None:
    request = Request(id=8, method="tools/list", params={"_meta": carried})
    assert _code(_headers("tools/list", None), request) == -32602
    assert _code(_headers("tools/list", None), Request(id=8, method="tools/list")) == -32602


def test_a_version_that_is_not_spoken_names_those_that_are() -> None:
    request = Request(
        id=8,
        method="tools/list",
        params={"_meta": {**_META, meta.PROTOCOL_VERSION: "1900-01-01"}},
    )
    found = _headers("tools/list", None)
    found[b"mcp-protocol-version"] = [b"1900-01-01"]
    with pytest.raises(MalformedMessage) as caught:
        check_modern(found, request, tool_schema=None)
    assert caught.value.rpc_code == -32022
    assert caught.value.data == {
        "supported": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"],
        "requested": "1900-01-01",
    }


def test_a_client_that_disagrees_with_itself_is_told_so_before_its_version_is_judged() -> None:
    request = Request(
        id=8,
        method="tools/list",
        params={"_meta": {**_META, meta.PROTOCOL_VERSION: "1900-01-01"}},
    )
    assert _code(_headers("tools/list", None), request) == -32020


_ARGUMENTS = {"region": "eu", "count": 42, "dry": True, "deep": {"id": "ü"}, "query": "q"}
_PARAMS = {
    "mcp_param_region": "eu",
    "mcp_param_count": "42",
    "mcp_param_dry": "true",
    "mcp_param_deep_id": "=?base64?w7w=?=",
}


def test_mirrored_arguments_that_agree_pass() -> None:
    check_modern(
        _headers(**_PARAMS), _request(name="run", arguments=_ARGUMENTS), tool_schema=_SCHEMA
    )
    check_modern(_headers(), _request(name="run"), tool_schema=_SCHEMA)
    check_modern(_headers(), _request(name="run", arguments={"region": None}), tool_schema=_SCHEMA)


@pytest.mark.parametrize("text", ["42", "42.0", "42.000", "0042", "=?base64?NDI=?="])
def test_integers_compare_as_numbers(text: str) -> None:
    for count in (42, 42.0):
        check_modern(
            _headers(mcp_param_count=text),
            _request(name="run", arguments={"count": count}),
            tool_schema=_SCHEMA,
        )


@pytest.mark.parametrize(
    ("header", "value", "arguments"),
    [
        ("mcp_param_region", "us", {"region": "eu"}),
        ("mcp_param_region", "EU", {"region": "eu"}),
        ("mcp_param_region", "eu", {}),
        ("mcp_param_region", "eu", {"region": None}),
        ("mcp_param_region", "null", {"region": None}),
        ("mcp_param_region", "[]", {"region": []}),
        ("mcp_param_count", "41", {"count": 42}),
        ("mcp_param_count", "42.5", {"count": 42}),
        ("mcp_param_count", "4.2e1", {"count": 42}),
        ("mcp_param_count", "0x2a", {"count": 42}),
        ("mcp_param_count", "٤٢", {"count": 42}),
        ("mcp_param_count", "42", {"count": 42.5}),
        ("mcp_param_count", "1", {"count": True}),
        ("mcp_param_count", "9007199254740993", {"count": 9007199254740993}),
        ("mcp_param_count", "9" * 5000, {"count": 9}),
        ("mcp_param_dry", "True", {"dry": True}),
        ("mcp_param_dry", "1", {"dry": True}),
        ("mcp_param_deep_id", "x", {"deep": "x"}),
        ("mcp_param_region", "=?base64?ZXU?=", {"region": "eu"}),
        ("mcp_param_region", "=?base64?ZXV=?=", {"region": "eu"}),
        ("mcp_param_region", "=?base64?Z X U=?=", {"region": "eu"}),
        ("mcp_param_region", "=?base64?/w==?=", {"region": "ÿ"}),
    ],
)
def test_a_mirrored_argument_that_differs_is_a_mismatch(
    header: str, value: str, arguments: dict[str, Any]
) -> None:
    found = _headers(**{header: value})
    assert _code(found, _request(name="run", arguments=arguments), _SCHEMA) == -32020


def test_a_marked_argument_without_its_header_or_with_two_is_a_mismatch() -> None:
    request = _request(name="run", arguments={"region": "eu"})
    assert _code(_headers(), request, _SCHEMA) == -32020
    found = _headers()
    found[b"mcp-param-region"] = [b"eu", b"eu"]
    assert _code(found, request, _SCHEMA) == -32020


def test_param_headers_that_no_schema_knows_are_ignored() -> None:
    check_modern(
        _headers(mcp_param_other="x"), _request(name="run", arguments={}), tool_schema=_SCHEMA
    )
    check_modern(_headers(mcp_param_region="x"), _request(name="run"), tool_schema=None)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": "string", "x-mcp-header": ""}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "a b"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "a\r\nX-Evil: 1"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "é"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "a\n"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": 1}}},
        {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": "object", "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": ["string", "null"], "x-mcp-header": "A"}}},
        {"properties": {"a": {"x-mcp-header": "A"}}},
        {"x-mcp-header": "A", "type": "string"},
        {
            "properties": {
                "a": {"type": "string", "x-mcp-header": "A"},
                "b": {"properties": {"c": {"type": "string", "x-mcp-header": "a"}}},
            }
        },
        {"properties": {"a": {"items": {"type": "string", "x-mcp-header": "A"}}}},
        {"$defs": {"a": {"type": "string", "x-mcp-header": "A"}}},
        {"allOf": [{"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}]},
        {"if": {"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}},
        {"patternProperties": {"a": {"type": "string", "x-mcp-header": "A"}}},
        {"additionalProperties": {"type": "string", "x-mcp-header": "A"}},
    ],
)
def test_an_annotation_that_breaks_the_rules_makes_the_tool_unlistable(schema: Any) -> None:
    assert valid_param_headers(schema) is not None
    assert for_upstream("tools/call", {"name": "t", "arguments": {"a": "1"}}, "2026-07-28", schema)
    assert not [
        name
        for name, _ in for_upstream(
            "tools/call", {"name": "t", "arguments": {"a": "1"}}, "2026-07-28", schema
        )
        if name.startswith("Mcp-Param")
    ]


@pytest.mark.parametrize(
    "schema",
    [
        _SCHEMA,
        {},
        None,
        True,
        {"properties": {"x-mcp-header": {"type": "string"}}},
        {"properties": {"a": {"default": {"x-mcp-header": "A"}, "type": "object"}}},
        {"properties": {"a": {"enum": [{"x-mcp-header": "A"}]}}},
    ],
)
def test_annotations_that_keep_the_rules_and_mere_data_are_valid(schema: Any) -> None:
    assert valid_param_headers(schema) is None


def test_headers_made_for_an_upstream_are_those_a_server_expects() -> None:
    assert for_upstream(
        "tools/call", {"name": "grüße", "arguments": _ARGUMENTS}, "2026-07-28", _SCHEMA
    ) == [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "=?base64?Z3LDvMOfZQ==?="),
        ("Mcp-Param-Deep-Id", "=?base64?w7w=?="),
        ("Mcp-Param-Dry", "true"),
        ("Mcp-Param-Count", "42"),
        ("Mcp-Param-Region", "eu"),
    ]
    assert for_upstream("tools/list", {}, "2026-07-28", None) == [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/list"),
    ]


def test_legacy_upstreams_get_the_version_header_where_it_exists() -> None:
    call = ("tools/call", {"name": "t"})
    assert for_upstream(*call, "2025-11-25", _SCHEMA) == [("MCP-Protocol-Version", "2025-11-25")]
    assert for_upstream(*call, "2025-03-26", _SCHEMA) == []
    assert headers.unsupported("x").rpc_code == -32022
