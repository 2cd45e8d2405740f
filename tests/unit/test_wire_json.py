"""`wire.json`: what is refused, and that what passes is unchanged."""

from __future__ import annotations

import pytest

from midflight.domain.errors import Malformed
from midflight.wire import json


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"{}", {}),
        (b' {"a" : [1, 2.5, true, null, "\\u00e9"]} ', {"a": [1, 2.5, True, None, "é"]}),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b'{"a":{"b":1},"c":{"b":2}}', {"a": {"b": 1}, "c": {"b": 2}}),
        (b'{"long":"12345678901234567890123"}', {"long": "12345678901234567890123"}),
        (b'"\\ud83d\\ude00"', "😀"),
        ('{"e\u0301":1,"\u00e9":2}'.encode(), {"e\u0301": 1, "\u00e9": 2}),
    ],
)
def test_a_strict_document_decodes_to_its_value(raw: bytes, value: object) -> None:
    assert json.decode(raw) == value


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"nul",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b'{"a":NaN}',
        b"1e400",
        b'{"a":-1e999}',
        b"9223372036854775808",
        b"-9223372036854775809",
        b"[18446744073709551615]",
        b"1" + b"0" * 400,
        b"1" * 5000,
        b"{} {}",
        b"{}x",
        b"[1,]",
        b'{"a":1,}',
        b"{'a':1}",
        b"// no\n1",
        b"01",
        b"+1",
        b".5",
        b'"\\ud800"',
        b'"\\udc00"',
        b'{"\\ud800":1}',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b'"\xc0\x80"',
        b'"\x00"',
        b'"a\nb"',
        b'"\\x41"',
    ],
)
def test_anything_parsers_disagree_about_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        json.decode(raw)
    assert caught.value.rpc_code == -32700


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"x":[{"y":{"a":1,"b":2,"a":3}}]}',
        b'{"":1,"":2}',
        '{"é":1,"\\u00E9":2}'.encode(),
        b'{"/":1,"\\/":2}',
        b'{ "a" : 1 , "a" : 2 }',
    ],
)
def test_a_key_that_stands_twice_is_refused_however_it_is_spelled(raw: bytes) -> None:
    with pytest.raises(Malformed, match="same key twice"):
        json.decode(raw)


def test_depth_is_counted_exactly() -> None:
    assert json.decode(b"[" * 64 + b"]" * 64)
    with pytest.raises(Malformed, match="deeper than 64"):
        json.decode(b"[" * 65 + b"]" * 65)
    assert json.decode(b"[" * 64 + b"]" * 63 + b",[]]")
    with pytest.raises(Malformed, match="deeper than 64"):
        json.decode(b"[[]," + b"[" * 64 + b"]" * 65)
    with pytest.raises(Malformed, match="deeper than 3"):
        json.decode(b'{"a":[{"b":[]}]}', max_depth=3)
    assert json.decode(b'{"a":[{"b":1}]}', max_depth=3)


def test_many_brackets_side_by_side_are_not_depth() -> None:
    assert json.decode(b"[" + b",".join([b"[]"] * 500) + b"]") == [[]] * 500
    assert json.decode(b'"' + b"[" * 500 + b'"') == "[" * 500


def test_a_memoryview_decodes_like_bytes() -> None:
    raw = b'{"a":1,"a":2}'
    with pytest.raises(Malformed):
        json.decode(memoryview(raw))
    assert json.decode(memoryview(b"[1]")) == [1]


def test_errors_never_repeat_the_document() -> None:
    with pytest.raises(Malformed) as caught:
        json.decode(b'{"password":"hunter2" "x"}')
    assert "hunter2" not in str(caught.value)
    assert "password" not in str(caught.value)


def test_integers_and_floats_stay_what_they_are() -> None:
    for raw in (b"1", b"1.0", b"-0.0", b"1e16", b"0.1", b"5e-324"):
        assert json.encode(json.decode(raw)) == raw
