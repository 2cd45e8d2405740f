"""Events of the transmitter over real HTTP: what is said, polled and pushed, and verified.

SETs are verified with PyJWT against what is published. Which of these tests stands for which
requirement of the CAEP interoperability profile is in `conformance/caep_profile.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from oauth_kit import OAuthServer
from ssf_kit import (
    CAEP,
    POLL,
    PUSH,
    REVOKED,
    Receiver,
    Sink,
    receiver,
    revoke,
    transmitter,
    until,
)

from gateways import AGENT, OPERATOR
from midflight.domain.records import Observed
from midflight.domain.response import Level
from midflight.domain.revocation import Scope, ScopeKind

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[OAuthServer]:
    async with transmitter(tmp_path) as running:
        yield running


@pytest.fixture
async def soc(server: OAuthServer) -> Receiver:
    return await (await receiver(server)).log_in()


async def happened(server: OAuthServer) -> list[Any]:
    await server.plane.ledger.flush()
    tail = await server.plane.ledger.tail(1_000)
    return [found.record for found in tail]


async def test_what_is_revoked_is_said_with_its_reason_and_its_subject(soc: Receiver) -> None:
    made = await soc.create()
    server = soc.server
    agent = {"format": "iss_sub", "iss": server.issuer, "sub": AGENT}
    run = await server.gateway.open_run()
    for kind, name, subject in (
        (ScopeKind.TOKEN, "tok_1", {"format": "jwt_id", "iss": server.issuer, "jti": "tok_1"}),
        (ScopeKind.RUN, run, {
            "format": "complex", "user": agent, "session": {"format": "opaque", "id": run},
        }),
        (ScopeKind.WORKLOAD, AGENT, agent),
        (ScopeKind.TRUST_DOMAIN, "partner.example", {
            "format": "complex", "tenant": {"format": "opaque", "id": "partner.example"},
        }),
    ):  # fmt: skip
        revocation = await revoke(server, kind, name, f"{kind.value} was stolen")
        claims = await soc.first(made)
        assert claims["sub_id"] == subject
        assert claims["txn"] == revocation
        (event,) = claims["events"].values()
        assert claims["events"] == {REVOKED: event}
        assert event["reason_admin"] == {"en": f"{kind.value} was stolen"}
        assert event["initiating_entity"] == "admin"
        assert event["event_timestamp"] <= claims["iat"] + 1


async def test_a_credential_that_is_revoked_is_a_credential_change(soc: Receiver) -> None:
    made = await soc.create()
    await revoke(soc.server, ScopeKind.CREDENTIAL, "crm", "leaked")
    claims = await soc.first(made)
    event = claims["events"][CAEP + "credential-change"]
    assert (event["change_type"], event["credential_type"]) == ("revoke", "app")
    assert (event["friendly_name"], event["reason_admin"]) == ("crm", {"en": "leaked"})


async def test_an_owner_is_said_as_each_of_its_workloads(soc: Receiver) -> None:
    made = await soc.create()
    await revoke(soc.server, ScopeKind.OWNER, "team-one")
    told = [await soc.verified(text) for text in (await soc.poll(made)).values()]
    owned = {AGENT, "spiffe://midflight.internal/agents/two"}
    assert {claims["sub_id"]["sub"] for claims in told} == owned


async def test_what_is_lifted_and_what_is_no_session_is_said_to_nobody(soc: Receiver) -> None:
    made = await soc.create()
    await revoke(soc.server, ScopeKind.UPSTREAM, "crm")
    await revoke(soc.server, ScopeKind.TOOL, "crm/read")
    for each in soc.server.plane.interruption.listing():
        await soc.server.plane.interruption.lift(each.id, reason="over", author=OPERATOR)
    assert await soc.poll(made) == {}


async def test_what_follows_from_findings_is_a_changed_risk(soc: Receiver) -> None:
    made = await soc.create(events_requested=[CAEP + "risk-level-change"])
    desk = soc.server.plane.watching.response_desk
    scope = Scope(kind=ScopeKind.WORKLOAD, id=AGENT)
    held = await desk.add(scope, Level.QUARANTINE, reason="Odd calls.", author=OPERATOR)
    await desk.lift(held.response.id, reason="Looked at.", author=OPERATOR)
    await soc.server.plane.signals.transmitting.emitting.settle()
    told = [await soc.first(made), await soc.first(made)]
    events = [claims["events"][CAEP + "risk-level-change"] for claims in told]
    assert [event["current_level"] for event in events] == ["HIGH", "LOW"]
    assert events[0]["risk_reason"] == "Odd calls."


async def test_a_changed_risk_is_said_once(soc: Receiver) -> None:
    made = await soc.create(events_requested=[CAEP + "risk-level-change"])
    signals = soc.server.plane.signals
    signals.risk_changed(AGENT, "MEDIUM", "Probing.")
    signals.risk_changed(AGENT, "MEDIUM", "Probing.")
    signals.risk_changed(AGENT, "HIGH", "A canary was touched.")
    await signals.transmitting.emitting.settle()
    told = [await soc.verified(text) for text in (await soc.poll(made)).values()]
    events = [claims["events"][CAEP + "risk-level-change"] for claims in told]
    assert [event["current_level"] for event in events] == ["MEDIUM", "HIGH"]
    assert events[1]["previous_level"] == "MEDIUM"
    assert events[1]["risk_reason"] == "A canary was touched."
    assert events[1]["principal"] == "USER"


async def test_only_what_was_asked_for_is_said(soc: Receiver) -> None:
    made = await soc.create(events_requested=[CAEP + "credential-change"])
    await revoke(soc.server, ScopeKind.WORKLOAD, AGENT)
    assert await soc.poll(made) == {}


# Polls


async def test_events_come_again_until_they_are_acknowledged_in_order(soc: Receiver) -> None:
    made = await soc.create()
    for number in range(4):
        await revoke(soc.server, ScopeKind.CREDENTIAL, f"c{number}")
    answer = await soc.call(
        "POST",
        made["delivery"]["endpoint_url"],
        json={"maxEvents": 3, "returnImmediately": True},
    )
    assert answer.json()["moreAvailable"] is True
    sets = answer.json()["sets"]
    names = [
        next(iter((await soc.verified(text))["events"].values()))["friendly_name"]
        for text in sets.values()
    ]
    assert names == ["c0", "c1", "c2"]
    assert list(await soc.poll(made))[:3] == list(sets)
    left = await soc.poll(made, ack=list(sets)[:2], setErrs={
        list(sets)[2]: {"err": "invalid_request", "description": "what is that?"},
        "never": {"err": "x"},
    })  # fmt: skip
    assert len(left) == 1
    refused = [
        r for r in await happened(soc.server) if isinstance(r, Observed) and r.what == "ssf.refused"
    ]
    assert [r.details["why"] for r in refused] == ["invalid_request: what is that?"]
    assert await soc.poll(made, ack=[*left, "never"], maxEvents=0) == {}
    assert await soc.poll(made) == {}


async def test_a_poll_waits_for_an_event(soc: Receiver) -> None:
    made = await soc.create()
    outbox = soc.server.plane.signals.transmitting.outbox
    waiting = asyncio.ensure_future(soc.first(made))
    await until(lambda: outbox.waiters(made["stream_id"]) == 1)
    revocation = await revoke(soc.server, ScopeKind.WORKLOAD, AGENT)
    assert (await waiting)["txn"] == revocation
    assert outbox.waiters(made["stream_id"]) == 0


async def test_a_poll_that_cannot_be_read_is_refused(soc: Receiver) -> None:
    made = await soc.create()
    url, headers = made["delivery"]["endpoint_url"], {"content-type": "application/json"}
    for body in (b"{", b"[]", b'{"maxEvents": -1}', b'{"ack": 1}', b'{"setErrs": []}'):
        assert (await soc.call("POST", url, content=body, headers=headers)).status_code == 400
    assert (await soc.call("GET", url)).status_code == 405


# Pushes


async def pushed(soc: Receiver, sink: Sink) -> dict[str, Any]:
    return await soc.create(
        delivery={
            "method": PUSH,
            "endpoint_url": sink.url,
            "authorization_header": "Bearer of-the-receiver",
        }
    )


async def test_events_are_pushed_in_order_with_the_header_of_the_receiver(soc: Receiver) -> None:
    async with Sink().serving() as sink:
        made = await pushed(soc, sink)
        assert made["delivery"] == {"method": PUSH, "endpoint_url": sink.url}
        revocations = [await revoke(soc.server, ScopeKind.CREDENTIAL, f"c{n}") for n in range(5)]
        came = await sink.came(5)
        for headers, _ in came:
            assert headers["content-type"] == "application/secevent+jwt"
            assert headers["accept"] == "application/json"
            assert headers["authorization"] == "Bearer of-the-receiver"
        told = [(await soc.verified(text))["txn"] for _, text in came]
        assert told == revocations
        outbox = soc.server.plane.parts.store
        async with asyncio.timeout(20):
            while await outbox.count_ssf_events(made["stream_id"]):
                await asyncio.sleep(0)
        poll = f"/ssf/poll/{made['stream_id']}"
        assert (await soc.call("POST", poll, json={})).status_code == 400


async def test_a_push_that_fails_is_tried_again_and_nothing_overtakes_it(tmp_path: Path) -> None:
    async with transmitter(tmp_path) as server, Sink().serving() as sink:
        server.plane.signals.transmitting.pushing._backoff = (0.0,)
        soc = await (await receiver(server)).log_in()
        sink.answers = [(500, b""), (503, b"no"), (302, b""), (401, b"")]
        await pushed(soc, sink)
        for number in range(2):
            await revoke(server, ScopeKind.CREDENTIAL, f"c{number}")
        told = [await soc.verified(text) for _, text in await sink.came(6)]
        assert len({claims["jti"] for claims in told[:5]}) == 1
        assert told[5]["jti"] != told[4]["jti"]
        seen = [r.what for r in await happened(server) if isinstance(r, Observed)]
        assert seen.count("ssf.push_failing") == 1
        await until(lambda: True)


async def test_a_set_that_is_refused_for_good_is_recorded_and_not_repeated(
    soc: Receiver,
) -> None:
    async with Sink().serving() as sink:
        sink.answers = [(400, b'{"err": "invalid_key", "description": "Which key\\u001b?"}')]
        await pushed(soc, sink)
        await revoke(soc.server, ScopeKind.CREDENTIAL, "c0")
        await revoke(soc.server, ScopeKind.CREDENTIAL, "c1")
        first, second = [await soc.verified(text) for _, text in await sink.came(2)]
        assert first["jti"] != second["jti"]
        refused = [r for r in await happened(soc.server) if isinstance(r, Observed)]
        (record,) = [r for r in refused if r.what == "ssf.refused"]
        assert record.details == {"jti": first["jti"], "why": "invalid_key: Which key\\u001b?"}


async def test_a_stream_that_was_polled_can_be_pushed_and_the_other_way_round(
    soc: Receiver,
) -> None:
    async with Sink().serving() as sink:
        made = await soc.create()
        await revoke(soc.server, ScopeKind.CREDENTIAL, "c0")
        body = {"stream_id": made["stream_id"]}
        push = {"method": PUSH, "endpoint_url": sink.url}
        changed = await soc.call("PATCH", "/ssf/stream", json={**body, "delivery": push})
        assert changed.json()["delivery"] == push
        ((headers, _),) = await sink.came(1)
        assert "authorization" not in headers
        back = await soc.call("PATCH", "/ssf/stream", json={**body, "delivery": {"method": POLL}})
        assert back.json()["delivery"] == made["delivery"]


async def test_what_operators_see_of_it_holds_no_secret(soc: Receiver) -> None:
    async with Sink().serving() as sink:
        sink.answers = [(500, b"")] * 50
        made = await pushed(soc, sink)
        await revoke(soc.server, ScopeKind.WORKLOAD, AGENT)
        await sink.came(1)
        told = repr(await happened(soc.server)) + repr(
            await soc.server.plane.parts.store.get_ssf_stream(made["stream_id"])
        )
        assert "of-the-receiver" not in told
        state = soc.server.plane.settings.state.directory
        for path in state.rglob("*"):
            if path.is_file():
                assert b"of-the-receiver" not in path.read_bytes()
