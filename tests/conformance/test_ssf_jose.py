"""Our SETs, verified by `jose` on Node with what is published; and two planes that talk by poll."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from authority import Authority, trusting
from counterpart_kit import free_port
from ssf_kit import REVOKED, SOC, receiver, revoke, transmitter

from conformance.official_suite import HERE, NODE
from gateways import AGENT, OPERATOR, running_gateway
from midflight.domain.identity import Workload
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.shared_stream import Method, StreamWish
from midflight.services.authorization_tokens import Bound

pytestmark = [pytest.mark.anyio, pytest.mark.conformance]


async def verified(given: dict[str, Any]) -> list[dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        str(NODE), str(HERE / "jose_set.mjs"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env={"PATH": str(NODE.parent)},
    )  # fmt: skip
    out, err = await process.communicate(json.dumps(given).encode())
    assert process.returncode == 0, err.decode()[-2_000:]
    return [json.loads(line) for line in out.decode().splitlines()]


@pytest.mark.oauth4webapi
async def test_jose_verifies_what_is_sent_and_nothing_that_was_altered(tmp_path: Path) -> None:
    async with transmitter(tmp_path) as server:
        soc = await (await receiver(server)).log_in()
        made = await soc.create()
        revocation = await revoke(server, ScopeKind.WORKLOAD, AGENT)
        await soc.call("POST", "/ssf/verify", json={"stream_id": made["stream_id"], "state": "s"})
        sets = list((await soc.poll(made)).values())
        header, payload, signature = sets[0].split(".")
        forged = f"{header}.{sets[1].split('.')[1]}.{signature}"
        token = soc.held
        seen = await verified(
            {"issuer": server.issuer, "audience": "soc", "sets": [*sets, forged, token]}
        )
        wrong = await verified({"issuer": server.issuer, "audience": "siem", "sets": sets})
    first, second, altered, other = seen
    assert (first["alg"], first["payload"]["txn"]) == ("RS256", revocation)
    assert list(first["payload"]["events"]) == [REVOKED]
    (event,) = second["payload"]["events"].values()
    assert event == {"state": "s"}
    assert altered["code"] == "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"
    assert "payload" not in other
    assert [each["code"] for each in wrong] == ["ERR_JWT_CLAIM_VALIDATION_FAILED"] * 2
    assert payload


async def test_a_plane_polls_another_over_tls_and_does_what_it_says(tmp_path: Path) -> None:
    """Discovery, keys, polls and acknowledgements between two gateways; and no endless echo."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    port = free_port()
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    url = f"https://localhost:{port}"
    tls = {"certificate": certificate, "key": key}
    async with running_gateway(
        there,
        (),
        gateway={"listen": f"127.0.0.1:{port}", "public_url": url, "tls": tls},
        ssf={"transmit": True},
    ) as sending:
        plane = sending.plane
        await plane.inventory.register(
            Workload(
                id=SOC,
                owner="secops",
                escalation="oncall",
                review_by=int(time.time()) + 86_400,
            ),
            OPERATOR,
        )
        streams = plane.signals.transmitting.streams
        made = await streams.create(
            "peer", StreamWish(method=Method.POLL, requested=(REVOKED,)), OPERATOR
        )
        issued = await plane.oauth.tokens.issue(
            workload=SOC,
            run=None,
            client="peer",
            author=OPERATOR,
            scope=("ssf.read",),
            bound=Bound(),
        )
        token = tmp_path / "token"
        token.write_text(issued.answer["access_token"])
        row = {
            "name": "peer",
            "issuer": url,
            "audience": "peer",
            "ca": authority.file,
            "allow_private": True,
            "workloads": (AGENT,),
            "poll": {
                "endpoint": f"{url}/ssf/poll/{made.id}",
                "token": f"file:{token}",
                "interval": "1h",
            },
        }
        receipt = await plane.interruption.revoke(
            Scope(kind=ScopeKind.WORKLOAD, id=AGENT), reason="stolen", author=OPERATOR
        )
        await plane.signals.transmitting.emitting.settle()
        async with running_gateway(here, (), ssf={"receive": (row,)}) as listening:
            async with asyncio.timeout(20):
                while await plane.parts.store.count_ssf_events(made.id):
                    await asyncio.sleep(0)
            (revocation,) = listening.plane.interruption.listing()
            assert revocation.scope == Scope(kind=ScopeKind.WORKLOAD, id=AGENT)
            assert revocation.author == "ssf:peer"
            assert revocation.reason == "session-revoked from peer: stolen"
            assert revocation.proof == f"{receipt.revocation.id}.0.{made.id}"
            assert listening.plane.signals.poller.states["peer"].problem == ""
        async with httpx2.AsyncClient(verify=trusting(authority), trust_env=False) as http:
            document = (await http.get(f"{url}/.well-known/ssf-configuration")).json()
            assert all(
                value.startswith("https:")
                for name, value in document.items()
                if name.endswith(("_endpoint", "_uri"))
            )
