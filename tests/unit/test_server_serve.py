"""Listeners: where the server may listen, how Unix sockets are made, how it stops."""

from __future__ import annotations

import asyncio
import datetime as dt
import fcntl
import os
import socket
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, trusting
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from server_kit import Client, Recorder, connect, parse_answers, request, running, until

from midflight.adapters.telemetry.quiet import QuietTelemetry
from midflight.apps.server.asgi import Receive, Scope, Send
from midflight.apps.server.limits import Limits
from midflight.apps.server.listeners import Listener, TcpListener, UnixListener, check_listeners
from midflight.apps.server.peer import scope_peer
from midflight.apps.server.respond import send_json
from midflight.apps.server.serve import serving
from midflight.apps.server.tls import server_context
from midflight.domain.errors import Misconfigured

pytestmark = pytest.mark.anyio

NOW = dt.datetime(2030, 1, 15, tzinfo=dt.UTC)


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def context(authority: Authority, *, client_ca: Path | None = None) -> ssl.SSLContext:
    certificate, key = authority.issue("server")
    return server_context(certificate, key, now=NOW.timestamp(), client_ca=client_ca)


def private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / "control.sock"


# Where


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1"])
async def test_other_machines_are_only_served_over_tls(host: str) -> None:
    listener = TcpListener(name="gateway", app=Recorder(), host=host)
    with pytest.raises(Misconfigured, match="has no TLS") as caught:
        async with serving([listener]):
            pass
    assert "certificate" in caught.value.hint


async def test_every_problem_of_the_listeners_is_told_at_once() -> None:
    app = Recorder()
    listeners: list[Listener] = [
        TcpListener(name="a", app=app, host="0.0.0.0"),
        TcpListener(name="a", app=app, port=70_000),
        TcpListener(name="b", app=app, host="plane.example"),
        UnixListener(name="c", app=app, path="relative.sock"),
        UnixListener(name="d", app=app, path="/x.sock", mode=0o666),
    ]
    with pytest.raises(Misconfigured) as caught:
        check_listeners(listeners)
    assert len(caught.value.problems) == 6


async def test_localhost_is_both_addresses_on_one_port() -> None:
    async with serving([TcpListener(name="a", app=Recorder(), host="localhost")]) as [bound]:
        assert bound.url == f"http://localhost:{bound.port}"
        assert {port for _, port in bound.addresses} == {bound.port}
        for host, port in bound.addresses:
            client = await connect(port, host)
            await client.send(request())
            assert (await client.answer()).status == 200
            await client.close()


async def test_an_address_in_use_is_said_so_and_nothing_else_stays_open(tmp_path: Path) -> None:
    path = private(tmp_path / "run")
    app = Recorder()
    async with running(app) as port:
        listeners: list[Listener] = [
            UnixListener(name="a", app=app, path=str(path)),
            TcpListener(name="b", app=app, port=port),
        ]
        with pytest.raises(Misconfigured, match=f"port {port}"):
            async with serving(listeners):
                pass
    assert not path.exists()


async def test_listeners_have_their_own_apps(tmp_path: Path) -> None:
    apps = Recorder(), Recorder()
    path = private(tmp_path / "run")
    listeners: list[Listener] = [
        TcpListener(name="a", app=apps[0]),
        UnixListener(name="b", app=apps[1], path=str(path)),
    ]
    async with serving(listeners) as (tcp, unix):
        client = await connect(tcp.port)
        await client.send(request(path="/tcp"))
        await client.answer()
        await client.close()
        client = Client(*await asyncio.open_unix_connection(unix.path))
        await client.send(request(path="/unix"))
        await client.answer()
        await client.close()
    assert [[seen.path for seen in app.requests] for app in apps] == [["/tcp"], ["/unix"]]


# Unix sockets


async def test_a_unix_socket_is_private_and_says_who_calls(tmp_path: Path) -> None:
    app = Recorder()
    path = tmp_path / "made" / "control.sock"
    async with serving([UnixListener(name="control", app=app, path=str(path))]) as [bound]:
        assert bound.url == f"unix:{path}"
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        client = Client(*await asyncio.open_unix_connection(path))
        await client.send(request())
        await client.answer()
        await client.close()
    peer = scope_peer(app.scopes[0])
    assert (peer.kind, peer.uid, peer.gid, peer.pid) == (
        "unix",
        os.geteuid(),
        os.getegid(),
        os.getpid(),
    )
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    assert peer.process in {f"{os.getpid()}@{started}", ""}  # empty before Linux 6.5
    assert not path.exists()


async def test_a_socket_is_given_the_mode_it_is_configured_with(tmp_path: Path) -> None:
    path = private(tmp_path / "run")
    listener = UnixListener(name="a", app=Recorder(), path=str(path), mode=0o660)
    async with serving([listener]):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777, 0o701])
async def test_a_directory_that_others_can_enter_is_refused(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "run")
    path.parent.chmod(mode)
    with pytest.raises(Misconfigured, match="not private"):
        async with serving([UnixListener(name="a", app=Recorder(), path=str(path))]):
            pass


async def test_a_symbolic_link_for_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    path = tmp_path / "link" / "control.sock"
    with pytest.raises(Misconfigured, match="not a directory"):
        async with serving([UnixListener(name="a", app=Recorder(), path=str(path))]):
            pass


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = private(tmp_path / "run")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
        stale.listen()
    assert path.exists()
    async with serving([UnixListener(name="a", app=Recorder(), path=str(path))]):
        client = Client(*await asyncio.open_unix_connection(path))
        await client.send(request())
        assert (await client.answer()).status == 200
        await client.close()


async def test_a_socket_that_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    path = private(tmp_path / "run")
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        with pytest.raises(Misconfigured, match="Another server"):
            async with serving([UnixListener(name="a", app=Recorder(), path=str(path))]):
                pass
        assert path.exists()


async def test_two_servers_cannot_have_one_socket(tmp_path: Path) -> None:
    listener = UnixListener(name="a", app=Recorder(), path=str(private(tmp_path / "run")))
    async with serving([listener]):
        with pytest.raises(Misconfigured, match="Another server"):
            async with serving([listener]):
                pass
        client = Client(*await asyncio.open_unix_connection(listener.path))
        await client.send(request())
        assert (await client.answer()).status == 200
        await client.close()


async def test_a_server_that_is_just_starting_is_not_overtaken(tmp_path: Path) -> None:
    path = private(tmp_path / "run")
    with path.with_name("control.sock.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Misconfigured, match="Another server"):
            async with serving([UnixListener(name="a", app=Recorder(), path=str(path))]):
                pass
    assert not path.exists()


async def test_a_file_in_the_socket_s_place_is_not_removed(tmp_path: Path) -> None:
    path = private(tmp_path / "run")
    path.write_text("precious")
    with pytest.raises(Misconfigured, match="not a socket"):
        async with serving([UnixListener(name="a", app=Recorder(), path=str(path))]):
            pass
    assert path.read_text() == "precious"


async def test_a_path_too_long_for_a_socket_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 120)
    with pytest.raises(Misconfigured, match="longer than"):
        async with serving([UnixListener(name="a", app=Recorder(), path=str(path))]):
            pass


# TLS


async def test_tls_is_spoken_and_the_client_s_certificate_is_in_the_scope(
    authority: Authority,
) -> None:
    app = Recorder()
    listener = TcpListener(name="a", app=app, tls=context(authority, client_ca=authority.file))
    identity = authority.issue("workload")
    async with serving([listener]) as [bound]:
        assert bound.url.startswith("https://")
        client = Client(
            *await asyncio.open_connection(
                "127.0.0.1",
                bound.port,
                ssl=trusting(authority, identity),
                server_hostname="localhost",
            )
        )
        tls = client.writer.get_extra_info("ssl_object")
        assert tls.version() == "TLSv1.3"
        await client.send(request())
        assert (await client.answer()).status == 200
        await client.close()
    [scope] = app.scopes
    certificate = scope_peer(scope).certificate
    assert certificate is not None
    common_name = x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
    assert common_name == "CN=workload"
    assert scope["scheme"] == "https"


async def test_a_client_without_a_certificate_is_not_served_where_one_is_asked_for(
    authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").issue("stranger")
    app = Recorder()
    listener = TcpListener(name="a", app=app, tls=context(authority, client_ca=authority.file))
    async with serving([listener]) as [bound]:
        for identity in (None, stranger):
            answered = b""
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1",
                    bound.port,
                    ssl=trusting(authority, identity),
                    server_hostname="localhost",
                )
                writer.write(request())
                answered = await reader.read()
                writer.close()
            except (ssl.SSLError, ConnectionError):
                pass  # TLS 1.3 tells the client with its first read, or at once
            assert answered == b""
    assert app.started == 0


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_refused(authority: Authority) -> None:
    async with serving([TcpListener(name="a", app=Recorder(), tls=context(authority))]) as [bound]:
        old = trusting(authority)
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(
                "127.0.0.1", bound.port, ssl=old, server_hostname="localhost"
            )


async def test_a_handshake_that_stands_still_is_cut(authority: Authority) -> None:
    listener = TcpListener(name="a", app=Recorder(), tls=context(authority))
    async with serving([listener], Limits(handshake_s=0.02)) as [bound]:
        client = await connect(bound.port)
        assert await client.rest() == b""
        await client.close()


async def test_the_bounds_hold_over_tls(authority: Authority) -> None:
    limits = Limits(linger_s=0.05, head_s=0.3)
    async with serving([TcpListener(name="a", app=Recorder(), tls=context(authority))], limits) as [
        bound
    ]:
        for data, status in ((b"GET / HTTP/1.1\r\nX: " + b"a" * 60_000, 431), (b"GET / HT", 408)):
            client = Client(
                *await asyncio.open_connection(
                    "127.0.0.1",
                    bound.port,
                    ssl=trusting(authority),
                    server_hostname="localhost",
                )
            )
            await client.send(data)
            assert [answer.status for answer in parse_answers(await client.rest())] == [status]
            client.abort()


async def test_weak_files_are_refused_with_every_problem(authority: Authority) -> None:
    good = authority.issue("good")
    weak = authority.issue("weak", rsa.generate_private_key(65_537, 1_024))
    small = authority.issue("small", ec.generate_private_key(ec.SECP192R1()))
    old = authority.issue("old", until=NOW - dt.timedelta(days=1))
    now = NOW.timestamp()
    with pytest.raises(Misconfigured) as caught:
        server_context(*weak, now=now)
    assert [problem.split(" ", 1)[1] for problem in caught.value.problems] == [
        "has an RSA key of 1024 bits; 2048 are needed"
    ] * 2
    with pytest.raises(Misconfigured, match="secp192r1"):
        server_context(*small, now=now)
    with pytest.raises(Misconfigured, match="expired on 2030-01-14"):
        server_context(*old, now=now)
    with pytest.raises(Misconfigured, match="not valid before"):
        server_context(*good, now=0)
    with pytest.raises(Misconfigured, match="is not the key of"):
        server_context(good[0], authority.issue("another")[1], now=now)
    with pytest.raises(Misconfigured, match="is no authority"):
        server_context(*good, now=now, client_ca=good[0])
    with pytest.raises(Misconfigured, match="holds no PEM certificate"):
        server_context(good[1], good[1], now=now)
    with pytest.raises(Misconfigured, match="cannot be read"):
        server_context(good[0], good[0].with_name("none"), now=now)
    good[1].chmod(0o640)
    with pytest.raises(Misconfigured, match="can be read by others"):
        server_context(*good, now=now)


async def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_passphrase(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, _ = authority.issue("server")
    place = tmp_path / "locked.key"
    place.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    place.chmod(0o600)
    with pytest.raises(Misconfigured, match="is encrypted"):
        server_context(certificate, place, now=NOW.timestamp())


# Stopping


async def test_stopping_lets_a_running_request_finish_and_takes_no_new_one() -> None:
    release = asyncio.Event()
    stopping = asyncio.Event()

    async def slow(_scope: Scope, _receive: Receive, send: Send) -> None:
        await release.wait()
        await send_json(send, b'"done"')

    app = Recorder(slow)
    port = 0

    async def serve() -> None:
        nonlocal port
        async with running(app) as port:
            await stopping.wait()

    server = asyncio.ensure_future(serve())
    await until(lambda: port > 0)
    client = await connect(port)
    idle = await connect(port)
    await client.send(request() + request(path="/behind"))
    await until(lambda: bool(app.requests))
    stopping.set()
    assert await idle.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        await connect(port)
    assert not server.done()
    release.set()
    answers = parse_answers(await client.rest())
    assert [(answer.status, answer.body) for answer in answers] == [(200, b'"done"')]
    await server
    assert [seen.path for seen in app.requests] == ["/"]
    await client.close()
    await idle.close()


async def test_stopping_cuts_what_does_not_finish_in_time() -> None:
    cancelled = asyncio.Event()

    async def forever(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    app = Recorder(forever)
    async with running(app, Limits(shutdown_s=0.02, linger_s=0.1)) as port:
        client = await connect(port)
        await client.send(request())
        await until(lambda: bool(app.requests))
    assert cancelled.is_set()
    assert b"begun" in await client.rest()
    await client.close()


async def test_a_server_whose_body_fails_stops_too() -> None:
    with pytest.raises(LookupError):
        async with running(Recorder()) as port:
            raise LookupError
    with pytest.raises(ConnectionRefusedError):
        await connect(port)


async def test_open_connections_are_told_to_telemetry() -> None:
    telemetry = QuietTelemetry()
    async with running(Recorder(), telemetry=telemetry):
        assert telemetry.gauges == {"http_connections": 0}
