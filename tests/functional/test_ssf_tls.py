"""Pushes and polls over real TLS: only with who shows a certificate that verifies, and is new."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import warnings
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from authority import Authority, trusting

from midflight.adapters.clock import SystemClock
from midflight.adapters.documents.exchange import Reach
from midflight.adapters.signals.polls import HttpsPolls, PollClient
from midflight.adapters.signals.pushes import HttpsPushes
from midflight.domain.errors import Unavailable
from midflight.domain.security_event import SetError, SetRefused
from midflight.services.ports.ssf_delivery import Carried

pytestmark = pytest.mark.anyio

PRIVATE = Reach(private=True)


class Peer:
    """A TLS server with scripted answers by path."""

    def __init__(self, answers: Mapping[str, list[tuple[int, object]]]) -> None:
        self.answers = answers
        self.seen: list[tuple[str, str, bytes]] = []
        self.url = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = dict(
                line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
            )
            body = await reader.readexactly(int(lines.get("content-length", "0")))
            path = head.split(" ")[1]
            given = [line for line in head.split("\r\n") if line.startswith("Authorization: ")]
            self.seen.append((path, "".join(given).partition(": ")[2], body))
            status, told = self.answers[path].pop(0)
            answer = json.dumps(told).encode()
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n"
                "Content-Type: application/json\r\nConnection: close\r\n\r\n".encode()
                + answer
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return
        finally:
            writer.close()

    @contextlib.asynccontextmanager
    async def serving(self, context: ssl.SSLContext) -> AsyncIterator[Peer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        async with server:
            self.url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
            yield self


def showing(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server"))
    return context


def polls(peer: Peer, tls: ssl.SSLContext, client: PollClient) -> HttpsPolls:
    return HttpsPolls(
        f"{peer.url}/poll", client=client, clock=SystemClock(), reach=PRIVATE, tls=tls
    )


async def test_a_push_goes_by_tls_to_who_shows_a_certificate_that_verifies(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with Peer({"/e": [(202, {})]}).serving(showing(authority)) as peer:
        stranger = await HttpsPushes(reach=PRIVATE).push(f"{peer.url}/e", "s", authorization="")
        assert stranger.outcome is Carried.FAILED
        assert "certificate that does not verify" in stranger.why
        assert peer.seen == []
        known = HttpsPushes(reach=PRIVATE, tls=trusting(authority))
        pushed = await known.push(f"{peer.url}/e", "s", authorization="Bearer x")
        assert pushed.outcome is Carried.TAKEN
        assert peer.seen == [("/e", "Bearer x", b"s")]


async def test_a_poll_asks_nobody_whose_certificate_does_not_verify(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = PollClient(token=lambda: "t")
    async with Peer({"/poll": [(200, {"sets": {}})]}).serving(showing(authority)) as peer:
        with pytest.raises(Unavailable):
            await polls(peer, ssl.create_default_context(), client).poll(acks=[], errors={})
        assert peer.seen == []
        assert await polls(peer, trusting(authority), client).poll(acks=[], errors={}) == (
            {},
            False,
        )


async def test_old_tls_is_not_spoken_with_receivers_and_transmitters(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = showing(authority)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with Peer({}).serving(context) as peer:
        pushes = HttpsPushes(reach=PRIVATE, tls=trusting(authority))
        pushed = await pushes.push(f"{peer.url}/e", "s", authorization="")
        assert pushed.outcome is Carried.FAILED
        client = PollClient(token=lambda: "t")
        with pytest.raises(Unavailable):
            await polls(peer, trusting(authority), client).poll(acks=[], errors={})
        assert peer.seen == []


async def test_a_poll_gets_its_token_by_client_credentials_and_keeps_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    token = {"access_token": "at-1", "token_type": "Bearer", "expires_in": 600}
    answers = {
        "/token": [(200, token), (200, {**token, "access_token": "at-2"}), (400, {"error": "x"})],
        "/poll": [
            (200, {"sets": {"a": "x"}, "moreAvailable": True}), (401, {}), (200, {}), (401, {}),
        ],
    }  # fmt: skip
    async with Peer(answers).serving(showing(authority)) as peer:
        client = PollClient(
            token_url=f"{peer.url}/token",
            client_id="mid:flight",
            client_secret=lambda: "s&cret",
            scope="ssf.read",
        )
        asking = polls(peer, trusting(authority), client)
        assert await asking.poll(acks=[], errors={}) == ({"a": "x"}, True)
        refused = SetRefused(SetError.INVALID_KEY, "No.")
        with pytest.raises(Unavailable, match="401"):
            await asking.poll(acks=["a"], errors={"b": refused})
        assert await asking.poll(acks=[], errors={}) == ({}, False)
        with pytest.raises(Unavailable):
            await asking.poll(acks=[], errors={})
        with pytest.raises(Unavailable, match="no token"):
            await asking.poll(acks=[], errors={})
    tokens = [(given, body) for path, given, body in peer.seen if path == "/token"]
    form = b"grant_type=client_credentials&scope=ssf.read"
    assert tokens == [("Basic bWlkJTNBZmxpZ2h0OnMlMjZjcmV0", form)] * 3
    asked = [(given, json.loads(body)) for path, given, body in peer.seen if path == "/poll"]
    assert asked[0][0] == "Bearer at-1"
    assert asked[1][1] == {
        "maxEvents": 50,
        "returnImmediately": True,
        "ack": ["a"],
        "setErrs": {"b": {"err": "invalid_key", "description": "No."}},
    }
    assert asked[2][0] == "Bearer at-2"
