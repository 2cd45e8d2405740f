"""Every decoder is total: any bytes give a value or `Malformed`; what is encoded decodes again."""

from __future__ import annotations

import contextlib
import json as stdlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mcp.shared import inbound as sdk

from midflight.domain.action import Action
from midflight.domain.errors import Malformed
from midflight.wire import json, jsonrpc, sse
from midflight.wire.jsonrpc import Notification, Request
from midflight.wire.malformed import MalformedMessage
from midflight.wire.mcp import header_values, meta, param_headers
from midflight.wire.mcp.actions import answers_in, to_action, to_message
from midflight.wire.mcp.headers import check_modern, for_upstream
from midflight.wire.mcp.methods import CLIENT_NOTIFICATIONS, CLIENT_REQUESTS

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
)
VALUES = st.recursive(
    _SCALARS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(_TEXT, below, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(_TEXT, VALUES, max_size=4)


def _reference(raw: bytes) -> Any:
    """What Python's parser with a duplicate hook makes of it; raises ValueError otherwise."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError("twice")
        return members

    def finite(text: str) -> float:
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError("overflow")
        return value

    def integer(text: str) -> int:
        value = int(text)
        if not -(2**63) <= value < 2**63:
            raise ValueError("range")
        return value

    def constant(text: str) -> float:
        raise ValueError(text)

    value = stdlib.loads(
        raw.decode("utf-8"),
        object_pairs_hook=unique,
        parse_float=finite,
        parse_int=integer,
        parse_constant=constant,
    )
    stdlib.dumps(value, ensure_ascii=False).encode("utf-8")  # lone surrogates are no UTF-8
    return value


def _outcome(decode: Any, raw: bytes) -> object:
    try:
        return repr(decode(raw))
    except (ValueError, Malformed):
        return Malformed


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """A valid document in some spelling, with bytes cut, doubled, swapped or replaced."""
    value = draw(VALUES)
    spelling = draw(
        st.sampled_from(
            [
                {"separators": (",", ":"), "ensure_ascii": False},
                {},
                {"indent": 1},
                {"ensure_ascii": False},
            ]
        )
    )
    raw = bytearray(stdlib.dumps(value, **spelling).encode())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        to = draw(st.integers(at, len(raw)))
        piece = draw(
            st.sampled_from(
                [b"", b'"a":1,', b"\\u0061", b"[", b"}", b"1e999", b"00", b"\\ud800", b"\xff", b","]
            )
            | st.binary(max_size=3)
            | st.just(bytes(raw[at:to]) * 2)
        )
        raw[at : draw(st.sampled_from([at, to]))] = piece
    return bytes(raw)


@given(_mutated() | st.binary(max_size=60))
@example(b'{"a":{"b":1},"a":{"b":1}}')
@example(b'{"\\u0061":1,"a":1}')
@example(b'{"a":1e5,"b":1E5}')
@example(b"[-0,-0.0,1.0e0]")
def test_decode_agrees_with_a_second_parser_on_every_document(raw: bytes) -> None:
    ours, theirs = _outcome(json.decode, raw), _outcome(_reference, raw)
    assert ours == theirs


@given(VALUES)
def test_what_is_encoded_decodes_to_an_equal_value(value: Any) -> None:
    assert repr(json.decode(json.encode(value))) == repr(value)


@given(VALUES, st.data())
def test_doubling_any_member_anywhere_is_refused(value: Any, data: st.DataObject) -> None:
    raw = stdlib.dumps({"k": value}, separators=(",", ":"))
    doubled = data.draw(
        st.sampled_from(['{"k":0,', '{ "k" : 0 ,', '{"\\u006b":0,', '{"k":{"k":0},'])
    )
    with pytest.raises(Malformed):
        json.decode((doubled + raw[1:]).encode())
    nested = data.draw(st.sampled_from(["[%s]", '{"x":%s}', '[[{"y":[%s]}]]']))
    with pytest.raises(Malformed):
        json.decode((nested % (doubled + raw[1:])).encode())


@given(st.binary(max_size=200) | _mutated())
def test_messages_and_batches_decode_or_are_malformed(raw: bytes) -> None:
    for decode in (jsonrpc.decode_message, jsonrpc.decode_batch):
        with contextlib.suppress(Malformed):
            decode(raw)


_ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0", 2, None]),
        "id": _SCALARS,
        "method": st.sampled_from([*CLIENT_REQUESTS, *CLIENT_NOTIFICATIONS, "x"]) | _SCALARS,
        "params": OBJECTS | VALUES,
        "result": OBJECTS | VALUES,
        "error": OBJECTS | st.fixed_dictionaries({"code": _SCALARS, "message": _SCALARS}),
        "Method": VALUES,
    },
)


@given(_ENVELOPES)
def test_an_envelope_decodes_to_what_encodes_to_the_same_members(envelope: Any) -> None:
    try:
        message = jsonrpc.decode_message(stdlib.dumps(envelope).encode())
    except Malformed:
        return
    match message:
        case Request():
            raw = jsonrpc.encode_request(message.id, message.method, message.params)
        case Notification():
            raw = jsonrpc.encode_notification(message.method, message.params)
        case _ if message.result is not None:
            assert message.id is not None
            raw = jsonrpc.encode_result(message.id, message.result)
        case _:
            assert message.error is not None
            raw = json.encode({"jsonrpc": "2.0", "id": message.id, "error": message.error})
    again = stdlib.loads(raw)
    assert {**again, "params": again.get("params", {}), "id": again.get("id")} == {
        **envelope,
        "params": envelope.get("params", {}),
        "id": envelope.get("id"),
    }


_MEMBERS = st.sampled_from(
    sorted(
        {"name", "uri", "taskId", "_meta", "Name", "ARGUMENTS", "__proto__", "x"}
        | {f for m in CLIENT_REQUESTS.values() for f in m.fields}
    )
)
_PARAMS = st.dictionaries(_MEMBERS, VALUES | OBJECTS | _TEXT, max_size=6) | st.fixed_dictionaries(
    {"name": _TEXT, "uri": _TEXT, "taskId": _TEXT},
    optional={
        "arguments": OBJECTS,
        "cursor": _TEXT,
        "ref": st.fixed_dictionaries(
            {"type": st.sampled_from(["ref/prompt", "ref/resource"])},
            optional={"name": _TEXT, "uri": _TEXT, "title": _TEXT},
        ),
        "argument": st.fixed_dictionaries({"name": _TEXT, "value": _TEXT}),
        "context": OBJECTS,
        "notifications": st.fixed_dictionaries(
            {}, optional={"resourceSubscriptions": st.lists(_TEXT.filter(bool), max_size=3)}
        ),
        "inputResponses": st.dictionaries(_TEXT, OBJECTS, max_size=2),
        "vendor": VALUES,
    },
)


def _messages() -> st.SearchStrategy[Request | Notification]:
    requests = st.builds(
        Request, id=st.just(1), method=st.sampled_from([*CLIENT_REQUESTS, "x"]), params=_PARAMS
    )
    notes = st.builds(
        Notification, method=st.sampled_from([*CLIENT_NOTIFICATIONS, "x"]), params=_PARAMS
    )
    return requests | notes


@given(_messages())
def test_an_action_sends_exactly_what_it_was_decoded_from(message: Request | Notification) -> None:
    try:
        action = to_action(message, upstream="up")
    except MalformedMessage:
        return
    method, params = to_message(action)
    assert method == message.method
    sent = {k: v for k, v in params.items() if k != "_meta"}
    said = {k: v for k, v in message.params.items() if k != "_meta"}
    if method in ("tools/call", "prompts/get"):
        said.setdefault("arguments", {})
    assert sent == said
    assert params.get("_meta", {}).items() <= _dict(message.params.get("_meta")).items()
    answers_in(action)
    # Decoding what was sent gives the same action: judging twice judges the same.
    again = to_action(
        Request(id=2, method=method, params=params)
        if isinstance(message, Request)
        else Notification(method=method, params=params),
        upstream="up",
    )
    assert again == action


@given(_messages())
def test_every_judged_member_is_part_of_the_digest(message: Request | Notification) -> None:
    try:
        action = to_action(message, upstream="up")
    except MalformedMessage:
        return
    judged: list[Any] = [action.name, *action.arguments.values(), *action.params.values()]
    said = {k: v for k, v in message.params.items() if k != "_meta"}
    missing = [v for v in said.values() if v not in judged and not isinstance(v, dict)]
    assert not missing


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


@given(OBJECTS | VALUES)
def test_meta_passes_a_subset_or_is_malformed(value: Any) -> None:
    with contextlib.suppress(MalformedMessage):
        assert meta.passed(value).items() <= _dict(value).items()


@given(st.lists(st.binary(max_size=12), max_size=12), st.integers(0, 40))
def test_event_streams_decode_alike_in_any_chunks(chunks: list[bytes], limit: int) -> None:
    def run(pieces: list[bytes]) -> object:
        decoder = sse.Decoder(limit)
        try:
            return [event for piece in pieces for event in decoder.feed(piece)]
        except Malformed:
            return Malformed

    assert run(chunks) == run([b"".join(chunks)])


_LINES = st.sampled_from(
    [b"data: a", b"data", b"data:", b":c", b"id: 1", b"id", b"event: e", b"retry: 5", b"", b"x"]
)


@given(
    st.lists(st.tuples(_LINES, st.sampled_from([b"\n", b"\r", b"\r\n"])), max_size=12), st.data()
)
def test_where_a_stream_is_cut_never_matters(
    lines: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    raw = b"".join(line + end for line, end in lines)
    at = data.draw(st.integers(0, len(raw)))
    whole, cut = sse.Decoder(1000), sse.Decoder(1000)
    assert cut.feed(raw[:at]) + cut.feed(raw[at:]) == whole.feed(raw)
    assert (cut.last_event_id, cut.retry) == (whole.last_event_id, whole.retry)


@given(st.binary(min_size=1, max_size=40), st.none() | st.just("7"), st.sampled_from(["e", "x y"]))
def test_an_encoded_event_is_decoded_again(data: bytes, event_id: str | None, kind: str) -> None:
    events = sse.Decoder(1000).feed(sse.encode(data, id=event_id, event=kind))
    plain = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert events == [sse.Event(data=plain, event=kind, id=event_id)]


@given(_TEXT)
@example("=?base64?literal?=")
@example(" padded ")
@example("line1\nline2")
@example("=?base64?=")
@example("")
def test_header_values_are_read_back_by_us_and_by_the_official_sdk(text: str) -> None:
    spelled = header_values.encode(text)
    assert spelled.isascii()
    assert spelled.isprintable()
    assert header_values.decode(spelled.encode()) == text
    assert sdk.decode_header_value(spelled) == text
    assert header_values.decode(sdk.encode_header_value(text).encode()) == text


@given(st.binary(max_size=30) | st.binary(max_size=12).map(lambda b: b"=?base64?" + b + b"?="))
def test_reading_a_header_value_never_breaks_and_never_says_more_than_the_sdk(raw: bytes) -> None:
    text = header_values.decode(raw)
    if text is not None:
        assert sdk.decode_header_value(raw.strip(b" \t").decode("ascii")) == text


_SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "boolean", "number", "object"]),
            "x-mcp-header": st.sampled_from(["A", "a", "B-c", "", "x y", "é", 1]),
        },
    ),
    lambda below: st.fixed_dictionaries(
        {},
        optional={
            "type": st.just("object"),
            "properties": st.dictionaries(st.sampled_from("abc"), below, max_size=3),
            "items": below,
            "anyOf": st.lists(below, max_size=2),
            "$defs": st.dictionaries(st.just("d"), below, max_size=1),
            "default": below,
        },
    ),
    max_leaves=6,
)


@given(_SCHEMAS)
def test_which_annotations_are_valid_is_what_the_official_sdk_says(schema: Any) -> None:
    ours = param_headers.valid_param_headers(schema)
    assert (ours is None) == (sdk.find_invalid_x_mcp_header(schema) is None)
    if ours is None:
        assert {
            h.path: h.name.removeprefix("Mcp-Param-") for h in param_headers.mirrored(schema)
        } == sdk.x_mcp_header_map(schema)


_ARGUMENTS = st.dictionaries(
    st.sampled_from("abc"),
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | _TEXT
    | st.dictionaries(st.sampled_from("abc"), _TEXT, max_size=2),
    max_size=3,
)


@given(_SCHEMAS, _ARGUMENTS, _TEXT.filter(bool))
def test_headers_that_we_make_pass_our_check_and_the_official_sdks(
    schema: Any, arguments: dict[str, Any], name: str
) -> None:
    params = {
        "name": name,
        "arguments": arguments,
        "_meta": {meta.PROTOCOL_VERSION: "2026-07-28", meta.CLIENT_CAPABILITIES: {}},
    }
    made = for_upstream("tools/call", params, "2026-07-28", schema)
    received = {key.lower().encode(): [value.encode()] for key, value in made}
    check_modern(received, Request(id=1, method="tools/call", params=params), tool_schema=schema)
    plain = {key.lower(): value for key, value in made}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    assert isinstance(sdk.classify_inbound_request(body, headers=plain), sdk.InboundModernRoute)
    assert sdk.validate_mcp_param_headers(schema, arguments, plain) is None


@given(
    st.dictionaries(
        st.sampled_from(
            [b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"mcp-param-a", b"x"]
        ),
        st.lists(
            st.binary(max_size=8) | st.sampled_from([b"2026-07-28", b"tools/call", b"run", b"1"]),
            max_size=2,
        ),
    ),
    _PARAMS,
    _SCHEMAS | VALUES,
)
def test_checking_headers_is_total(
    found: dict[bytes, list[bytes]], params: dict[str, Any], schema: Any
) -> None:
    params = {
        "_meta": {meta.PROTOCOL_VERSION: "2026-07-28", meta.CLIENT_CAPABILITIES: {}},
        **params,
    }
    with contextlib.suppress(MalformedMessage):
        check_modern(found, Request(id=1, method="tools/call", params=params), tool_schema=schema)


@given(_messages())
def test_for_upstream_is_total_for_every_action(message: Request | Notification) -> None:
    try:
        action: Action = to_action(message, upstream="up")
    except MalformedMessage:
        return
    method, params = to_message(action)
    for name, value in for_upstream(method, params, "2026-07-28", {"properties": {}}):
        assert name.isascii()
        assert value.isascii()
        assert "\n" not in value
