"""Somebody wants a leased credential to go where it was not leased for.

Over real connections on loopback: what leaves is what the other end has read.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from authority import Authority, trusting
from hostile_server import Hostile
from upstream_kit import (
    FakeFlight,
    Notices,
    RecordingSink,
    call_tool,
    raw_server,
    read_request,
    response,
)

import gateways
from gateways import running_gateway
from midflight.adapters.upstream.mcp_http import McpHttpUpstream
from midflight.domain.errors import Interrupted, MidflightError
from midflight.domain.lease import Credential, Injection, Placement
from midflight.services.ports.injection import Attachment, ClientCertificate
from midflight.services.ports.upstream import RunSeat
from midflight.testing import ScriptedLeases

pytestmark = pytest.mark.anyio

MARK = "mark-7f1c09ab55e2"
ONE = RunSeat(run="run_one", workload="spiffe://example.org/agents/one")
TWO = RunSeat(run="run_two", workload="spiffe://example.org/agents/one")


class Heads:
    """A server that keeps the head of every request, around a hostile one."""

    def __init__(self, server: Hostile, *, redirect: str = "") -> None:
        self.server = server
        self.redirect = redirect
        self.lines: list[str] = []
        self.heads: list[str] = []
        self.methods: list[str] = []
        self.peers: list[Any] = []
        self.ports: list[int] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read a head, note it, and let the other answer."""
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            text = head.decode("latin-1")
            # Midflight's own listening for changed lists belongs to no run.
            if "subscriptions/listen" not in text:
                self.heads.append(text)
                self.lines.append(text.split("\r\n")[0])
                self.ports.append(writer.get_extra_info("peername")[1])
                secured = writer.get_extra_info("ssl_object")
                self.peers.append(secured and secured.getpeercert(binary_form=True))
            if self.redirect and self.server.heard:
                _, headers, _ = await _rest(head, reader)
                del headers
                writer.write(
                    response(
                        status="307 Temporary Redirect", extra=f"location: {self.redirect}\r\n"
                    )
                )
                await writer.drain()
                continue
            inner = asyncio.StreamReader()
            _, _, body = await _rest(head, reader)
            inner.feed_data(head + body)
            inner.feed_eof()
            with contextlib.suppress(asyncio.IncompleteReadError):
                await self.server.serve(inner, writer)

    def with_header(self, name: str) -> list[str]:
        """Its values, all of them, in order."""
        return [
            line.partition(": ")[2]
            for head in self.heads
            for line in head.split("\r\n")
            if line.lower().startswith(f"{name.lower()}: ")
        ]


async def _rest(head: bytes, reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    whole = asyncio.StreamReader()
    whole.feed_data(head)
    lengths = [
        int(line.partition(b": ")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    ]
    whole.feed_data(await reader.readexactly(lengths[0] if lengths else 0))
    return await read_request(whole)


@contextlib.asynccontextmanager
async def listening(
    *, modern: bool = True, redirect: str = "", tls: Any = None
) -> AsyncIterator[Any]:
    heads = Heads(Hostile(modern=modern), redirect=redirect)
    async with raw_server(heads.serve, ssl=tls) as url:
        heads.server.url = url
        yield heads


async def act(
    upstream: McpHttpUpstream, attachment: Attachment, *, seat: RunSeat = ONE, **more: Any
) -> Any:
    async with asyncio.timeout(20):
        return await upstream.call(
            call_tool("look"),
            seat=seat,
            flight=more.pop("flight", None) or FakeFlight(),
            sink=RecordingSink(),
            attachment=attachment,
        )


BEARER = Attachment(
    leases=("lease_1",),
    headers=(("Authorization", f"Bearer {MARK}"),),
    query=(("api key", "a/b&c=d"),),
)


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("modern", [True, False])
async def test_exactly_one_header_of_that_name_leaves_and_for_that_run_alone(
    modern: bool, http2: bool
) -> None:
    async with listening(modern=modern) as heads:
        upstream = McpHttpUpstream(
            "one", heads.server.url, headers={"authorization": "Bearer configured"}, http2=http2
        )
        await upstream.start(Notices())
        await upstream.describe()
        heads.heads.clear()
        heads.lines.clear()
        await act(upstream, BEARER)
        assert set(heads.with_header("authorization")) == {f"Bearer {MARK}"}
        assert all(head.lower().count("\r\nauthorization:") == 1 for head in heads.heads)
        assert all("?api%20key=a%2Fb%26c%3Dd " in line for line in heads.lines)
        heads.heads.clear()
        heads.lines.clear()
        await act(upstream, Attachment(), seat=TWO)
        assert MARK not in str(heads.heads)
        assert set(heads.with_header("authorization")) == {"Bearer configured"}
        # The run's session ends with its lease, and takes nothing with it.
        heads.heads.clear()
        upstream.release("lease_1", drain=False)
        await upstream.end_run("run_one")
        await upstream.close()
        assert MARK not in str(heads.heads)


async def test_an_upstream_redirects_to_another_host() -> None:
    async with listening() as other, listening(redirect=other.server.url) as heads:
        upstream = McpHttpUpstream("one", heads.server.url)
        await upstream.start(Notices())
        await upstream.describe()
        with pytest.raises(MidflightError) as caught:
            await act(upstream, BEARER)
        assert MARK not in str(caught.value)
        assert MARK in str(heads.heads)
        assert other.heads == []
        await upstream.close()


async def test_a_lease_is_revoked_between_being_leased_and_the_write() -> None:
    async with listening() as heads:
        upstream = McpHttpUpstream("one", heads.server.url)
        await upstream.start(Notices())
        await upstream.describe()
        heads.heads.clear()

        class Signer:
            """Revoked while the request is being made: the last moment before the write."""

            def sign(self, method: str, url: str, headers: Any, body: bytes) -> Any:
                flight.reason = "revoked"
                return [("dpop", MARK)]

        flight = FakeFlight()
        attachment = Attachment(leases=("lease_1",), signers=(Signer(),))
        with pytest.raises(Interrupted):
            await act(upstream, attachment, flight=flight)
        assert flight.sent == 0
        assert heads.heads == []
        await upstream.close()


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Mcp-Session-Id", "Transfer-Encoding"])
async def test_a_credential_placed_into_a_header_of_the_transport(name: str) -> None:
    async with listening() as heads:
        upstream = McpHttpUpstream("one", heads.server.url)
        await upstream.start(Notices())
        await upstream.describe()
        heads.heads.clear()
        with pytest.raises(MidflightError, match="Midflight's own"):
            await act(upstream, Attachment(leases=("l",), headers=((name, MARK),)))
        with pytest.raises(MidflightError) as caught:
            await act(upstream, Attachment(leases=("l",), headers=(("X", f"{MARK}\r\nY: z"),)))
        assert MARK not in str(caught.value)
        assert heads.heads == []
        await upstream.close()


async def test_a_proof_is_made_once_more_with_the_nonce_that_the_upstream_wants() -> None:
    nonces: list[str] = []

    class Signer:
        def __init__(self) -> None:
            self.used = "none"

        def nonce(self, value: str) -> None:
            nonces.append(value)
            self.used = value

        def sign(self, method: str, url: str, headers: Any, body: bytes) -> Any:
            assert ("authorization", f"DPoP {MARK}") in headers
            return [("DPoP", f"proof-{self.used}")]

    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, headers, body = await read_request(reader)
            seen.append(headers.get("dpop", ""))
            if b"server/discover" not in body and headers.get("dpop") != "proof-n1":
                refused = 'www-authenticate: DPoP error="use_dpop_nonce"\r\ndpop-nonce: n1\r\n'
                writer.write(response(status="401 Unauthorized", extra=refused))
                continue
            whole = asyncio.StreamReader()
            whole.feed_data(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            whole.feed_eof()
            with contextlib.suppress(asyncio.IncompleteReadError):
                await server.serve(whole, writer)

    server = Hostile(modern=True)
    async with raw_server(serve) as url:
        upstream = McpHttpUpstream("one", url)
        await upstream.start(Notices())
        attachment = Attachment(
            leases=("l",), headers=(("authorization", f"DPoP {MARK}"),), signers=(Signer(),)
        )
        reply = await act(upstream, attachment)
        assert reply.error is None
        assert seen[-2:] == ["proof-none", "proof-n1"]
        assert nonces[0] == "n1"
        await upstream.close()


async def test_a_connection_that_was_authenticated_for_one_run_carries_no_other(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server"))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(authority.file)
    a, b = authority.issue("a"), authority.issue("b")

    def certified(files: tuple[Path, Path], serial: str) -> Attachment:
        chain, key = (file.read_bytes() for file in files)
        return Attachment(
            leases=(f"lease_{serial}",),
            certificate=ClientCertificate(serial=serial, chain=chain, key=key),
        )

    async with listening(tls=context) as heads:
        url = heads.server.url.replace("127.0.0.1", "localhost")
        upstream = McpHttpUpstream("one", url, tls=trusting(authority))
        await upstream.start(Notices())
        await upstream.describe()
        heads.peers.clear()
        await act(upstream, certified(a, "a"))
        await act(upstream, certified(b, "b"), seat=TWO)
        await act(upstream, certified(a, "a"))
        await act(upstream, Attachment(), seat=RunSeat(run="run_three", workload=""))
        first, second, third, none = heads.peers
        assert first == third
        assert first != second
        assert first
        assert second
        assert none is None
        # Rotated: the next call has the new one, on another connection.
        await act(upstream, certified(b, "c"))
        assert heads.peers[-1] == second
        # The same certificate in two runs is two connections still.
        ports = heads.ports[-1]
        await act(upstream, certified(b, "c"), seat=TWO)
        assert heads.peers[-1] == second
        assert heads.ports[-1] != ports
        await upstream.close()


async def test_a_leased_certificate_never_goes_out_in_clear() -> None:
    async with listening() as heads:
        upstream = McpHttpUpstream("one", heads.server.url)
        await upstream.start(Notices())
        certificate = ClientCertificate(serial="1", chain=b"c", key=MARK.encode())
        with pytest.raises(MidflightError, match="without TLS"):
            await act(upstream, Attachment(leases=("l",), certificate=certificate))
        await upstream.close()


@pytest.mark.parametrize("leased", [True, False])
async def test_what_a_client_authenticates_with_never_reaches_an_upstream(
    tmp_path: Path, leased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = ScriptedLeases()
    rule = Injection(placement=Placement.HEADER, name="Authorization", template="Bearer {token}")
    leases.add(
        Credential(name="crm", backend="memory", upstreams=frozenset({"one"}), injections=(rule,)),
        token=MARK,
    )
    made = gateways.parts

    def parts(settings: Any) -> Any:
        found = made(settings)
        found.leases = leases if leased else None
        return found

    monkeypatch.setattr("gateways.parts", parts)
    async with listening() as heads, listening() as other:
        entries = [
            {"name": "one", "url": heads.server.url, "reach": "closed"},
            {"name": "two", "url": other.server.url, "reach": "closed"},
        ]
        async with running_gateway(tmp_path, entries) as gateway:
            await gateway.pin_all()
            heads.heads.clear()
            token = await gateway.token()
            for path in ("/mcp/one", "/mcp/two"):
                async with httpx2.AsyncClient(trust_env=False) as http:
                    said = await http.post(
                        f"{gateway.url}{path}",
                        headers={
                            "Authorization": f"Bearer {token}",
                            "Cookie": "session=of-the-client",
                            "X-Api-Key": "key-of-the-client",
                            "Proxy-Authorization": "Basic of-the-client",
                            "Accept": "application/json, text/event-stream",
                            "Mcp-Method": "tools/call",
                            "Mcp-Name": "look",
                            "MCP-Protocol-Version": "2026-07-28",
                        },
                        json={
                            "jsonrpc": "2.0",
                            "id": 1,
                            "method": "tools/call",
                            "params": {
                                "name": "look",
                                "arguments": {},
                                "_meta": {
                                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                                    "io.modelcontextprotocol/clientCapabilities": {},
                                },
                            },
                        },
                    )
                    assert said.status_code == 200, said.text
                    assert MARK not in said.text
            for seen in (str(heads.heads), str(other.heads)):
                assert token not in seen
                assert "of-the-client" not in seen
            assert any("tools/call" in head for head in heads.heads)
            assert (MARK in str(heads.heads)) is leased
            assert MARK not in str(other.heads)
