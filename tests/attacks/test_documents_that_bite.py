"""URLs and servers of strangers: reaching inwards by a fetch, and holding the plane up with one.

Servers are real ones over TLS on loopback, which only `allow_private` lets in.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import threading
import zlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, trusting

from midflight.adapters.documents.addresses import problem_of
from midflight.adapters.documents.exchange import MAX_LOOKUPS
from midflight.adapters.documents.https import HttpsDocuments
from midflight.apps.server.tls import server_context
from midflight.domain.errors import NoDocument
from midflight.services.ports.documents import Document

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Server:
    """Answers every connection with the same bytes, and counts them."""

    def __init__(self) -> None:
        self.answer = b""
        self.holds = False
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0
        self.more = b""
        self.gone = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            if self.holds:
                await reader.read()
            while self.more and not writer.is_closing():
                writer.write(self.more)
                await writer.drain()
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self.gone.set()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def server(authority: Authority) -> AsyncGenerator[Server]:
    made = Server()
    certificate, key = authority.issue("localhost")
    context = server_context(certificate, key, now=1_800_000_000)
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield made


def answering(*addresses: str) -> Any:
    """A resolver that gives these, one list a question, the last one for ever."""
    lists = [list(addresses)]

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return lists[0]

    return resolve


def documents(authority: Authority, **settings: Any) -> HttpsDocuments:
    values: dict[str, Any] = {"resolve": answering("127.0.0.1"), **settings}
    return HttpsDocuments(tls=trusting(authority), **values)


async def fetch(server: Server, authority: Authority, **settings: Any) -> Document:
    where = f"https://localhost:{server.port}/keys?a=b"
    return await documents(authority, **settings).fetch(where, allow_private=True)


async def refused(server: Server, authority: Authority, **settings: Any) -> str:
    with pytest.raises(NoDocument) as caught:
        await fetch(server, authority, **settings)
    # One message for everything: nobody learns from it what can be reached from here.
    assert caught.value.message == "A document that is needed could not be fetched."
    assert "localhost" not in str(caught.value)
    return caught.value.reason


async def test_a_plain_document_comes_with_its_age(server: Server, authority: Authority) -> None:
    server.answer = (
        OK + b'Cache-Control: public, max-age=90\r\nContent-Length: 11\r\n\r\n{"keys":[]}'
    )
    found = await fetch(server, authority)
    assert found == Document(value={"keys": []}, max_age_s=90)
    head = server.requests[0].decode()
    assert head.startswith("GET /keys?a=b HTTP/1.1\r\n")
    assert f"Host: localhost:{server.port}\r\n" in head
    assert "Cookie" not in head
    assert "Authorization" not in head


async def test_the_first_address_that_takes_a_connection_serves(
    server: Server, authority: Authority
) -> None:
    server.answer = OK + b"Content-Length: 2\r\n\r\n{}"
    both = answering("127.0.0.2", "127.0.0.1")
    assert (await fetch(server, authority, resolve=both)).value == {}


@pytest.mark.parametrize(
    ("control", "age"),
    [("no-store", 0), ("max-age=5, no-cache", 0), ("private", None), ("s-maxage=9", None)],
)
async def test_what_must_not_be_kept_is_not(
    server: Server, authority: Authority, control: str, age: int | None
) -> None:
    server.answer = OK + f"Cache-Control: {control}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    assert (await fetch(server, authority)).max_age_s == age


# Where it may not go


INWARD = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "169.254.169.254", "169.254.1.1", "100.64.0.1", "100.100.100.200",
    "168.63.129.16", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1",
    "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:1::", "2001:db8::1",
    "fec0::1", "not an address", "",
]  # fmt: skip
STRICTLY = [
    "169.254.169.254", "169.254.1.1", "::ffff:169.254.169.254", "fd00:ec2::254", "fe80::1",
    "0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "100.100.100.200", "168.63.129.16",
    "64:ff9b::a9fe:a9fe", "fe80::1%lo", "2002:7f00:1::", "240.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("address", INWARD)
async def test_an_inward_address_is_never_connected_to(
    server: Server, authority: Authority, address: str
) -> None:
    assert problem_of(address, allow_private=False)
    for found in ([address], ["8.8.8.8", address], [address, "8.8.8.8"]):
        with pytest.raises(NoDocument) as caught:
            await documents(authority, resolve=answering(*found)).fetch(
                f"https://localhost:{server.port}/keys"
            )
        assert "resolves to an address" in caught.value.reason
    assert server.connections == 0


@pytest.mark.parametrize("address", STRICTLY)
def test_metadata_of_clouds_is_out_of_reach_even_where_private_is_allowed(address: str) -> None:
    assert problem_of(address, allow_private=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_pass(address: str) -> None:
    assert problem_of(address, allow_private=False) == ""


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "fd12::1", "::ffff:10.0.0.1"])
def test_private_addresses_pass_where_settings_say_so(address: str) -> None:
    assert problem_of(address, allow_private=True) == ""


async def test_a_name_that_changes_its_mind_is_not_followed(
    server: Server, authority: Authority
) -> None:
    """DNS rebinding: the second answer would be 127.0.0.1, and nobody asks for a second."""
    answers = [["192.0.2.7"], ["127.0.0.1"]]
    asked: list[str] = []
    connected: list[Any] = []

    async def resolve(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return answers.pop(0)

    loop = asyncio.get_running_loop()
    true_connect = loop.create_connection

    async def connect(factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        connected.append(host)
        return await true_connect(factory, "127.0.0.1", port, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("midflight.adapters.documents.exchange.problem_of", lambda *_, **__: "")
        patch.setattr(loop, "create_connection", connect)
        server.answer = OK + b"Content-Length: 2\r\n\r\n{}"
        await documents(authority, resolve=resolve).fetch(f"https://localhost:{server.port}/")
    assert asked == ["localhost"]
    assert connected == ["192.0.2.7"], "the address that was looked at, not the name"


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/", "ftp://localhost/", "file:///etc/passwd", "gopher://localhost/",
        "https://", "https:///keys", "https://user@localhost/", "https://u:p@localhost/",
        "https://localhost/#f", "https://localhost/#", "https://local host/",
        "https://localhost\\@evil.example.test/", "https://localhost/\r\nHost: x", "//localhost/",
        "https://localhost:99999/", "https://localhost:x/", "https://ex\u00e4mple.test/", "",
        "https://localhost/" + "a" * 2_048, "https://[::1", "https://-/ \t",
    ],
)  # fmt: skip
async def test_what_is_no_plain_https_url_is_not_fetched(authority: Authority, url: str) -> None:
    with pytest.raises(NoDocument):
        await documents(authority).fetch(url, allow_private=True)


# What it may not answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300, 304, 204, 401, 404, 500, 206])
async def test_a_redirect_to_metadata_is_not_followed(
    server: Server, authority: Authority, status: int
) -> None:
    to = b"Location: https://169.254.169.254/latest/meta-data/\r\nContent-Length: 0\r\n\r\n"
    server.answer = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n" % status + to
    assert f"answered {status}" in await refused(server, authority)
    assert server.connections == 1


async def test_a_giant_body_is_cut(server: Server, authority: Authority) -> None:
    server.answer = OK + b"Content-Length: 65537\r\n\r\n" + b" " * 65_537
    assert "larger than 65536" in await refused(server, authority)
    server.answer = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    server.more = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    server.gone.clear()
    assert "65536" in await refused(server, authority)
    await server.gone.wait()


async def test_a_giant_head_is_cut(server: Server, authority: Authority) -> None:
    server.answer = OK + b"X: " + b"a" * 65_536 + b"\r\nContent-Length: 2\r\n\r\n{}"
    await refused(server, authority)
    server.answer = OK + b"A: b\r\n" * 200 + b"Content-Length: 2\r\n\r\n{}"
    await refused(server, authority)


@pytest.mark.parametrize("sent", [b"", OK, OK + b"Content-Length: 2\r\n\r\n{"])
async def test_a_server_that_takes_its_time_is_left(
    server: Server, authority: Authority, sent: bytes
) -> None:
    server.answer, server.holds = sent, True
    assert await refused(server, authority, timeout_s=0.2) == "took over 0.2 s"
    await server.gone.wait()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "x"])
async def test_a_bomb_is_not_unpacked(server: Server, authority: Authority, coding: str) -> None:
    body = gzip.compress(b'{"a":"' + b"a" * 10_000_000 + b'"}')
    if coding == "deflate":
        body = zlib.compress(b" " * 10_000_000)
    head = f"Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    server.answer = OK + head.encode() + body
    assert "content coding" in await refused(server, authority)


@pytest.mark.parametrize(
    "kind", ["text/html", "text/plain", "application/jsonp", "application/x-json", "json", "*/*"]
)
async def test_what_is_not_called_json_is_not_read(
    server: Server, authority: Authority, kind: str
) -> None:
    server.answer = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    )
    assert "content type" in await refused(server, authority)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"a"', b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff", b"{}{}", b"<html>"]
)
async def test_what_is_no_strict_json_object_is_refused(
    server: Server, authority: Authority, body: bytes
) -> None:
    server.answer = OK + b"Content-Length: %d\r\n\r\n" % len(body) + body
    assert "JSON" in await refused(server, authority)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00" * 100,
        b"SSH-2.0-x\r\n",
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 101 X\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused(
    server: Server, authority: Authority, answer: bytes
) -> None:
    server.answer = answer
    await refused(server, authority)


async def test_a_certificate_for_another_name_is_refused(
    server: Server, authority: Authority, tmp_path: Path
) -> None:
    where = f"https://elsewhere.example.test:{server.port}/"
    with pytest.raises(NoDocument) as caught:
        await documents(authority).fetch(where, allow_private=True)
    assert "certificate" in caught.value.reason
    with pytest.raises(NoDocument) as caught:
        await documents(Authority(tmp_path)).fetch(
            f"https://localhost:{server.port}/", allow_private=True
        )
    assert "certificate" in caught.value.reason


async def test_names_that_are_never_found_take_no_thread_of_the_plane(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go, looked = threading.Event(), 0

    def never(*_: Any, **__: Any) -> list[Any]:
        nonlocal looked
        looked += 1
        go.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", never)
    fetching = HttpsDocuments(timeout_s=0.5)
    try:
        found = await asyncio.gather(
            *(fetching.fetch(f"https://slow-{number}.example/x") for number in range(60)),
            return_exceptions=True,
        )
        assert {str(getattr(error, "reason", "")) for error in found} == {"took over 0.5 s"}
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(lambda: "free") == "free"
        assert looked == MAX_LOOKUPS
    finally:
        go.set()
