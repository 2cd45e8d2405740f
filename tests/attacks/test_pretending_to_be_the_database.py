"""Somebody on this machine answers where PostgreSQL was to: he learns and stops nothing.

The port is free while the server restarts, and `localhost` is two addresses of which it has one.
What answers may ask for the password, for a billion rounds of a hash, or send what ends its driver:
one message with an impossible length once kept the whole process busy for ever, and another one
ended it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from backend_kit import Subject, credential, on_postgres, setup
from counterpart_kit import postgres
from credential_kit import MARKER, lease
from hypothesis import example, given
from hypothesis import strategies as st

from midflight.adapters.credentials.postgres import PostgresBackend
from midflight.adapters.credentials.postgres_screen import MAX_MESSAGE, Screen
from midflight.domain.errors import MidflightError, Misconfigured

pytestmark = pytest.mark.anyio

SECRET = "the-administrators-own-password"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


def message(kind: bytes, body: bytes, *, length: int | None = None) -> bytes:
    return kind + struct.pack("!i", len(body) + 4 if length is None else length) + body


def authenticate(code: int, more: bytes = b"") -> bytes:
    return message(b"R", struct.pack("!I", code) + more)


SASL = authenticate(10, b"SCRAM-SHA-256\0\0")
IN = authenticate(0) + message(b"Z", b"I")
ERROR = b"SERROR\0C42501\0M" + MARKER.encode() + b"\0D" + MARKER.encode() + b"\0\0"


@contextlib.asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1]


def says(steps: Sequence[bytes], heard: bytearray) -> Serve:
    """One that says these, each after it has been told something; keeps what it was told."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            for step in steps:
                heard.extend(await reader.read(65_536))
                writer.write(step)
                await writer.drain()
            heard.extend(await reader.read(65_536))
        writer.close()

    return serve


def backend(port: int, folder: Path, **more: Any) -> PostgresBackend:
    password = folder / "password"
    password.touch(0o600)
    password.write_text(SECRET)
    settings = {
        "host": "127.0.0.1",
        "port": port,
        "user": "admin",
        "password": f"file:{password}",
        "tls": "off",
        **more,
    }
    return PostgresBackend(setup(credential("postgres", scopes=("reader",), settings=settings)))


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([authenticate(3)], "another way than SCRAM"),
        ([authenticate(5, b"salt")], "another way than SCRAM"),
        ([authenticate(7)], "another way than SCRAM"),
        ([IN], "without proving"),
        ([SASL, authenticate(0)], "without proving"),
        ([SASL, authenticate(11, b"r=x,s=AAAA,i=2000000000")], "rounds of SCRAM"),
        ([SASL, authenticate(11, b"r=x,s=AAAA,i=0")], "rounds of SCRAM"),
        ([SASL, authenticate(11, b"\xff")], "rounds of SCRAM"),
        ([authenticate(12, b"v=AAAA")], "does not speak"),
        ([authenticate(11, b"r=x,s=AAAA,i=4096")], "does not speak"),
        ([SASL + SASL], "does not speak"),
        ([message(b"R", b"\0")], "does not speak"),
        ([message(b"R", b"", length=0x7FFFFFFF)], "does not speak"),
        ([message(b"S", b"", length=0)], "does not speak"),
        ([message(b"S", b"", length=3)], "does not speak"),
        ([message(b"N", b"", length=-1)], "does not speak"),
        ([message(b"N", b"", length=MAX_MESSAGE + 1)], "does not speak"),
        ([message(b"q", b"")], "does not speak"),
        ([b"\0" * 200], "does not speak"),
        ([b"HTTP/1.1 200 OK\r\n\r\n" + MARKER.encode()], "does not speak"),
        ([message(b"E", ERROR)], ""),
        ([authenticate(10, b"NOTHING\0\0")], ""),
        ([SASL, authenticate(11, b"r=x,s=!!,i=1")], ""),
        ([b""], ""),
    ],
)
async def test_who_answers_is_refused_and_has_learned_nothing(
    tmp_path: Path, steps: list[bytes], why: str
) -> None:
    heard = bytearray()
    async with listening(says(steps, heard)) as port:
        for verb in ("check", "issue"):
            made = backend(port, tmp_path)
            with pytest.raises(MidflightError) as refused:
                await (made.check() if verb == "check" else made.issue(lease(scopes=("reader",))))
            assert why in refused.value.message
            assert MARKER not in str(refused.value)
            await made.close()
    assert b"admin" in heard, "it was to be asked"
    assert SECRET.encode() not in heard


class Kept(asyncio.Protocol):
    """What has passed."""

    def __init__(self) -> None:
        self.data = bytearray()

    def data_received(self, data: bytes) -> None:
        self.data += data


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.is_cut = False

    def abort(self) -> None:
        self.is_cut = True


def screened(data: bytes, cuts: list[int]) -> tuple[bytes, str]:
    """What passes of bytes that come in pieces, and why no more did."""
    kept, wire = Kept(), Wire()
    screen = Screen(kept, over_tls=False, may_trust=True)
    screen.connection_made(wire)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(places):
        screen.data_received(data[begin:end])
    assert wire.is_cut is bool(screen.problem)
    return bytes(kept.data), screen.problem


PARTS = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from([IN, SASL, authenticate(0), authenticate(3), message(b"S", b"a\0b\0")]),
        st.builds(message, st.sampled_from([b"D", b"T", b"R", b"Z", b"?"]), st.binary(max_size=40)),
    ),
    max_size=6,
).map(b"".join)


@given(PARTS, st.lists(st.integers(min_value=0), max_size=8))
@example(b"R\0\0\0\4R\0\0\0\4", [5])  # authenticates without a code
def test_any_bytes_in_any_pieces_pass_or_are_refused_alike(data: bytes, cuts: list[int]) -> None:
    whole, problem = screened(data, [])
    passed, again = screened(data, cuts)
    assert again == problem
    assert data.startswith(passed)
    if not problem:
        assert passed == whole == data


# What is right passes: over TLS, too. This build of PostgreSQL has none, so a relay gives it.


def relay(port: int, tls: ssl.SSLContext) -> Serve:
    """TLS as PostgreSQL begins it, and what is inside to a server without."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S")
        with contextlib.suppress(OSError):
            await writer.start_tls(tls)
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        writer.close()

    return serve


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture(scope="module")
async def subject(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Subject]:
    with postgres() as server:
        async with on_postgres(server, tmp_path_factory.mktemp("pg")) as made:
            yield made


@pytest.mark.postgres
async def test_over_tls_a_server_is_who_its_certificate_says(
    subject: Subject, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("localhost"))
    port = int(subject.settings["port"])
    async with listening(relay(port, context)) as secured:
        settings = {**subject.settings, "host": "localhost", "port": secured, "tls": "verify-full"}
        right = settings | {"ca": str(authority.file)}
        made = PostgresBackend(setup(credential("postgres", scopes=("reader",), settings=right)))
        assert "can be made" in await made.check()
        one = lease(scopes=("reader",))
        await made.issue(one)
        await made.revoke(one)
        await made.close()
        # Its certificate is for another name.
        elsewhere = PostgresBackend(
            setup(
                credential("postgres", scopes=("reader",), settings=right | {"host": "127.0.0.1"})
            )
        )
        with pytest.raises(MidflightError):
            await elsewhere.check()
        await elsewhere.close()
        stranger = PostgresBackend(
            setup(credential("postgres", scopes=("reader",), settings=settings))
        )
        with pytest.raises(MidflightError):
            await stranger.check()
        await stranger.close()


@pytest.mark.postgres
async def test_over_a_socket_file_the_real_one_is_asked_as_well(subject: Subject) -> None:
    tcp = subject.backend()
    async with tcp._session() as session:
        folder = await session.fetchval("SHOW unix_socket_directories")
    await tcp.close()
    settings = {**subject.settings, "host": folder}
    made = PostgresBackend(setup(credential("postgres", scopes=("reader",), settings=settings)))
    one = lease(scopes=("reader",))
    assert "can be made" in await made.check()
    await made.issue(one)
    await made.revoke(one)
    assert one.external not in await made.names()
    await made.close()


async def test_at_a_socket_file_a_password_in_clear_is_not_given(tmp_path: Path) -> None:
    heard = bytearray()
    with tempfile.TemporaryDirectory(prefix="mf-") as folder:
        place = f"{folder}/.s.PGSQL.5432"
        async with await asyncio.start_unix_server(says([authenticate(3)], heard), place):
            made = backend(5432, tmp_path, host=folder)
            with pytest.raises(Misconfigured, match="another way than SCRAM"):
                await made.check()
            await made.close()
    assert b"admin" in heard
    assert SECRET.encode() not in heard


@pytest.mark.postgres
async def test_over_tls_what_ends_the_driver_is_refused_as_well(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("localhost"))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S")
        with contextlib.suppress(OSError):
            await writer.start_tls(context)
            await reader.read(65_536)
            writer.write(IN + message(b"D", b"", length=0))
            await writer.drain()
            await reader.read()
        writer.close()

    async with listening(serve) as port:
        more = {"host": "localhost", "tls": "verify-full", "ca": str(authority.file)}
        made = backend(port, tmp_path, **more)
        with pytest.raises(Misconfigured, match="does not speak"):
            await made.check()
        await made.close()
