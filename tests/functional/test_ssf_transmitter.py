"""The transmitter over real HTTP: its document, streams, their status, who may.

SETs are verified with PyJWT against what is published. Which of these tests stands for which
requirement of the CAEP interoperability profile is in `conformance/caep_profile.py`.
"""

from __future__ import annotations

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
    receiver,
    revoke,
    transmitter,
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
        listed = (await soc.call("GET", "/ssf/stream")).json()
        assert {each["stream_id"]: each for each in listed} == {
            each["stream_id"]: each for each in (one, two)
        }
        assert (await soc.call("POST", "/ssf/stream", json={})).status_code == 409


UNREADABLE = [
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
]


async def test_a_request_that_cannot_be_read_makes_no_stream(soc: Receiver) -> None:
    headers = {"content-type": "application/json"}
    for body in UNREADABLE:
        answer = await soc.call("POST", "/ssf/stream", content=body, headers=headers)
        assert answer.status_code == 400, body
    plain = {"content-type": "text/plain"}
    assert (await soc.call("POST", "/ssf/stream", content=b"{}", headers=plain)).status_code == 415
    large = b'{"description": "' + b"x" * 70_000 + b'"}'
    assert (
        await soc.call("POST", "/ssf/stream", content=large, headers=headers)
    ).status_code == 413
    assert (await soc.call("GET", "/ssf/stream")).json() == []


async def test_what_the_transmitter_says_cannot_be_changed(soc: Receiver) -> None:
    made = await soc.create()
    for said in (
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"events_delivered": []},
        {"events_supported": ["urn:x"]},
    ):
        body = {"stream_id": made["stream_id"], **said}
        assert (await soc.call("PATCH", "/ssf/stream", json=body)).status_code == 400
        assert (await soc.call("PUT", "/ssf/stream", json=body)).status_code == 400
    assert (await soc.call("GET", "/ssf/stream")).json() == [made]


GONE = [
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
]


async def test_a_stream_that_is_not_there_is_not_found(soc: Receiver) -> None:
    for method, path, body in GONE:
        more = {} if body is None else {"json": body}
        assert (await soc.call(method, path, **more)).status_code == 404, (method, path)


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


async def test_without_a_good_token_there_is_nothing(server: OAuthServer) -> None:
    for method, path in ALL:
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
    # Nobody who acts by a token gets on now, a receiver neither; what is pushed goes out.
    assert (await soc.call("GET", "/ssf/stream")).status_code == 401
    for lifted in soc.server.plane.interruption.listing():
        await soc.server.plane.interruption.lift(lifted.id, reason="over", author=OPERATOR)
    ((jti, text),) = (await soc.poll(made)).items()
    tenant = {"format": "opaque", "id": "midflight.internal"}
    assert (await soc.verified(text))["sub_id"] == {"format": "complex", "tenant": tenant}
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
