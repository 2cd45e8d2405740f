"""Hostile bytes against a whole gateway over real sockets: fuzzing, floods and slow clients.

Whatever comes is answered with an error that says what is wrong, or cut as the limits say; it is
recorded or counted; it reaches no upstream; and the next honest client is served.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_kit import CLOSE, LiveGateway, live_gateway, parse
from process_kit import (
    META,
    ProcessPlane,
    Said,
    call_bytes,
    message_of,
    post_bytes,
    process_plane,
)

from midflight.domain.records import Observed

CALL = {"method": "tools/call", "name": "look"}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    folder = tmp_path_factory.mktemp("live")
    with live_gateway(folder, runs={"max_steps": 1_000_000}) as running:
        yield running


def body_of(**changes: Any) -> bytes:
    """An honest call with members changed; `...` leaves one out."""
    message = message_of("look", {"nonce": "hostile"}) | changes
    return json.dumps({k: v for k, v in message.items() if v is not ...}).encode()


def params_of(**changes: Any) -> bytes:
    params = {"name": "look", "arguments": {"nonce": "hostile"}, "_meta": META} | changes
    return body_of(params={k: v for k, v in params.items() if v is not ...})


def deep(levels: int) -> bytes:
    return params_of(arguments={"nonce": "DEEP"}).replace(b'"DEEP"', b"[" * levels + b"]" * levels)


# Bodies of a caller with a good token: (body, HTTP status, JSON-RPC code).
BODIES: dict[str, tuple[bytes, int, int]] = {
    "nothing": (b"", 400, -32700),
    "not JSON": (b"name=look&nonce=hostile", 400, -32700),
    "half of a message": (body_of()[:-7], 400, -32700),
    "two messages": (body_of() * 2, 400, -32700),
    "a byte order mark": (b"\xef\xbb\xbf" + body_of(), 400, -32700),
    "UTF-16": (body_of().decode().encode("utf-16"), 400, -32700),
    "invalid UTF-8": (body_of().replace(b"hostile", b"\xc3\x28"), 400, -32700),
    "an overlong encoding": (body_of().replace(b"hostile", b"\xc0\xaf"), 400, -32700),
    "a lone surrogate": (body_of().replace(b"hostile", b"\\ud800"), 400, -32700),
    "a raw control character": (body_of().replace(b"hostile", b"\x00"), 400, -32700),
    "the same key twice": (
        body_of().replace(b'"method":', b'"method": "ping", "method":'), 400, -32700),
    "the same key in two spellings": (
        body_of().replace(b'"nonce":', b'"n\\u006fnce": "x", "nonce":'), 400, -32700),
    "the same key deep inside": (
        params_of(arguments={"nonce": {"a": [{"b": "X"}]}}).replace(
            b'"b": "X"', b'"b": 1, "b": 2'), 400, -32700),
    "65 levels": (deep(63), 400, -32700),
    "100,000 levels": (deep(100_000), 400, -32700),
    "a million open brackets": (b"[" * 1_000_000, 400, -32700),
    "an integer of 20 digits": (params_of(arguments={"nonce": 10**19}), 400, -32700),
    "an integer of 4,500 digits": (
        params_of(arguments={"nonce": "N"}).replace(b'"N"', b"9" * 4_500), 400, -32700),
    "an infinite number": (
        params_of(arguments={"nonce": "N"}).replace(b'"N"', b"1e999"), 400, -32700),
    "NaN": (params_of(arguments={"nonce": "N"}).replace(b'"N"', b"NaN"), 400, -32700),
    "a string": (b'"tools/call"', 400, -32600),
    "null": (b"null", 400, -32600),
    "a batch": (b"[" + body_of() + b"]", 400, -32600),
    "another JSON-RPC": (body_of(jsonrpc="1.0"), 400, -32600),
    "no JSON-RPC": (body_of(jsonrpc=...), 400, -32600),
    "an id of null": (body_of(id=None), 400, -32600),
    "an id that is a fraction": (body_of(id=1.5), 400, -32600),
    "an id that is a boolean": (body_of(id=True), 400, -32600),
    "an id of 100,000 characters": (body_of(id="x" * 100_000), 400, -32600),
    "a method that is a number": (body_of(method=7), 400, -32600),
    "an empty method": (body_of(method=""), 400, -32600),
    "a method of 100,000 characters": (body_of(method="x" * 100_000), 400, -32600),
    "a member in disguise": (body_of(Method="tools/list"), 400, -32600),
    "a member of nobody's": (body_of(extra=1), 400, -32600),
    "a call that is also an answer": (body_of(result={}), 400, -32600),
    "an answer to nothing": (
        b'{"jsonrpc":"2.0","id":1,"result":{}}', 400, -32600),
    "params in a list": (body_of(params=["look"]), 400, -32602),
    "params of null": (body_of(params=None), 400, -32602),
    "no metadata": (params_of(_meta=...), 400, -32602),
    "metadata of another shape": (params_of(_meta=[]), 400, -32602),
    "a version of nobody's": (
        params_of(_meta=META | {"io.modelcontextprotocol/protocolVersion": "2031-01-01"}),
        400, -32020),
    "another tool than the header says": (params_of(name="send"), 400, -32020),
    "another method than the header says": (body_of(method="tools/list"), 400, -32020),
    "a name that is a number": (params_of(name=7), 400, -32020),
    "arguments in a list": (params_of(arguments=["x"]), 400, -32602),
    "an argument in disguise": (params_of(arguments={"Nonce": "x"}), 400, -32602),
    "a parameter in disguise": (params_of(Arguments={"nonce": "x"}), 400, -32602),
    "a held call of somebody else": (params_of(requestState="mfh_stolen"), 400, -32602),
    "a task of no shape": (params_of(task="now"), 400, -32602),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_is_answered_recorded_and_reaches_nothing(
    live: LiveGateway, name: str
) -> None:
    body, status, code = BODIES[name]
    before = live.counts().get("midflight_malformed_total", 0)
    arrived = len(live.journal.calls)
    [said] = live.talk(post_bytes(body, live.token, host=live.host, headers=CLOSE, **CALL))
    assert (said.status, said.message["error"]["code"]) == (status, code), said
    assert live.counts()["midflight_malformed_total"] == before + 1
    assert told(live, "message.malformed", said.message["error"]["message"])
    assert len(live.journal.calls) == arrived
    assert live.honest().code == "done"


def told(live: LiveGateway, what: str, message: str) -> bool:
    """Whether the ledger has a reason that the client was given, too."""
    return any(
        record.what == what and message.startswith(record.details["why"])
        for record in (entry["record"] for entry in live.records("observed"))
        if isinstance(record, Observed) and "why" in record.details
    )


# Heads: (what is changed in an honest request, status, counter that notes it).
Head = tuple[bytes, bytes, int, str]
MALFORMED, REFUSED, HTTP = "malformed", "refused_callers", "http_refused"
HEADS: dict[str, Head] = {
    "a method of nobody's": (b"POST /mcp", b"BREW /mcp", 501, HTTP),
    "HTTP/2 in clear": (b"POST /mcp HTTP/1.1", b"PRI * HTTP/2.0", 505, HTTP),
    "HTTP/0.9": (b"POST /mcp HTTP/1.1", b"GET /mcp", 400, HTTP),
    "a target with a control character": (b"/mcp", b"/m\x01cp", 400, HTTP),
    "a target of 10,000 characters": (b"/mcp", b"/" + b"a" * 10_000, 414, HTTP),
    "a foreign absolute target": (b"/mcp", b"http://evil.example/mcp", 400, HTTP),
    "101 headers": (b"\r\n\r\n", b"\r\nX: y" * 101 + b"\r\n\r\n", 431, HTTP),
    "40,000 bytes of header": (b"\r\n\r\n", b"\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", 431, HTTP),
    "a NUL in a header": (b"\r\n\r\n", b"\r\nX: \x00\r\n\r\n", 400, HTTP),
    "a bare line feed": (b"\r\n\r\n", b"\r\nX: a\nY: b\r\n\r\n", 400, HTTP),
    "a folded header": (b"\r\n\r\n", b"\r\nX: a\r\n b\r\n\r\n", 400, HTTP),
    "a space in a header's name": (b"Accept:", b"Accept :", 400, HTTP),
    "two lengths": (b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n", 400, HTTP),
    "a length and chunks": (b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n", 400, HTTP),
    "a negative length": (b"Content-Length: ", b"Content-Length: -", 400, HTTP),
    "a length of 30 digits": (b"Content-Length: ", b"Content-Length: " + b"9" * 30, 400, HTTP),
    "an expectation of nobody's": (b"\r\n\r\n", b"\r\nExpect: tea\r\n\r\n", 417, HTTP),
    "no host": (b"\r\nHost: ", b"\r\nX-Host: ", 400, HTTP),
    "two hosts": (b"\r\n\r\n", b"\r\nHost: 127.0.0.1\r\n\r\n", 400, HTTP),
    "a foreign host": (b"\r\nHost: ", b"\r\nHost: evil.example#", 403, REFUSED),
    "a foreign origin": (b"\r\n\r\n", b"\r\nOrigin: http://evil.example\r\n\r\n", 403, REFUSED),
    "two origins": (
        b"\r\n\r\n", b"\r\nOrigin: http://a\r\nOrigin: http://b\r\n\r\n", 400, REFUSED),
    "no token": (b"\r\nAuthorization: ", b"\r\nX-Authorization: ", 401, REFUSED),
    "a password": (b"Bearer ", b"Basic ", 401, REFUSED),
    "an empty token": (b"Bearer ", b"Bearer\r\nX: ", 401, REFUSED),
    "a token and a half": (b"Bearer ", b"Bearer x", 401, REFUSED),
    "a token that is not ASCII": (b"Bearer ", b"Bearer \xff\xfe", 401, REFUSED),
    "a token of 20,000 bytes": (b"Bearer ", b"Bearer " + b"a" * 20_000, 401, REFUSED),
    "two tokens": (b"\r\n\r\n", b"\r\nAuthorization: Bearer x\r\n\r\n", 401, REFUSED),
    "a needless proof": (b"\r\n\r\n", b"\r\nDPoP: e30.e30.e30\r\n\r\n", 401, REFUSED),
    "a proof scheme for a bearer token": (b"Bearer ", b"DPoP ", 401, REFUSED),
    "no such endpoint": (b"/mcp", b"/mcp/nobody", 404, REFUSED),
    "an endpoint above": (b"/mcp", b"/mcp/../healthz", 404, REFUSED),
    "a page that only reads": (b"/mcp", b"/metrics", 404, REFUSED),
    "a verb of files": (b"POST /mcp", b"PUT /mcp", 405, MALFORMED),
    "a stream of no session": (b"POST /mcp", b"GET /mcp", 405, MALFORMED),
    "a session of somebody else": (
        b"MCP-Protocol-Version: 2026-07-28", b"Mcp-Session-Id: stolen", 400, MALFORMED),
    "the end of another's session": (
        b"POST /mcp HTTP/1.1", b"DELETE /mcp HTTP/1.1\r\nMcp-Session-Id: stolen", 404, REFUSED),
    "two sessions": (
        b"POST /mcp HTTP/1.1",
        b"GET /mcp HTTP/1.1\r\nMcp-Session-Id: a\r\nMcp-Session-Id: b", 400, MALFORMED),
    "a form": (b"application/json\r\n", b"application/x-www-form-urlencoded\r\n", 415, MALFORMED),
    "no type": (b"Content-Type: ", b"X-Type: ", 415, MALFORMED),
    "another charset": (b"application/json\r\n", b"application/json; charset=utf-7\r\n",
                        415, MALFORMED),
    "compression": (b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 415, MALFORMED),
    "more than a body may be": (
        b"Content-Length: ", b"Content-Length: 9999", 413, MALFORMED),
    "no version header": (b"MCP-Protocol-Version: ", b"X-Version: ", 400, MALFORMED),
    "two version headers": (
        b"\r\n\r\n", b"\r\nMCP-Protocol-Version: 2025-11-25\r\n\r\n", 400, MALFORMED),
    "no method header": (b"Mcp-Method: ", b"X-Method: ", 400, MALFORMED),
    "another method header": (b"Mcp-Method: tools/call", b"Mcp-Method: tools/list",
                              400, MALFORMED),
    "no name header": (b"Mcp-Name: ", b"X-Name: ", 400, MALFORMED),
    "another name header": (b"Mcp-Name: look", b"Mcp-Name: send", 400, MALFORMED),
    "two name headers": (b"Mcp-Name: look", b"Mcp-Name: look\r\nMcp-Name: send", 400, MALFORMED),
    "a name header that does not decode": (
        b"Mcp-Name: look", b"Mcp-Name: =?base64?%%%?=", 400, MALFORMED),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_a_hostile_head_is_answered_counted_and_reaches_nothing(
    live: LiveGateway, name: str
) -> None:
    old, new, status, counter = HEADS[name]
    honest = call_bytes(live.token, "look", {"nonce": "hostile"}, host=live.host, headers=CLOSE)
    assert old in honest
    before = live.counts()
    arrived = len(live.journal.calls)
    said = live.talk(honest.replace(old, new, 1), leave=True)[0]
    assert said.status == status, said
    explained = said.message.get("error", said.message)
    assert len(explained["message"]) > 10, said
    after = live.counts()
    noted = f"midflight_{counter}_total"
    assert after.get(noted, 0) == before.get(noted, 0) + 1, (before, after)
    if counter != HTTP:
        what = "message.malformed" if counter == MALFORMED else "caller.refused"
        assert told(live, what, explained["message"])
    assert len(live.journal.calls) == arrived
    assert live.honest().code == "done"


# Whatever hypothesis thinks of

CALM = {200, 202, 400, 401, 403, 404, 405, 408, 413, 414, 415, 417, 431, 501, 505}


def is_calm(live: LiveGateway, answers: list[Said]) -> None:
    """Each answer is one that a program can read, and none says that something broke."""
    for said in answers:
        assert said.status in CALM, said
        if said.status >= 400:
            explained = said.message.get("error", said.message)
            assert explained["message"], said
            assert explained["code"] != -32603, said
    assert live.honest().code == "done"


@given(st.binary(max_size=2_000))
def test_random_bytes_are_answered_or_dropped(live: LiveGateway, raw: bytes) -> None:
    is_calm(live, live.talk(raw, leave=True))


PIECES = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [
            b"\r\n",
            b"\r\n\r\n",
            b"\0",
            b"chunked",
            b"0\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Length: 5\r\n",
            b"Authorization: Bearer \r\n",
            b'"',
            b"{",
            b"\\u0000",
            b"\xed\xa0\x80",
        ]
    ),
)


@pytest.fixture(scope="module")
def bent(live: LiveGateway) -> bytes:
    """The request that is bent: always the same, or hypothesis could not repeat what it did."""
    return call_bytes(live.token, "look", {"nonce": "bent"}, host=live.host)


@given(data=st.data())
def test_an_honest_request_with_holes_and_additions_is_answered_or_dropped(
    live: LiveGateway, bent: bytes, data: st.DataObject
) -> None:
    raw = bytearray(bent)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 20))] = data.draw(PIECES)
    is_calm(live, live.talk(bytes(raw), leave=True))


NAMES = ["name", "arguments", "_meta", "uri", "ref", "cursor", "task", "taskId", "requestState",
         "inputResponses", "argument", "context", "level", "nonce", "protocolVersion", "id",
         *META, "progressToken", "traceparent"]  # fmt: skip
JSONS = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20),
        st.sampled_from(["look", "nosuch", "2026-07-28", "ref/prompt", "mfh_x", "sample://x"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=8)), inner, max_size=5),
    ),
    max_leaves=12,
)  # fmt: skip
METHODS = st.one_of(
    st.sampled_from(
        ["tools/call", "tools/list", "resources/read", "resources/list", "prompts/get", "ping",
         "prompts/list", "completion/complete", "tasks/get", "tasks/cancel", "logging/setLevel",
         "resources/subscribe", "server/discover", "initialize", "notifications/cancelled",
         "notifications/roots/list_changed", "sampling/createMessage"]
    ),
    st.text(max_size=20),
)  # fmt: skip


@given(
    method=METHODS,
    params=st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=8)), JSONS),
    request_id=st.one_of(st.just(7), JSONS),
    with_meta=st.booleans(),
    in_session=st.booleans(),
)
def test_messages_of_any_shape_are_answered_and_break_nothing(
    live: LiveGateway,
    session: str,
    *,
    method: str,
    params: dict[str, Any],
    request_id: Any,
    with_meta: bool,
    in_session: bool,
) -> None:
    if with_meta:
        params = params | {"_meta": META}
    name = params.get("name", "")
    message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    if in_session:
        version, headers = "2025-11-25", (f"Mcp-Session-Id: {session}", *CLOSE)
    else:
        version, headers = "2026-07-28", CLOSE
    raw = post_bytes(
        json.dumps(message).encode(),
        live.token,
        host=live.host,
        version=version,
        method=header_text(method),
        name=header_text(name) if isinstance(name, str) else "",
        headers=headers,
    )
    is_calm(live, live.talk(raw))


def header_text(text: str) -> str:
    """As the modern generation spells any text in a header."""
    if re.fullmatch(r"[!-~]*", text):
        return text
    encoded = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
    return f"=?base64?{encoded}?="


@pytest.fixture(scope="module")
def session(live: LiveGateway) -> str:
    """A session of the legacy generation."""
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    raw = post_bytes(
        json.dumps(message).encode(), live.token, host=live.host, version="2025-11-25",
        headers=CLOSE,
    )  # fmt: skip
    [said] = live.talk(raw)
    assert said.status == 200, said
    return said.headers["mcp-session-id"]


# Slow clients


def test_clients_that_never_finish_are_cut_and_cost_nobody_else_anything(tmp_path: Path) -> None:
    limits = {"head_timeout": 1, "body_idle": 1, "body_total": 2, "keep_alive": 1}
    gateway = {
        "listen": "127.0.0.1:0", "public_url": "http://127.0.0.1:8600", "limits": limits,
    }  # fmt: skip
    with live_gateway(tmp_path, gateway=gateway) as live:
        honest = call_bytes(live.token, "look", {"nonce": "slow"}, host=live.host)
        head, _, body = honest.partition(b"\r\n\r\n")
        stays = {
            "silent": b"",
            "half a request line": b"POST /m",
            "half a head": head[:-20],
            "a head without its end": head + b"\r\n",
            "no body": head + b"\r\n\r\n",
            "half a body": head + b"\r\n\r\n" + body[:20],
            "half of a second request": honest + honest[:50],
        }
        ended: dict[str, list[int]] = {}

        def stay(name: str) -> None:
            ended[name] = [said.status for said in live.talk(stays[name])]

        def drip() -> None:
            cut = threading.Event()
            with socket.create_connection(live.host.split(":"), timeout=30) as slow:
                slow.sendall(head.replace(b"Content-Length: ", b"Content-Length: 9") + b"\r\n\r\n")
                reading = threading.Thread(target=lambda: (slow.recv(9), cut.set()))
                reading.start()
                with contextlib.suppress(OSError):
                    while not cut.wait(0.05):
                        slow.sendall(b" ")
                reading.join()
            ended["a body that drips"] = [408] if cut.is_set() else []

        clients = [threading.Thread(target=stay, args=(name,)) for name in stays]
        clients.append(threading.Thread(target=drip))
        for client in clients:
            client.start()
        assert live.honest().code == "done"  # while all of them hang
        for client in clients:
            client.join(60)
        assert ended == {
            "silent": [],
            "half a request line": [408],
            "half a head": [408],
            "a head without its end": [408],
            "no body": [408],
            "half a body": [408],
            "half of a second request": [200, 408],
            "a body that drips": [408],
        }
        assert live.counts()["midflight_http_refused_total"] == 7
        assert live.journal.nonces("look").count("slow") == 1
        assert live.honest().code == "done"


# Floods

MIB = 1024 * 1024
FLOOD = 64 * MIB
UNREAD_MEMORY = 32 * MIB
"""What floods may add to the gateway's resident memory at its worst moment."""
READ_MEMORY = 192 * MIB
"""What one message may add that is as large as a body may be: it is read to be refused."""


def peak_memory(pid: int) -> int:
    """Bytes of resident memory at the worst moment so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def forget_peak(pid: int) -> None:
    """Measure from here (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def flood(plane: ProcessPlane, opening: bytes, piece: bytes = b"") -> list[Said]:
    """Send an opening and then pieces up to 64 MiB, or until the gateway stops listening."""
    host, _, port = plane.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        answer = bytearray()

        def read() -> None:
            with contextlib.suppress(OSError):
                while got := connection.recv(65_536):
                    answer.extend(got)

        reading = threading.Thread(target=read)
        reading.start()
        with contextlib.suppress(OSError):
            connection.sendall(opening)
            for _ in range(FLOOD // len(piece) if piece else 0):
                connection.sendall(piece)
        reading.join(30)
        return parse(bytes(answer))


def test_floods_cost_the_gateway_little_memory(tmp_path: Path) -> None:
    with process_plane(tmp_path, "") as plane:
        plane.start()
        token = plane.token(plane.register("one"))
        host = plane.url.removeprefix("http://")

        def opening(
            body: bytes = b"", *, sized: int | None = None, proof: str | None = token
        ) -> bytes:
            raw = post_bytes(body, proof, host=host, headers=CLOSE, **CALL)
            if sized is not None:
                raw = raw.replace(b"Content-Length: 0", b"Content-Length: %d" % sized)
            return raw

        chunked = opening().replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        chunk = b"10000\r\n" + b"[" * 65_536 + b"\r\n"
        # As large as a body may be, in forms that make the most of it in memory.
        largest = 4 * MIB
        worst = [
            b"[" + (form + b",") * (largest // (len(form) + 1) - 1) + b"0]"
            for form in (b"[]", b"{}", b'""', b"1.5", b'{"a":0}')
        ]
        floods: dict[str, tuple[bytes, bytes, set[int]]] = {
            "noise": (b"", bytes(range(256)) * 256, {414}),
            "an endless request line": (b"GET /", b"a" * 65_536, {414}),
            "endless headers": (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 10_000, {431}),
            "a body of nobody's": (opening(sized=FLOOD, proof=None), b"a" * 65_536, {401}),
            "a body that says it is too large": (opening(sized=FLOOD), b"a" * 65_536, {413}),
            "endless chunks": (chunked, chunk, {413}),
            "chunks of nobody's": (chunked.replace(b"Bearer ", b"Bearer x"), chunk, {401}),
            "endless empty lines": (b"", b"\r\n" * 30_000, {400}),
        }
        forget_peak(plane.pid)
        before = peak_memory(plane.pid)
        # All at once: half a gigabyte that nobody is going to read.
        with ThreadPoolExecutor(len(floods)) as clients:
            told = {
                name: clients.submit(flood, plane, first, piece)
                for name, (first, piece, _) in floods.items()
            }
        for name, (_, _, statuses) in floods.items():
            assert {said.status for said in told[name].result()} <= statuses, name
        assert peak_memory(plane.pid) - before < UNREAD_MEMORY
        # And what is read, because a caller who is known may send that much.
        for form in worst:
            [said] = flood(plane, opening(form))
            assert said.status == 400, said
        assert peak_memory(plane.pid) - before < READ_MEMORY
        discover = body_of(method="server/discover", params={"_meta": META})
        [said] = flood(plane, opening(discover).replace(b"tools/call", b"server/discover", 1))
        assert said.status == 200, said
        assert plane.stop() == 0
