from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.apps.server import head
from midflight.apps.server.head import Head, judge
from midflight.apps.server.limits import Limits
from midflight.apps.server.refusals import Refusal

LIMITS = Limits()

fragments = st.sampled_from(
    [
        b"GET", b"POST", b"get", b"CONNECT", b" ", b"  ", b"\t", b"/", b"/a?b", b"*", b"http://a/",
        b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"RTSP/1.0", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r",
        b"Host: a", b"host:a", b"Host : a", b"Content-Length: 3", b"content-length:\t3 ",
        b"Content-Length: 0003", b"Content-Length: +3", b"Content-Length:", b"Content_Length: 3",
        b"Transfer-Encoding: chunked", b"TRANSFER-ENCODING:chunked", b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: chunked, gzip", b"Upgrade: h2c", b"Connection: upgrade",
        b"Connection: close", b"Expect: 100-continue", b"X:", b":", b"\x00", b"\xff", b"\x0b",
    ]
)  # fmt: skip
plausible = st.builds(
    lambda line, fields: b"\r\n".join([line, *fields, b"", b""]),
    st.sampled_from(
        [b"GET / HTTP/1.1", b"POST /a HTTP/1.1", b"POST / HTTP/1.0", b"GET http://a/ HTTP/1.1"]
    ),
    st.lists(fragments, max_size=6),
)
noise = st.lists(fragments, max_size=20).map(b"".join)


class Parsed:
    """What llhttp, left alone, makes of some bytes."""

    def __init__(self) -> None:
        self.heads = 0
        self.body = b""
        self.complete = 0

    def on_headers_complete(self) -> None:
        self.heads += 1

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


@given(raw=st.one_of(plausible, plausible, noise, st.binary(max_size=200)))
def test_what_is_admitted_is_framed_as_the_parser_frames_it(raw: bytes) -> None:
    whole, end, _ = (raw + head.END).partition(head.END)  # the server looks for the first one, too
    judged = judge(whole + end, LIMITS)
    if isinstance(judged, Refusal):
        assert 400 <= judged.status < 600
        return
    parsed = Parsed()
    parser = httptools.HttpRequestParser(parsed)
    body = b"3\r\nxyz\r\n0\r\n\r\n" if judged.body == head.CHUNKED else b"x" * judged.body
    try:
        parser.feed_data(judged.raw)
        if body:
            assert parsed.complete == 0
            parser.feed_data(body)
    except httptools.HttpParserUpgrade:
        pytest.fail("an upgrade reached the parser")
    except httptools.HttpParserError:
        # Stricter than we are, which ends the connection.
        assert parsed.complete == 0
        return
    assert (parsed.heads, parsed.complete) == (1, 1)
    assert len(parsed.body) == (3 if judged.body == head.CHUNKED else judged.body)


@given(raw=st.binary(max_size=300))
def test_judging_any_bytes_gives_a_head_or_a_refusal(raw: bytes) -> None:
    assert isinstance(judge(raw, LIMITS), Head | Refusal)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"", 0),
        (b"Content-Length: 0\r\n", 0),
        (b"Content-Length: 17\r\n", 17),
        (b"CONTENT-LENGTH:\t 0017 \t\r\n", 17),
        (b"Transfer-Encoding: chunked\r\n", head.CHUNKED),
        (b"transfer-encoding:CHUNKED\t\r\n", head.CHUNKED),
        (b"X-Content-Length: 5\r\n", 0),
        (b"X: Content-Length: 5\r\n", 0),
    ],
)
def test_the_length_of_a_body_is_read_from_its_headers(fields: bytes, body: int) -> None:
    judged = judge(b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n", LIMITS)
    assert isinstance(judged, Head)
    assert judged.body == body


def test_an_upgrade_is_taken_out_of_what_the_parser_sees() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nUPGRADE: h2c\r\nX: y\r\nupgrade: websocket\r\n\r\n"
    judged = judge(raw, LIMITS)
    assert isinstance(judged, Head)
    assert judged.raw == b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "host", "admitted"),
    [
        (b"http://a/x", b"a", True),
        (b"HTTP://A/x", b"a", True),
        (b"http://a:80/x", b"a", False),
        (b"http://a/x", b"b", False),
        (b"http://a@b/x", b"b", False),
        (b"http://a", b"a", False),
        (b"ftp://a/x", b"a", False),
        (b"*", b"a", False),
        (b"a/x", b"a", False),
    ],
)
def test_an_absolute_target_must_name_the_host(target: bytes, host: bytes, admitted: bool) -> None:
    judged = judge(b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", LIMITS)
    assert isinstance(judged, Head) == admitted


def test_limits_must_be_positive() -> None:
    with pytest.raises(ValueError, match="head_s, connections"):
        Limits(head_s=0, connections=-1)
