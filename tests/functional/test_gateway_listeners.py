"""What a running plane shows to whoever connects: names, TLS, limits of the settings, pages."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from authority import Authority, trusting
from bare_client import bare, modern

from gateways import Gateway, running_gateway
from midflight.apps.compose import Plane
from midflight.apps.compose_parts import parts
from midflight.apps.gateway.main import serving_plane
from midflight.apps.settings import Settings
from midflight.domain.errors import LedgerUnavailable
from midflight.wire.refusal import REFUSAL
from servers.sdk_server import Served, over_http

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def client(**settings: Any) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=30, trust_env=False, **settings) as http:
        yield http


@contextlib.asynccontextmanager
async def gateway_of(
    gateway_factory: Any, served: Served | None = None, **settings: Any
) -> AsyncIterator[Gateway]:
    async with (
        over_http(served) as url,
        gateway_factory([{"name": "one", "url": url, "reach": "closed"}], **settings) as gateway,
    ):
        await gateway.pin_all()
        yield gateway


def limited(**limits: Any) -> dict[str, Any]:
    return {
        "listen": "127.0.0.1:0",
        "public_url": "http://127.0.0.1:8600",
        "limits": limits,
    }


# Names


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "attacker.example"}, 403),
        ({"origin": "https://attacker.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_every_listener_looks_at_the_name_it_was_called_by(
    headers: dict[str, str], status: int, tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory(prefix="mf-") as short:  # sockets have short paths
        settings = Settings(
            gateway={"listen": "127.0.0.1:0", "public_url": "http://127.0.0.1:8600"},
            state={"directory": tmp_path / "state"},
            policy={"directory": tmp_path},
            control={"socket": Path(short) / "c.sock", "listen": "127.0.0.1:0"},
        )
        (tmp_path / "p.cedar").write_text('@id("p") permit (principal, action, resource);')
        plane = Plane(settings, parts(settings))
        async with plane.running(), serving_plane(plane) as bound:
            where = {listener.name: listener for listener in bound}
            async with client() as http:
                page = await http.get(f"{where['gateway'].url}/healthz", headers=headers)
                assert page.status_code == status
                api = await http.get(f"{where['control-api'].url}/v1/health", headers=headers)
                # Whoever called it by its own name still has no token.
                assert api.status_code == (401 if status == 200 else 403)
            socket = httpx2.AsyncHTTPTransport(uds=where["control"].path)
            local = {"host": "midflight", **headers}
            async with client(transport=socket) as http:
                verb = await http.get("http://midflight/v1/health", headers=local)
                assert verb.status_code == status


# TLS


async def test_a_gateway_with_tls_serves_who_shows_a_certificate_and_nobody_else(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    gateway_settings = {
        "listen": "127.0.0.1:0",
        "public_url": "https://localhost:8600",
        "tls": {"certificate": certificate, "key": key, "client_ca": authority.file},
    }
    async with (
        over_http() as url,
        running_gateway(
            tmp_path, [{"name": "one", "url": url, "reach": "closed"}], gateway=gateway_settings
        ) as gateway,
    ):
        await gateway.pin_all()
        assert gateway.url.startswith("https://127.0.0.1:")
        base = gateway.url.replace("127.0.0.1", "localhost")
        known = trusting(authority, authority.issue("agent"))
        token = await gateway.token()
        async with client(verify=known) as http:
            assert (await http.get(f"{base}/healthz")).status_code == 200
            answer = await http.post(f"{base}/mcp")
            assert answer.status_code == 401
            assert 'resource_metadata="https://' in answer.headers["www-authenticate"]
            headers = {"authorization": f"Bearer {token}"}
            assert (await http.post(f"{base}/mcp", json={}, headers=headers)).status_code == 400
        async with client(verify=trusting(authority)) as http:
            with pytest.raises(httpx2.TransportError):
                await http.get(f"{base}/healthz")
        async with client() as http:
            with pytest.raises(httpx2.TransportError):
                await http.get(base.replace("https", "http") + "/healthz")


# Limits


async def test_a_body_over_the_limit_of_the_settings_is_refused(gateway_factory: Any) -> None:
    served = Served()
    settings = limited(body_bytes=2_000)
    async with (
        gateway_of(gateway_factory, served, gateway=settings) as gateway,
        modern(gateway) as agent,
    ):
        assert (await agent.call("echo", text="x" * 100))["result"]["isError"] is False
        request = agent.request("tools/call", name="echo", arguments={"text": "x" * 2_000})
        assert (await agent.post(request)).status_code == 413
    assert served.calls == ["echo"]


async def test_a_head_over_the_limit_of_the_settings_is_refused(gateway_factory: Any) -> None:
    settings = limited(header_bytes=2_048)
    async with gateway_of(gateway_factory, gateway=settings) as gateway, bare(gateway) as http:
        answer = await http.get(f"{gateway.url}/healthz", headers={"x-filler": "x" * 4_000})
        assert answer.status_code == 431


async def test_actions_beyond_the_limit_of_the_settings_are_refused_until_some_end(
    gateway_factory: Any,
) -> None:
    served = Served()
    async with (
        gateway_of(gateway_factory, served, gateway=limited(in_flight=1)) as gateway,
        modern(gateway) as agent,
    ):
        slow = asyncio.ensure_future(agent.call("slow"))
        await served.slow_started.wait()
        refused = await agent.call("add", a=1, b=1)
        assert refused["result"]["_meta"][REFUSAL]["code"] == "overloaded"
        slow.cancel()
        await served.slow_ended.wait()
        while gateway.plane.interruption.in_flight:
            await asyncio.sleep(0)
        assert (await agent.call("add", a=1, b=1))["result"]["isError"] is False


async def test_a_run_has_the_steps_of_the_settings(gateway_factory: Any) -> None:
    async with gateway_of(gateway_factory, runs={"max_steps": 2}) as gateway:
        run = await gateway.open_run()
        async with modern(gateway, token=await gateway.token(run)) as agent:
            codes = [(await agent.call("add", a=1, b=1))["result"] for _ in range(3)]
    assert [result["isError"] for result in codes] == [False, False, True]
    assert codes[-1]["_meta"][REFUSAL]["code"] == "run_exhausted"


async def test_without_implicit_runs_a_token_without_a_run_does_nothing(
    gateway_factory: Any,
) -> None:
    served = Served()
    async with (
        gateway_of(gateway_factory, served, runs={"implicit": False}) as gateway,
        modern(gateway) as agent,
    ):
        refused = await agent.call("add", a=1, b=1)
        assert refused["result"]["_meta"][REFUSAL]["code"] == "run_not_open"
    assert served.calls == []


# Pages


async def test_the_plain_pages_say_how_the_plane_is(gateway_factory: Any) -> None:
    async with gateway_of(gateway_factory) as gateway, modern(gateway) as agent, client() as http:
        await agent.call("add", a=1, b=1)
        assert (await http.get(f"{gateway.url}/healthz")).json() == {"status": "alive"}
        ready = await http.get(f"{gateway.url}/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "missing": []})
        metrics = await http.get(f"{gateway.url}/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        lines = metrics.text.splitlines()
        [done] = [line for line in lines if line.startswith("midflight_actions_total{")]
        assert 'kind="call_tool"' in done
        assert 'upstream="one"' in done
        assert done.endswith(" 1.0")


async def test_a_plane_that_cannot_record_is_not_ready_and_lets_nothing_leave(
    gateway_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served()
    async with (
        gateway_of(gateway_factory, served) as gateway,
        modern(gateway) as agent,
        client() as http,
    ):
        store = gateway.plane.parts.ledger_store

        def full(*_: Any, **__: Any) -> int:
            raise LedgerUnavailable("The disk is full.")

        monkeypatch.setattr(store, "append", full)
        refused = await agent.call("add", a=1, b=1)
        assert refused["result"]["_meta"][REFUSAL]["code"] == "ledger_unavailable"
        ready = await http.get(f"{gateway.url}/readyz")
        assert (ready.status_code, ready.json()["missing"]) == (503, ["ledger"])
        assert (await http.get(f"{gateway.url}/healthz")).status_code == 200
        monkeypatch.undo()
    assert served.calls == []


async def test_metrics_can_be_switched_off(gateway_factory: Any) -> None:
    settings = {"metrics": False}
    async with gateway_of(gateway_factory, telemetry=settings) as gateway, client() as http:
        assert (await http.get(f"{gateway.url}/metrics")).status_code == 404
