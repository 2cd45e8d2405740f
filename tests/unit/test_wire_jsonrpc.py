"""`wire.jsonrpc`: the closed envelope, ids, batches, and answers to what is malformed."""

from __future__ import annotations

import json as stdlib
from typing import Any

import pytest

from midflight.domain.errors import Malformed
from midflight.wire import jsonrpc
from midflight.wire.malformed import MalformedMessage


def _raw(**members: Any) -> bytes:
    return stdlib.dumps({"jsonrpc": "2.0", **members}).encode()


def test_a_request_a_notification_and_both_answers_decode() -> None:
    assert jsonrpc.decode_message(_raw(id=1, method="ping")) == jsonrpc.Request(id=1, method="ping")
    assert jsonrpc.decode_message(_raw(id="a", method="m", params={"x": 1})) == jsonrpc.Request(
        id="a", method="m", params={"x": 1}
    )
    assert jsonrpc.decode_message(_raw(method="n", params={})) == jsonrpc.Notification(method="n")
    assert jsonrpc.decode_message(_raw(id=1, result={"ok": True})) == jsonrpc.Response(
        id=1, result={"ok": True}
    )
    error = {"code": -1, "message": "no", "data": [1]}
    assert jsonrpc.decode_message(_raw(id=1, error=error)) == jsonrpc.Response(id=1, error=error)


def test_an_error_without_a_readable_request_has_no_id() -> None:
    error = {"code": -32700, "message": "no"}
    assert jsonrpc.decode_message(_raw(id=None, error=error)).id is None  # type: ignore[union-attr]
    assert jsonrpc.decode_message(_raw(error=error)).id is None  # type: ignore[union-attr]


@pytest.mark.parametrize("bad", [None, True, False, 1.0, 1.5, [], {}, "x" * 257, 2**63])
def test_an_id_is_an_integer_or_a_short_string(bad: object) -> None:
    with pytest.raises(Malformed):
        jsonrpc.decode_message(_raw(id=bad, method="ping"))


@pytest.mark.parametrize("bad", [None, [], [1], "x", 1, True])
def test_params_are_an_object(bad: object) -> None:
    with pytest.raises(MalformedMessage) as caught:
        jsonrpc.decode_message(_raw(id=7, method="ping", params=bad))
    assert caught.value.rpc_code == -32602
    assert caught.value.request_id == 7


@pytest.mark.parametrize("bad", [None, "", "x" * 257, 1, ["ping"], {}])
def test_a_method_is_a_string_of_bounded_length(bad: object) -> None:
    with pytest.raises(MalformedMessage) as caught:
        jsonrpc.decode_message(_raw(id=7, method=bad))
    assert caught.value.rpc_code == -32600
    assert caught.value.request_id == 7


@pytest.mark.parametrize(
    "message",
    [
        {"id": 1, "method": "ping"},
        {"jsonrpc": "1.0", "id": 1, "method": "ping"},
        {"jsonrpc": 2.0, "id": 1, "method": "ping"},
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "id": 1},
        {"jsonrpc": "2.0", "id": 1, "result": {}, "error": {"code": 1, "message": ""}},
        {"jsonrpc": "2.0", "id": 1, "result": {}, "error": None},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "result": {}},
        {"jsonrpc": "2.0", "id": 1, "result": []},
        {"jsonrpc": "2.0", "id": None, "result": {}},
        {"jsonrpc": "2.0", "result": {}},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": "1", "message": ""}},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": True, "message": ""}},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": 1}},
        {"jsonrpc": "2.0", "id": 1.5, "error": {"code": 1, "message": ""}},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "extra": 1},
        {"jsonrpc": "2.0", "id": 1, "result": {}, "params": {}},
        [],
        [{"jsonrpc": "2.0", "id": 1, "method": "ping"}],
        "ping",
        1,
        None,
    ],
)
def test_what_is_no_message_is_an_invalid_request(message: object) -> None:
    with pytest.raises(Malformed) as caught:
        jsonrpc.decode_message(stdlib.dumps(message).encode())
    assert caught.value.rpc_code == -32600


@pytest.mark.parametrize("member", ["Method", "METHOD", "PARAMS", "Id", "jsonRPC", "ID", "ｉd"])
def test_a_member_that_folds_to_a_known_one_is_refused_by_name(member: str) -> None:
    with pytest.raises(MalformedMessage, match="would take for"):
        jsonrpc.decode_message(_raw(id=1, method="ping", **{member: "tools/call"}))


def test_a_batch_is_one_to_fifty_messages() -> None:
    one = {"jsonrpc": "2.0", "method": "ping"}
    raw = stdlib.dumps([{**one, "id": 1}, one, {"jsonrpc": "2.0", "id": 3, "result": {}}]).encode()
    assert jsonrpc.is_batch(b" \n" + raw)
    assert [type(m) for m in jsonrpc.decode_batch(raw)] == [
        jsonrpc.Request,
        jsonrpc.Notification,
        jsonrpc.Response,
    ]
    assert len(jsonrpc.decode_batch(stdlib.dumps([one] * 50).encode())) == 50
    for bad in ([], [one] * 51, one, [[one]], [one, {"method": "x"}]):
        with pytest.raises(Malformed):
            jsonrpc.decode_batch(stdlib.dumps(bad).encode())


def test_request_ids_of_a_batch_are_distinct_and_typed() -> None:
    def batch(*ids: object) -> bytes:
        return stdlib.dumps([{"jsonrpc": "2.0", "id": i, "method": "ping"} for i in ids]).encode()

    assert len(jsonrpc.decode_batch(batch(1, "1", 2))) == 3
    with pytest.raises(MalformedMessage, match="same id"):
        jsonrpc.decode_batch(batch(1, 2, 1))


def test_what_is_encoded_decodes_to_itself() -> None:
    assert jsonrpc.decode_message(jsonrpc.encode_request(3, "m", {"a": 1})) == jsonrpc.Request(
        id=3, method="m", params={"a": 1}
    )
    assert jsonrpc.decode_message(jsonrpc.encode_notification("m", {})) == jsonrpc.Notification(
        method="m"
    )
    assert jsonrpc.decode_message(jsonrpc.encode_result("x", {})) == jsonrpc.Response(
        id="x", result={}
    )
    assert jsonrpc.decode_message(
        jsonrpc.encode_error(None, code=-32700, message="no", data={"a": 1})
    ) == jsonrpc.Response(id=None, error={"code": -32700, "message": "no", "data": {"a": 1}})


def test_a_malformed_message_is_answered_under_its_id_with_its_data() -> None:
    problem = MalformedMessage("No.", hint="Do.", rpc_code=-32022, request_id=5, data={"a": 1})
    assert stdlib.loads(jsonrpc.encode_malformed(problem)) == {
        "jsonrpc": "2.0",
        "id": 5,
        "error": {"code": -32022, "message": "No. Do.", "data": {"a": 1}},
    }
    assert stdlib.loads(jsonrpc.encode_malformed(Malformed("No.")))["id"] is None


def test_a_bad_answer_is_not_answered_under_the_id_of_a_request() -> None:
    with pytest.raises(MalformedMessage) as caught:
        jsonrpc.decode_message(_raw(id=9, result=[]))
    assert caught.value.request_id is None
