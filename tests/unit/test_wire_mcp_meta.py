"""`_meta`: what passes, in which shape, and that nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from midflight.wire.malformed import MalformedMessage
from midflight.wire.mcp import meta

_TRACE = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"


def test_protocol_fields_and_valid_trace_context_pass() -> None:
    carried: dict[str, Any] = {
        "progressToken": "p",
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
        "io.modelcontextprotocol/logLevel": "debug",
        "io.modelcontextprotocol/related-task": {"taskId": "t"},
        "traceparent": _TRACE,
        "tracestate": "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7, 1a-_*/@sys=x",
    }
    assert meta.passed(carried) == carried


@pytest.mark.parametrize(
    "key",
    [
        "baggage",
        "com.example/secret",
        "ProgressToken",
        "Traceparent",
        "io.modelcontextprotocol/other",
        "io.modelcontextprotocol/subscriptionId",
        "IO.modelcontextprotocol/logLevel",
        "__proto__",
        "",
    ],
)
def test_every_other_key_is_dropped(key: str) -> None:
    assert meta.passed({key: {"free": "text"}, "progressToken": 1}) == {"progressToken": 1}


@pytest.mark.parametrize(
    "value",
    [
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        _TRACE.upper(),
        _TRACE + "-more",
        _TRACE + "\n",
        "01-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
        "x",
        1,
        None,
    ],
)
def test_an_invalid_traceparent_is_dropped(value: object) -> None:
    assert meta.passed({"traceparent": value}) == {}


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a",
        "A=1",
        "a=1,,b=2",
        "a=\n",
        "a=1\n",
        "a=b=c",
        "a=" + "x" * 600,
        ",".join(f"k{i}=v" for i in range(33)),
        1,
        None,
    ],
)
def test_an_invalid_tracestate_is_dropped(value: object) -> None:
    assert meta.passed({"tracestate": value}) == {}


@pytest.mark.parametrize(
    "carried",
    [
        [],
        "x",
        None,
        {"progressToken": 1.5},
        {"progressToken": True},
        {"progressToken": None},
        {"progressToken": "x" * 257},
        {"io.modelcontextprotocol/protocolVersion": 1},
        {"io.modelcontextprotocol/clientInfo": "me"},
        {"io.modelcontextprotocol/clientCapabilities": []},
        {"io.modelcontextprotocol/logLevel": "verbose"},
        {"io.modelcontextprotocol/logLevel": ["info"]},
        {"io.modelcontextprotocol/related-task": "t"},
        {"io.modelcontextprotocol/related-task": {"taskId": 1}},
    ],
)
def test_a_protocol_field_of_the_wrong_shape_is_refused(carried: Any) -> None:
    with pytest.raises(MalformedMessage) as caught:
        meta.passed(carried)
    assert caught.value.rpc_code == -32602


def test_client_info_is_cut_to_bounded_text_without_free_members() -> None:
    info = {
        "name": "n" * 500,
        "version": "1",
        "title": "T",
        "description": "exfiltrated",
        "icons": [{"src": "https://evil.example/?q=secret"}],
    }
    assert meta.implementation(info) == {"name": "n" * 128, "version": "1", "title": "T"}
    assert meta.implementation({"name": "n"}) is None


def test_client_capabilities_are_reduced_to_what_is_defined() -> None:
    assert meta.capabilities(
        {
            "experimental": {"x": {"free": "text"}},
            "roots": {"listChanged": True, "x": "text"},
            "sampling": {"tools": {"free": "text"}, "context": {}},
            "elicitation": {"url": {}, "form": 1},
            "tasks": {"list": {}},
            "extensions": {
                "io.modelcontextprotocol/tasks": {"free": "text"},
                "io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app", 1]},
                "com.example/x": {},
            },
        }
    ) == {
        "roots": {"listChanged": True},
        "sampling": {"tools": {}, "context": {}},
        "elicitation": {"url": {}},
        "extensions": {
            "io.modelcontextprotocol/tasks": {},
            "io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]},
        },
    }
    assert meta.capabilities({}) == {}
    assert meta.capabilities({"extensions": {"com.example/x": {}}}) == {}


@pytest.mark.parametrize(
    ("level", "wanted", "reached"),
    [
        ("info", "info", True),
        ("emergency", "debug", True),
        ("debug", "info", False),
        ("info", None, False),
        ("loud", "debug", False),
        (None, "debug", False),
        ("info", "loud", False),
    ],
)
def test_logs_reach_a_request_that_wants_them(
    level: Any, wanted: str | None, reached: bool
) -> None:
    assert meta.level_reached(level, wanted) is reached
