"""A receiver that names an address inside gets nothing pushed there, by number nor by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from ssf_kit import PUSH, Sink, receiver, revoke, transmitter

from gateways import AGENT
from midflight.adapters.documents.exchange import Reach
from midflight.adapters.signals.pushes import HttpsPushes
from midflight.domain.revocation import ScopeKind
from midflight.services.ports.ssf_delivery import Carried

pytestmark = pytest.mark.anyio

INSIDE = (
    "https://127.0.0.1/x", "https://10.0.0.5/x", "https://192.168.1.1/x", "https://[::1]/x",
    "https://169.254.169.254/latest/meta-data", "https://[fd00:ec2::254]/x", "https://0.0.0.0/x",
    "https://[::ffff:127.0.0.1]/x", "https://[64:ff9b::7f00:1]/x", "https://100.100.100.200/",
    "http://example.org/x", "ftp://example.org/", "file:///etc/passwd", "https://", "//x", "x",
    "https://user:pw@example.org/", "https://example.org/#x", "https://example.org/ x",
    "https://example.org:99999/", "https://\u0435xample.org/", "gopher://127.0.0.1:25/",
)  # fmt: skip


async def test_no_stream_is_made_for_an_address_inside(tmp_path: Path) -> None:
    async with (
        transmitter(tmp_path, ssf={"push_to_private": False}) as server,
        Sink().serving() as sink,
    ):
        soc = await (await receiver(server)).log_in()
        for url in (*INSIDE, sink.url):
            delivery = {"method": PUSH, "endpoint_url": url}
            answer = await soc.call("POST", "/ssf/stream", json={"delivery": delivery})
            assert answer.status_code == 400, url
        made = await soc.create()
        delivery = {"method": PUSH, "endpoint_url": sink.url}
        changed = await soc.call(
            "PATCH", "/ssf/stream", json={"stream_id": made["stream_id"], "delivery": delivery}
        )
        assert changed.status_code == 400
        await revoke(server, ScopeKind.WORKLOAD, AGENT)
        assert sink.requests == []


async def test_what_serves_credentials_is_never_reached_whatever_settings_say() -> None:
    pushes = HttpsPushes(reach=Reach(private=True, loopback=True))
    for url in ("https://169.254.169.254/", "https://[fd00:ec2::254]/", "https://0.0.0.0/"):
        assert pushes.problem(url)
        assert (await pushes.push(url, "x", authorization="")).outcome is Carried.FAILED


async def test_a_name_is_judged_by_where_it_leads_at_each_push() -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(f"{host}:{port}")
        return ["127.0.0.1"]

    pushes = HttpsPushes(reach=Reach(), resolve=rebinding)
    assert pushes.problem("https://soc.example/events") == ""
    for _ in range(2):
        pushed = await pushes.push("https://soc.example/events", "x", authorization="")
        assert pushed.outcome is Carried.FAILED
        assert "resolves to an address" in pushed.why
    assert asked == ["soc.example:443"] * 2


async def test_a_redirect_inwards_is_not_followed_and_a_header_is_not_split() -> None:
    pushes = HttpsPushes(reach=Reach(private=True, loopback=True))
    async with Sink().serving() as sink:
        sink.answers = [(307, b"")]
        pushed = await pushes.push(sink.url, "x", authorization="")
        assert (pushed.outcome, pushed.why) == (Carried.FAILED, "answered 307")
        split = await pushes.push(sink.url, "x", authorization="Bearer x\r\nX-Evil: 1")
        assert split.outcome is Carried.FAILED
        assert len(sink.requests) == 1
