"""Requests that two readers could frame differently: refused, closed, never read as two.

Each row is one connection's bytes. Behind every ambiguous request stands another one, to `/second`:
whoever frames the first one otherwise would serve it. Rows that only our parser's strictness
refuses pin that strictness against its updates.
"""

from __future__ import annotations

import asyncio

import pytest
from server_kit import Recorder, conversation, parse_answers, running, until

from midflight.apps.server.limits import Limits

pytestmark = pytest.mark.anyio

SECOND = b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /first HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
QUICK = Limits(linger_s=0.05, keep_alive_s=5.0)

AMBIGUOUS: dict[str, bytes] = {
    "content-length and transfer-encoding": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "transfer-encoding and content-length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    ),
    "two equal lengths": POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nA",
    "two different lengths": POST + b"Content-Length: 1\r\nContent-Length: 40\r\n\r\nA",
    "a list of lengths": POST + b"Content-Length: 1, 1\r\n\r\nA",
    "a signed length": POST + b"Content-Length: +1\r\n\r\nA",
    "a negative length": POST + b"Content-Length: -1\r\n\r\nA",
    "a hexadecimal length": POST + b"Content-Length: 0x1\r\n\r\nA",
    "an underscore in a length": POST + b"Content-Length: 1_0\r\n\r\n0123456789",
    "a length in other digits": POST + "Content-Length: ١\r\n\r\nA".encode(),
    "two numbers in a length": POST + b"Content-Length: 1 1\r\n\r\nA",
    "an empty length": POST + b"Content-Length: \r\n\r\n",
    "a length beyond 64 bits": POST + b"Content-Length: 18446744073709551617\r\n\r\nA",
    "a length behind a vertical tab": POST + b"Content-Length:\x0b1\r\n\r\nA",
    "another coding first": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "another coding last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "the identity coding": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two codings headers": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a contradicting second coding": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
    ),
    "an empty first coding": POST + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    "a quoted coding": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "an empty coding": POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "a coding behind a vertical tab": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a coding in front of NUL": POST + b"Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n",
    "a coding in HTTP/1.0": (
        b"POST /first HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a tab before the colon": POST + b"Content-Length\t: 5\r\n\r\nAAAAA",
    "a space before the name": POST + b"X: y\r\n Content-Length: 5\r\n\r\nAAAAA",
    "a folded line": POST + b"X: y\r\n\tz\r\n\r\n",
    "a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a folded first line": b"POST /first HTTP/1.1\r\n Host: a\r\n\r\n",
    "a header without colon": POST + b"Content-Length\r\n\r\n",
    "a header without name": POST + b": 5\r\n\r\n",
    "a control character in a name": POST + b"Content-\x01Length: 5\r\n\r\nAAAAA",
    "NUL in a value": POST + b"X: a\x00b\r\n\r\n",
    "a bare LF for a line end": POST + b"X: y\nContent-Length: 5\r\n\r\nAAAAA",
    "a bare CR for a line end": POST + b"X: y\rContent-Length: 5\r\n\r\nAAAAA",
    "bare LFs throughout": b"POST /first HTTP/1.1\nHost: a\n\n\r\n\r\n",
    "an LF for the empty line": POST + b"X: y\r\n\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR CR LF": POST + b"X: y\r\r\n\r\n",
    "a second Host": b"GET /first HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no Host": b"GET /first HTTP/1.1\r\n\r\n",
    "a target that names another host": b"GET http://b/first HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a fragment": b"GET /first#x HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the target": b"GET /first x HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  /first HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab for a space": b"GET\t/first HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space first": b" GET /first HTTP/1.1\r\nHost: a\r\n\r\n",
    "a relative target": b"GET first HTTP/1.1\r\nHost: a\r\n\r\n",
    "more than one empty line first": b"\r\n\r\nGET /first HTTP/1.1\r\nHost: a\r\n\r\n",
    "a bare LF first": b"\nGET /first HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /first\r\n\r\n",
    "another protocol's version": b"GET /first RTSP/1.0\r\nHost: a\r\n\r\n",
    "a version in lower case": b"GET /first http/1.1\r\nHost: a\r\n\r\n",
    "a method in lower case": b"get /first HTTP/1.1\r\nHost: a\r\n\r\n",
}

BROKEN_CHUNKS: dict[str, bytes] = {
    "a bare LF behind the size": CHUNKED + b"1\nA\r\n0\r\n\r\n",
    "a bare LF behind an extension": CHUNKED + b"1;a\nA\r\n0\r\n\r\n",
    "more data than its size": CHUNKED + b"1\r\nAB\r\n0\r\n\r\n",
    "a space behind the size": CHUNKED + b"1 \r\nA\r\n0\r\n\r\n",
    "a prefix before the size": CHUNKED + b"0x1\r\nA\r\n0\r\n\r\n",
    "a signed size": CHUNKED + b"+1\r\nA\r\n0\r\n\r\n",
    "a negative size": CHUNKED + b"-1\r\nA\r\n0\r\n\r\n",
    "an underscore in the size": CHUNKED + b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "a size beyond 64 bits": CHUNKED + b"10000000000000001\r\nA\r\n0\r\n\r\n",
    "no size": CHUNKED + b"\r\nA\r\n0\r\n\r\n",
    "a length among the trailers": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    "a request for a trailer": CHUNKED + b"0\r\n",
    "a bare LF for the last line": CHUNKED + b"0\r\n\n",
    "a request in the bytes of the last chunk": CHUNKED + b"0\r\n\r\n",
}

OTHER_STATUS: dict[str, tuple[int, bytes]] = {
    "HTTP/2 by prior knowledge": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/2 in a request line": (505, b"GET /first HTTP/2.0\r\nHost: a\r\n\r\n"),
    "HTTP/1.2": (505, b"GET /first HTTP/1.2\r\nHost: a\r\n\r\n"),
    "CONNECT": (501, b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    "TRACE": (501, b"TRACE /first HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an unknown method": (501, b"SMUGGLE /first HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an unknown expectation": (417, POST + b"Expect: 200-ok\r\nContent-Length: 1\r\n\r\nA"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_an_ambiguous_request_is_refused_before_it_reaches_the_app(name: str) -> None:
    app = Recorder()
    async with running(app, QUICK) as port:
        answers = parse_answers(await conversation(port, AMBIGUOUS[name] + SECOND))
    assert [answer.status for answer in answers] == [400]
    assert answers[0].headers[b"connection"] == b"close"
    assert app.started == 0


@pytest.mark.parametrize("name", BROKEN_CHUNKS)
async def test_broken_chunks_never_become_a_second_request(name: str) -> None:
    app = Recorder()
    async with running(app, QUICK) as port:
        answers = parse_answers(await conversation(port, BROKEN_CHUNKS[name] + SECOND))
    assert [answer.status for answer in answers] == [400]
    assert answers[0].headers[b"connection"] == b"close"
    # The app was started on the head; it has seen the client leave, and no second request.
    assert [(seen.path, seen.body) for seen in app.requests] in ([], [("/first", None)])


@pytest.mark.parametrize("start", [b"G", b"GET /x HTTP/1.1\r\nX: ", b"POST /x HTTP/1.1\r\n"])
async def test_half_a_head_behind_the_last_chunk_does_not_swallow_the_next_request(
    start: bytes,
) -> None:
    """The parser has read it then, so the next head would be parsed as more of it."""
    app = Recorder()
    async with running(app, QUICK) as port:
        data = await conversation(port, CHUNKED + b"0\r\n\r\n" + start, SECOND)
    assert [answer.status for answer in parse_answers(data)] == [400]
    assert [(seen.path, seen.body) for seen in app.requests] in ([], [("/first", None)])


@pytest.mark.parametrize("name", OTHER_STATUS)
async def test_what_is_not_spoken_is_said_so_and_closed(name: str) -> None:
    status, data = OTHER_STATUS[name]
    app = Recorder()
    async with running(app, QUICK) as port:
        answers = parse_answers(await conversation(port, data + SECOND))
    assert [answer.status for answer in answers] == [status]
    assert app.started == 0


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_a_refusal_does_not_depend_on_how_the_bytes_are_cut(name: str, size: int) -> None:
    data = AMBIGUOUS[name] + SECOND
    app = Recorder()
    async with running(app, QUICK) as port:
        answers = parse_answers(
            await conversation(port, *(data[at : at + size] for at in range(0, len(data), size)))
        )
    assert [answer.status for answer in answers] == [400]
    assert app.started == 0


async def test_an_upgrade_is_ignored_and_does_not_hide_a_request_in_the_body() -> None:
    inner = SECOND.replace(b"/second", b"/inner")
    first = POST + (
        b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(inner)
    )
    app = Recorder()
    async with running(app, QUICK) as port:
        data = first + inner + SECOND.replace(b"Host", b"Connection: close\r\nHost")
        answers = parse_answers(await conversation(port, data))
    assert [answer.status for answer in answers] == [200, 200]
    assert [(seen.path, seen.body) for seen in app.requests] == [
        ("/first", inner),
        ("/second", b""),
    ]


async def test_a_body_of_a_get_is_no_request() -> None:
    first = b"GET /first HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    app = Recorder()
    async with running(app, QUICK) as port:
        await conversation(port, first % len(SECOND) + SECOND)
    assert [(seen.path, seen.body) for seen in app.requests] == [("/first", SECOND)]


async def test_nothing_is_served_behind_connection_close() -> None:
    app = Recorder()
    first = b"GET /first HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    async with running(app, QUICK) as port:
        answers = parse_answers(await conversation(port, first + SECOND))
    assert [answer.status for answer in answers] == [200]
    assert [seen.path for seen in app.requests] == ["/first"]


async def test_a_refusal_never_stands_in_for_the_answer_to_an_earlier_request() -> None:
    """A pipelined broken request must not be answered before, or within, the one it follows."""
    release = asyncio.Event()

    async def slowly(_scope: object, _receive: object, send: object) -> None:
        await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b"first"})  # type: ignore[operator]

    app = Recorder(slowly)
    async with running(app, QUICK) as port:
        talk = asyncio.ensure_future(
            conversation(port, b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n" + b"broken\r\n\r\n")
        )
        await until(lambda: bool(app.requests))
        release.set()
        answers = parse_answers(await talk)
    assert answers[0].body == b"first"
    assert [answer.status for answer in answers] == [200, 400]


async def test_trailers_never_become_headers() -> None:
    app = Recorder()
    trailers = b"0\r\nAuthorization: Bearer forged\r\nHost: evil\r\nX-Late: 1\r\n\r\n"
    data = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nA\r\n" + trailers
    async with running(app, QUICK) as port:
        answers = parse_answers(await conversation(port, data))
    assert [answer.status for answer in answers] == [200]
    [seen] = app.requests
    assert seen.body == b"A"
    assert {name for name, _ in app.scopes[0]["headers"]} == {
        b"host",
        b"connection",
        b"transfer-encoding",
    }
