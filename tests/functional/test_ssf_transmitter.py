"""The transmitter over real HTTP: streams, their status, events pushed and polled, verified.

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
    SIEM,
    SSF,
    Receiver,
    Sink,
    receiver,
    revoke,
    transmitter,
    until,
)

from gateways import AGENT, OPERATOR
from midflight.domain.records import Changed, Observed
from midflight.domain.revocation import ScopeKind
from midflight.domain.shared_stream import StreamStatus

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


# The document


async def test_the_document_says_what_the_profile_asks_for(server: OAuthServer) -> None:
    answer = await server.http.get(f"{server.url}/.well-known/ssf-configuration")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert found["spec_version"] == "1_0"
    assert found["issuer"] == server.issuer
    assert found["delivery_methods_supported"] == [PUSH, POLL]
    assert {"spec_urn": "urn:ietf:rfc:6749"} in found["authorization_schemes"]
    for name in ("jwks_uri", "configuration_endpoint", "status_endpoint", "verification_endpoint"):
        assert found[name].startswith(server.url)
    assert found["default_subjects"] == "ALL"


async def test_the_key_that_signs_is_published_and_is_no_key_of_tokens(
    server: OAuthServer,
) -> None:
    keys = (await server.http.get(f"{server.url}/ssf/jwks.json")).json()["keys"]
    assert [(key["kty"], key["alg"], key["use"]) for key in keys] == [("RSA", "RS256", "sig")]
    assert not {"d", "p", "q"} & keys[0].keys()
    others = (await server.http.get(f"{server.url}/.well-known/jwks.json")).json()["keys"]
    assert keys[0]["kid"] not in {key["kid"] for key in others}


async def test_a_gateway_that_sends_nothing_serves_nothing(tmp_path: Path) -> None:
    async with transmitter(tmp_path, ssf={"transmit": False}) as server:
        for path in ("/.well-known/ssf-configuration", "/ssf/stream", "/ssf/jwks.json"):
            assert (await server.http.get(server.url + path)).status_code == 404


# Streams


async def test_a_stream_is_created_read_changed_replaced_and_deleted(soc: Receiver) -> None:
    made = await soc.create(description="SOC", events_requested=[REVOKED, "urn:unknown"])
    assert made["iss"] == soc.server.issuer
    assert made["aud"] == "soc"
    assert made["events_requested"] == [REVOKED, "urn:unknown"]
    assert made["events_delivered"] == [REVOKED]
    assert set(made["events_delivered"]) <= set(made["events_supported"])
    assert made["delivery"]["method"] == POLL
    assert made["delivery"]["endpoint_url"].startswith(soc.server.url)
    where = f"/ssf/stream?stream_id={made['stream_id']}"
    read = await soc.call("GET", where)
    assert (read.status_code, read.json()) == (200, made)
    assert (await soc.call("GET", "/ssf/stream")).json() == [made]

    changed = await soc.call(
        "PATCH", "/ssf/stream", json={"stream_id": made["stream_id"], "description": "new"}
    )
    assert (changed.status_code, changed.json()) == (200, {**made, "description": "new"})
    replaced = await soc.call(
        "PUT",
        "/ssf/stream",
        json={**made, "events_requested": [CAEP + "credential-change"]},
    )
    assert replaced.status_code == 200
    assert replaced.json()["events_delivered"] == [CAEP + "credential-change"]
    bare = await soc.call("PUT", "/ssf/stream", json={"stream_id": made["stream_id"]})
    assert "description" not in bare.json()
    assert bare.json()["events_delivered"] == []

    gone = await soc.call("DELETE", where)
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await soc.call("GET", where)).status_code == 404
    assert (await soc.call("DELETE", where)).status_code == 404
    assert (await soc.call("GET", "/ssf/stream")).json() == []
    verbs = [r.what.split()[0] for r in await happened(soc.server) if isinstance(r, Changed)]
    for verb in ("create", "update", "replace", "delete"):
        assert f"ssf.stream.{verb}" in verbs


async def test_a_stream_without_a_delivery_is_polled(soc: Receiver) -> None:
    answer = await soc.call("POST", "/ssf/stream", json={})
    assert answer.status_code == 201
    assert answer.json()["delivery"]["method"] == POLL


async def test_a_second_stream_is_a_conflict(soc: Receiver) -> None:
    await soc.create()
    assert (await soc.call("POST", "/ssf/stream", json={})).status_code == 409


async def test_several_streams_where_settings_allow_them(tmp_path: Path) -> None:
    async with transmitter(tmp_path, ssf={"streams_per_client": 2}) as server:
        soc = await (await receiver(server)).log_in()
        one, two = await soc.create(), await soc.create()
        assert one["stream_id"] != two["stream_id"]
        assert one["delivery"]["endpoint_url"] != two["delivery"]["endpoint_url"]
        assert (await soc.call("GET", "/ssf/stream")).json() == [one, two]
        assert (await soc.call("POST", "/ssf/stream", json={})).status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"delivery": 1}',
        b'{"delivery": {"method": "urn:ietf:rfc:1"}}',
        b'{"delivery": {"method": "urn:ietf:rfc:8935"}}',
        b'{"delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": "ftp://x/"}}',
        b'{"events_requested": "all"}',
        b'{"events_requested": [1]}',
        b'{"description": 1}',
        b'{"description": "a", "description": "b"}',
    ],
)
async def test_a_request_that_cannot_be_read_makes_no_stream(soc: Receiver, body: bytes) -> None:
    answer = await soc.call(
        "POST", "/ssf/stream", content=body, headers={"content-type": "application/json"}
    )
    if body:
        assert answer.status_code == 400, answer.text
        assert (await soc.call("GET", "/ssf/stream")).json() == []
    else:  # an empty body asks for the defaults
        assert answer.status_code == 201


@pytest.mark.parametrize(
    "said",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"events_delivered": []},
        {"events_supported": ["urn:x"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_what_the_transmitter_says_cannot_be_changed(
    soc: Receiver, method: str, said: dict[str, Any]
) -> None:
    made = await soc.create()
    answer = await soc.call(method, "/ssf/stream", json={"stream_id": made["stream_id"], **said})
    assert answer.status_code == 400
    assert (await soc.call("GET", "/ssf/stream")).json() == [made]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/ssf/stream?stream_id=none", None),
        ("DELETE", "/ssf/stream?stream_id=none", None),
        ("DELETE", "/ssf/stream", None),
        ("PATCH", "/ssf/stream", {"stream_id": "none"}),
        ("PUT", "/ssf/stream", {"stream_id": "none"}),
        ("GET", "/ssf/status?stream_id=none", None),
        ("POST", "/ssf/status", {"stream_id": "none", "status": "paused"}),
        ("POST", "/ssf/verify", {"stream_id": "none"}),
        ("POST", "/ssf/subjects/add", {"stream_id": "none", "subject": {"format": "x"}}),
        ("POST", "/ssf/subjects/remove", {"stream_id": "none", "subject": {"format": "x"}}),
        ("POST", "/ssf/poll/none", {}),
    ],
)
async def test_a_stream_that_is_not_there_is_not_found(
    soc: Receiver, method: str, path: str, body: dict[str, Any] | None
) -> None:
    more = {} if body is None else {"json": body}
    assert (await soc.call(method, path, **more)).status_code == 404


# Who may


ALL = [
    ("GET", "/ssf/stream"),
    ("POST", "/ssf/stream"),
    ("PATCH", "/ssf/stream"),
    ("PUT", "/ssf/stream"),
    ("DELETE", "/ssf/stream"),
    ("GET", "/ssf/status"),
    ("POST", "/ssf/status"),
    ("POST", "/ssf/subjects/add"),
    ("POST", "/ssf/subjects/remove"),
    ("POST", "/ssf/verify"),
    ("POST", "/ssf/poll/x"),
]


@pytest.mark.parametrize(("method", "path"), ALL)
async def test_without_a_good_token_there_is_nothing(
    server: OAuthServer, method: str, path: str
) -> None:
    for headers in ({}, {"authorization": "Bearer no"}, {"authorization": "Basic eDp5"}):
        answer = await server.http.request(method, server.url + path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_token_in_the_query_is_not_taken(soc: Receiver) -> None:
    url = f"{soc.server.url}/ssf/stream?access_token={soc.held}"
    assert (await soc.server.http.get(url)).status_code == 401
    assert (await soc.call("GET", "/ssf/stream?access_token=x")).status_code == 401


async def test_reading_asks_for_read_and_changing_for_manage(soc: Receiver) -> None:
    made = await soc.create()
    reader = await soc.log_in("ssf.read")
    assert (await reader.call("GET", "/ssf/stream")).status_code == 200
    where = f"?stream_id={made['stream_id']}"
    assert (await reader.call("GET", f"/ssf/status{where}")).status_code == 200
    assert await reader.poll(made) == {}
    for method, path in ALL:
        if method == "GET" or path.startswith("/ssf/poll"):
            continue
        answer = await reader.call(method, path + where, json={"stream_id": made["stream_id"]})
        assert answer.status_code == 403, (method, path)
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert 'scope="ssf.manage"' in answer.headers["www-authenticate"]


async def test_scopes_of_streams_are_only_for_clients_that_are_registered_with_them(
    server: OAuthServer,
) -> None:
    for held in (None, ("mcp",)):
        plain = await receiver(server, "plain", SIEM, scope=held)
        for scope in ("ssf.read", "ssf.manage", "mcp ssf.read"):
            refused = await plain.token(scope)
            assert refused.json()["error"] == "invalid_scope"
        plain.held = (await plain.token()).json()["access_token"]
        answer = await plain.call("GET", "/ssf/stream")
        assert answer.status_code == 403
        assert "insufficient_scope" in answer.headers["www-authenticate"]


async def test_a_token_for_streams_is_good_for_no_tool(soc: Receiver) -> None:
    answer = await soc.call(
        "POST",
        "/mcp",
        json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}},
        headers={"accept": "application/json, text/event-stream"},
    )
    assert "result" not in answer.json() or not answer.json()["result"].get("tools")
    metadata = await soc.server.http.get(f"{soc.server.url}/.well-known/oauth-authorization-server")
    assert {"ssf.read", "ssf.manage"} <= set(metadata.json()["scopes_supported"])


async def test_a_token_that_is_revoked_is_good_for_nothing(soc: Receiver) -> None:
    await soc.create()
    await revoke(soc.server, ScopeKind.WORKLOAD, "spiffe://midflight.internal/services/soc")
    assert (await soc.call("GET", "/ssf/stream")).status_code == 401


# Status


async def test_the_status_is_read_and_set(soc: Receiver) -> None:
    made = await soc.create()
    where = f"/ssf/status?stream_id={made['stream_id']}"
    first = await soc.call("GET", where)
    assert (first.status_code, first.json()) == (
        200, {"stream_id": made["stream_id"], "status": "enabled"},
    )  # fmt: skip
    for status in ("paused", "disabled", "enabled"):
        body = {"stream_id": made["stream_id"], "status": status, "reason": "so we say"}
        answer = await soc.call("POST", "/ssf/status", json=body)
        assert (answer.status_code, answer.json()) == (200, body)
        assert (await soc.call("GET", where)).json() == body
    for wrong in ({"status": "asleep"}, {}, {"status": 1}):
        body = {"stream_id": made["stream_id"], **wrong}
        assert (await soc.call("POST", "/ssf/status", json=body)).status_code == 400


async def test_a_paused_stream_keeps_events_and_gives_them_in_order_afterwards(
    soc: Receiver,
) -> None:
    made = await soc.create()
    status = {"stream_id": made["stream_id"]}
    await soc.call("POST", "/ssf/status", json={**status, "status": "paused"})
    first = await revoke(soc.server, ScopeKind.WORKLOAD, AGENT, "one")
    second = await revoke(soc.server, ScopeKind.CREDENTIAL, "crm", "two")
    assert await soc.poll(made) == {}
    await soc.call("POST", "/ssf/status", json={**status, "status": "enabled"})
    told = [await soc.verified(text) for text in (await soc.poll(made)).values()]
    assert [claims["txn"] for claims in told] == [first, second]


async def test_a_disabled_stream_keeps_nothing(soc: Receiver) -> None:
    made = await soc.create()
    status = {"stream_id": made["stream_id"]}
    await revoke(soc.server, ScopeKind.WORKLOAD, AGENT)
    await soc.call("POST", "/ssf/status", json={**status, "status": "disabled"})
    await revoke(soc.server, ScopeKind.CREDENTIAL, "crm")
    assert (await soc.call("POST", "/ssf/verify", json=status)).status_code == 400
    await soc.call("POST", "/ssf/status", json={**status, "status": "enabled"})
    assert await soc.poll(made) == {}


async def test_what_finds_no_room_is_counted_recorded_and_said(tmp_path: Path) -> None:
    async with transmitter(tmp_path, ssf={"queue": 10}) as server:
        soc = await (await receiver(server)).log_in()
        made = await soc.create()
        status = {"stream_id": made["stream_id"]}
        await soc.call("POST", "/ssf/status", json={**status, "status": "paused"})
        for number in range(13):
            await revoke(server, ScopeKind.CREDENTIAL, f"c{number}")
        lost = [r for r in await happened(server) if isinstance(r, Observed)]
        assert len([r for r in lost if r.what == "ssf.overflow"]) == 3
        await soc.call("POST", "/ssf/status", json={**status, "status": "enabled"})
        told = [await soc.verified(text) for text in (await soc.poll(made)).values()]
        assert len(told) == 11
        assert told[-1]["events"][SSF + "stream-updated"] == {
            "status": "enabled", "reason": "3 events had no room and are lost.",
        }  # fmt: skip


@pytest.mark.parametrize("status", [StreamStatus.PAUSED, StreamStatus.DISABLED])
async def test_a_receiver_is_told_first_when_its_stream_is_stopped_here(
    soc: Receiver, status: StreamStatus
) -> None:
    made = await soc.create()
    streams = soc.server.plane.signals.transmitting.streams
    await streams.decide(made["stream_id"], status, OPERATOR, reason="Too loud.")
    await revoke(soc.server, ScopeKind.WORKLOAD, AGENT)
    claims = await soc.first(made)
    assert claims["events"] == {
        SSF + "stream-updated": {"status": status.value, "reason": "Too loud."}
    }
    assert claims["sub_id"] == {"format": "opaque", "id": made["stream_id"]}
    assert await soc.poll(made) == {}
    shown = await soc.call("GET", f"/ssf/status?stream_id={made['stream_id']}")
    assert shown.json()["status"] == status.value
    await streams.decide(made["stream_id"], StreamStatus.ENABLED, OPERATOR, reason="")
    told = [await soc.verified(text) for text in (await soc.poll(made)).values()]
    assert told[-1]["events"] == {SSF + "stream-updated": {"status": "enabled"}}
    assert len(told) == (2 if status is StreamStatus.PAUSED else 1)


# Verification


async def test_a_verification_repeats_the_state_and_names_the_stream(soc: Receiver) -> None:
    made = await soc.create()
    asked = {"stream_id": made["stream_id"], "state": "VGhpcyBpcyBh"}
    answer = await soc.call("POST", "/ssf/verify", json=asked)
    assert (answer.status_code, answer.content) == (204, b"")
    claims = await soc.first(made)
    assert claims["events"] == {SSF + "verification": {"state": "VGhpcyBpcyBh"}}
    assert claims["sub_id"] == {"format": "opaque", "id": made["stream_id"]}
    again = await soc.call("POST", "/ssf/verify", json=asked)
    assert again.status_code == 429
    assert int(again.headers["retry-after"]) == made["min_verification_interval"]
    assert (await soc.call("POST", "/ssf/verify", json={**asked, "state": 1})).status_code == 400


# Subjects


async def test_a_subject_that_is_removed_is_left_out_until_it_is_added_again(
    soc: Receiver,
) -> None:
    made = await soc.create()
    agent = {"format": "iss_sub", "iss": soc.server.issuer, "sub": AGENT}
    body = {"stream_id": made["stream_id"], "subject": agent}
    removed = await soc.call("POST", "/ssf/subjects/remove", json=body)
    assert (removed.status_code, removed.content) == (204, b"")
    await revoke(soc.server, ScopeKind.WORKLOAD, AGENT)
    await revoke(soc.server, ScopeKind.EVERYTHING, "")
    ((jti, text),) = (await soc.poll(made)).items()
    assert (await soc.verified(text))["sub_id"]["format"] == "complex"  # the whole of it
    for lifted in soc.server.plane.interruption.listing():
        await soc.server.plane.interruption.lift(lifted.id, reason="over", author=OPERATOR)
    added = await soc.call("POST", "/ssf/subjects/add", json={**body, "verified": True})
    assert (added.status_code, added.content) == (200, b"")
    await revoke(soc.server, ScopeKind.WORKLOAD, AGENT)
    ((_, text),) = (await soc.poll(made, ack=[jti])).items()
    assert (await soc.verified(text))["sub_id"] == agent
    itself = {**body, "subject": {"format": "opaque", "id": made["stream_id"]}}
    assert (await soc.call("POST", "/ssf/subjects/remove", json=itself)).status_code == 400
    for wrong in ({}, {"format": "email"}, {"format": "email", "email": "x"}, []):
        for verb in ("add", "remove"):
            answer = await soc.call(
                "POST", f"/ssf/subjects/{verb}", json={**body, "subject": wrong}
            )
            assert answer.status_code == 400


# Events


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


async def test_a_changed_risk_is_said_once(soc: Receiver) -> None:
    made = await soc.create(events_requested=[CAEP + "risk-level-change"])
    signals = soc.server.plane.signals
    signals.risk_changed(AGENT, "MEDIUM", "Probing.")
    signals.risk_changed(AGENT, "MEDIUM", "Probing.")
    signals.risk_changed(AGENT, "HIGH", "A canary was touched.")
    await signals.transmitting.emitting.close()
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


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"maxEvents": -1}', b'{"ack": 1}', b'{"setErrs": []}', b'{"ack": [1]}']
)
async def test_a_poll_that_cannot_be_read_is_refused(soc: Receiver, body: bytes) -> None:
    made = await soc.create()
    answer = await soc.call(
        "POST",
        made["delivery"]["endpoint_url"],
        content=body,
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400
    assert (await soc.call("GET", made["delivery"]["endpoint_url"])).status_code == 405


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
        assert record.details == {"jti": first["jti"], "why": "invalid_key: Which key\ufffd?"}


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
