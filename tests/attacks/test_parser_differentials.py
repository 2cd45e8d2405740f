"""Abuse of parsers that disagree: what is judged must be what runs.

Each attack sends one message that two parsers would read differently, or a header that says
something other than the body. Each ends in `Malformed`, with the request's id where it could be
read, or in a value that means the same to everybody.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from midflight.domain.action import Action, digest
from midflight.domain.errors import Malformed
from midflight.wire import json, jsonrpc
from midflight.wire.jsonrpc import Request
from midflight.wire.lookalikes import ambiguous_argument
from midflight.wire.malformed import MalformedMessage, UnknownMethod
from midflight.wire.mcp import meta
from midflight.wire.mcp.actions import to_action, to_message
from midflight.wire.mcp.headers import check_modern
from midflight.wire.mcp.methods import from_client


def _act(raw: bytes) -> Action:
    message = jsonrpc.decode_message(raw)
    assert not isinstance(message, jsonrpc.Response)
    return to_action(message, upstream="up")


@pytest.mark.parametrize(
    "params",
    [
        b'{"name":"read","name":"delete"}',
        b'{"name":"read","\\u006eame":"delete"}',
        b'{"name":"read","n\\u0061me":"delete","arguments":{}}',
        b'{"name":"read","arguments":{"path":"/tmp","path":"/etc/shadow"}}',
        b'{"name":"read","arguments":{"path":"/tmp","\\u0070ath":"/etc/shadow"}}',
        b'{"name":"read","arguments":{"o":[{"a":1,"b":{"c":1,"c":2}}]}}',
        b'{"name":"read","_meta":{"progressToken":1,"progressToken":2}}',
    ],
)
def test_duplicate_keys_do_not_choose_another_tool_or_argument(params: bytes) -> None:
    raw = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + params + b"}"
    with pytest.raises(Malformed, match="same key twice"):
        _act(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call"}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","PARAMS":{"name":"rm"}}',
        b'{"jsonrpc":"2.0","id":1,"ID":2,"method":"tools/list"}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/list","ｍethod":"tools/call"}'.encode(),
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","method\\u0000":"tools/call"}',
    ],
)
def test_a_second_method_in_disguise_does_not_get_through(raw: bytes) -> None:
    with pytest.raises(Malformed):
        jsonrpc.decode_message(raw)


@pytest.mark.parametrize(
    "member", ["Name", "NAME", "nAme", "ARGUMENTS", "taſk", "TASKid", "tasKId", "_META", "Cursor"]
)
def test_case_folded_params_do_not_reach_a_server_that_folds_case(member: str) -> None:
    request = Request(id=4, method="tools/call", params={"name": "read", member: "delete"})
    with pytest.raises(MalformedMessage, match="would take for") as caught:
        to_action(request, upstream="up")
    assert (caught.value.rpc_code, caught.value.request_id) == (-32602, 4)


_SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "task": {"type": "object", "properties": {"kind": {"type": "string"}}},
        "env": {"type": "object"},
    },
}


@pytest.mark.parametrize(
    "arguments",
    [
        {"Path": "/etc/shadow"},
        {"path": "/tmp", "PATH": "/etc/shadow"},
        {"taſk": {}},
        {"task": {"Kind": "x"}},
        {"task": {"\u212aind": "x"}},
    ],
)
def test_arguments_that_fold_to_a_declared_one_are_named_before_policy_sees_none(
    arguments: dict[str, Any],
) -> None:
    assert ambiguous_argument(arguments, _SCHEMA) is not None


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"path": "/tmp"},
        {"path": "/tmp", "other": 1},
        {"env": {"PATH": "a", "path": "b"}},
        {"task": {"kind": "x"}},
        {"task": "x"},
    ],
)
def test_honest_arguments_are_not_ambiguous(arguments: dict[str, Any]) -> None:
    assert ambiguous_argument(arguments, _SCHEMA) is None
    assert ambiguous_argument(arguments, None) is None


_META = {meta.PROTOCOL_VERSION: "2026-07-28", meta.CLIENT_CAPABILITIES: {}}


def _checked(method: str, name: bytes, params: dict[str, Any], **more: Any) -> int:
    found = {
        b"mcp-protocol-version": [b"2026-07-28"],
        b"mcp-method": [method.encode()],
        b"mcp-name": [name],
        **more.pop("headers", {}),
    }
    request = Request(
        id=1, method=more.pop("body_method", method), params={**params, "_meta": _META}
    )
    with pytest.raises(MalformedMessage) as caught:
        check_modern(found, request, tool_schema=more.pop("schema", None))
    return caught.value.rpc_code


def test_a_proxy_that_routes_on_a_header_and_a_server_that_runs_the_body_agree() -> None:
    assert _checked("tools/call", b"read", {"name": "delete"}) == -32020
    assert _checked("tools/list", b"read", {"name": "delete"}, body_method="tools/call") == -32020
    assert (
        _checked("tools/call", b"", {"name": "x"}, headers={b"mcp-name": [b"x", b"delete"]})
        == -32020
    )


@pytest.mark.parametrize(
    "name",
    [
        b"=?base64?ZGVsZXRl?=",  # says delete, the body says read
        b"=?base64?cmVhZA?=",  # unpadded: lax decoders read it, strict ones do not
        b"=?base64?cmVhZB==?=",  # stray bits: decodes to read in lax decoders
        b"=?base64?cm VhZA==?=",
        b"=?base64?cmVhZA==\n?=",
        b"=?BASE64?cmVhZA==?=",  # markers are case-sensitive: this is a plain value
        b"=?base64?cmVhZA==?= ,delete",
        b"=?base64?=?base64?cmVhZA==?=?=",
        b"read\x00",
        b"read\r\nX: y",
        b"re\xc3\xa4d",
        b'"read"',
        b"read,delete",
    ],
)
def test_a_name_smuggled_through_the_base64_form_is_a_mismatch(name: bytes) -> None:
    assert _checked("tools/call", name, {"name": "read"}) == -32020


def test_a_literal_that_looks_encoded_cannot_stand_for_what_it_encodes() -> None:
    literal = "=?base64?cmVhZA==?="
    # The header decodes to "read"; a body that holds the literal itself is another tool.
    assert _checked("tools/call", literal.encode(), {"name": literal}) == -32020


def test_an_argument_smuggled_past_a_filter_on_its_header_is_a_mismatch() -> None:
    schema = {"properties": {"tenant": {"type": "string", "x-mcp-header": "Tenant"}}}
    for header in ([b"mine"], [b"theirs", b"mine"], [b"=?base64?bWluZQ==?="], []):
        headers = {b"mcp-param-tenant": header} if header else {}
        assert (
            _checked(
                "tools/call",
                b"t",
                {"name": "t", "arguments": {"tenant": "theirs"}},
                schema=schema,
                headers=headers,
            )
            == -32020
        )


@pytest.mark.parametrize("method", ["tools/Call", "tools/call ", "tools//call", "rpc.call", "Ping"])
def test_methods_are_compared_exactly(method: str) -> None:
    with pytest.raises(UnknownMethod):
        from_client(Request(id=1, method=method))


def test_a_notification_cannot_carry_a_call_and_a_request_cannot_hide_as_one() -> None:
    with pytest.raises(UnknownMethod):
        _act(b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"delete"}}')
    with pytest.raises(UnknownMethod):
        _act(b'{"jsonrpc":"2.0","id":1,"method":"notifications/progress","params":{}}')
    with pytest.raises(Malformed):
        jsonrpc.decode_message(b'{"jsonrpc":"2.0","id":null,"method":"tools/call"}')


@pytest.mark.parametrize("depth", [65, 900, 1_100, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused_and_never_exhausts_the_stack(
    depth: int, opening: bytes, closing: bytes
) -> None:
    for raw in (opening * depth + b"1" + closing * depth, opening * depth):
        with pytest.raises(Malformed):
            json.decode(raw)


def test_deep_nesting_is_refused_from_deep_inside_the_program_too() -> None:
    def descend(levels: int) -> None:
        if levels:
            descend(levels - 1)
            return
        with pytest.raises(Malformed):
            json.decode(b"[" * 500 + b"]" * 500)

    descend(sys.getrecursionlimit() // 2)


@pytest.mark.parametrize(
    "number",
    [b"1" + b"0" * 400, b"9" * 100_000, b"-" + b"9" * 400, b"1e400", b"1" + b"0" * 400 + b".0"],
)
def test_numbers_beyond_every_parser_are_refused(number: bytes) -> None:
    raw = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":'
    with pytest.raises(Malformed):
        _act(raw + b'{"amount":' + number + b"}}}")


def test_keys_that_are_special_elsewhere_are_plain_data_here() -> None:
    raw = (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":'
        b'{"__proto__":{"admin":true},"constructor":1,"__class__":"x","$ref":"#"}}}'
    )
    action = _act(raw)
    assert action.arguments["__proto__"] == {"admin": True}
    assert to_message(action)[1]["arguments"] == action.arguments
    assert not hasattr(action, "admin")


def test_unknown_metadata_never_leaves() -> None:
    raw = (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":'
        b'{"com.evil/stolen":"the secret","baggage":"k=the secret","progressToken":1,'
        b'"traceparent":"the secret","tracestate":"the secret"}}}'
    )
    method, params = to_message(_act(raw))
    assert params["_meta"] == {"progressToken": 1}
    assert b"secret" not in jsonrpc.encode_request(1, method, params)


def test_unknown_params_are_judged_not_lost_and_not_slipped_through() -> None:
    def of(extra: bytes) -> Action:
        return _act(
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","extra":'
            + extra
            + b"}}"
        )

    assert of(b"1").params == {"extra": 1}
    digests = {digest(of(raw), run="r", salt="s", pin=None) for raw in (b"1", b"2", b"1.0", b"[]")}
    assert len(digests) == 4


def test_the_callers_bytes_are_never_forwarded() -> None:
    raw = (
        b' { "jsonrpc" : "2.0", "method" : "tools\\/call", "id" : 1,\n "params" : {"arguments":'
        b' {"n": 1.50, "e": 1E2, "s": "\\u0041"}, "name" : "t"} } '
    )
    method, params = to_message(_act(raw))
    assert jsonrpc.encode_request(9, method, params) == (
        b'{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"t","arguments":'
        b'{"n":1.5,"e":100.0,"s":"A"}}}'
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1"])
def test_other_encodings_are_refused(encoding: str) -> None:
    text = '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"é":1}}'
    with pytest.raises(Malformed):
        jsonrpc.decode_message(text.encode(encoding))
