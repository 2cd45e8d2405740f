"""An upstream that shows its lists to nobody: a lease for them, if the settings say so.

Over a plane in memory with its real broker; the upstream answers only what carries a live account.
"""

from __future__ import annotations

from typing import Any

import pytest
from credential_kit import Asked, server
from lease_kit import credential

from midflight.adapters.upstream.mcp_http import McpHttpUpstream
from midflight.domain.errors import MidflightError, UpstreamBroken, UpstreamUnavailable
from midflight.domain.lease import Injection, LeaseState, Placement
from midflight.domain.records import LeaseMoved, Observed
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.tool import PinnedKind
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.guard import Performed
from midflight.services.ports.injection import NOTHING, Attachment
from midflight.services.ports.upstream import Flight, Reply, RunSeat, ServerInfo, Sink
from midflight.testing import (
    OPERATOR,
    FakeClock,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
)

pytestmark = pytest.mark.anyio

LOOK: dict[str, Any] = {"name": "look", "description": "Looks.", "inputSchema": {"type": "object"}}
READ = Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True)


class Guarded(ScriptedUpstream):
    """Answers nothing without a header; `repeats` its credential in a description."""

    repeats = False

    def __init__(self) -> None:
        super().__init__("one", [LOOK])
        self.shown: list[Attachment] = []

    async def describe(self, *, attachment: Attachment = NOTHING) -> ServerInfo:
        self._look_at(attachment)
        return await super().describe(attachment=attachment)

    async def call(
        self, action: Any, *, seat: RunSeat, flight: Flight, sink: Sink, **more: Any
    ) -> Reply:
        attachment: Attachment = more.get("attachment", NOTHING)
        self._look_at(attachment)
        flight.look()
        if self.repeats:
            self.tools = [{**LOOK, "description": attachment.headers[0][1]}]
        return await super().call(
            action, seat=seat, flight=flight, sink=sink, attachment=attachment
        )

    def _look_at(self, attachment: Attachment) -> None:
        self.shown.append(attachment)
        if not attachment.headers:
            raise UpstreamBroken("Upstream one answered with HTTP status 401.")


async def planed(lists_with: str = "db", **changes: Any) -> tuple[MemoryPlane, Guarded]:
    upstream = Guarded()
    plane = MemoryPlane(upstream=upstream, lists_with=lists_with)
    await plane.start(fetch=False)
    await plane.credentials.put(credential(**changes), author=OPERATOR)
    return plane, upstream


def secrets_of(upstream: Guarded) -> set[str]:
    return {one.headers[0][1] for one in upstream.shown if one.headers}


async def states(plane: MemoryPlane) -> list[tuple[str, str, str]]:
    found = [r for r in await plane.records() if isinstance(r, LeaseMoved)]
    return [(each.run, each.state, each.reason) for each in found]


async def test_lists_are_fetched_with_a_lease_that_is_on_record() -> None:
    plane, upstream = await planed()
    await plane.catalogue.refresh("one")
    assert [d.name for d in plane.catalogue.definitions("one", PinnedKind.TOOL)] == []  # unpinned
    assert plane.catalogue.tool("one", "look") is not None
    (secret,) = secrets_of(upstream)
    assert await states(plane) == [("", "intent", "lists"), ("", "active", "lists")]
    assert secret not in repr(await plane.records())
    (lease,) = await plane.broker.list()
    assert (lease.run, lease.workload, lease.state) == ("", "", LeaseState.ACTIVE)
    await plane.close()


async def test_a_call_of_a_run_carries_a_lease_of_that_run_and_never_the_one_for_lists() -> None:
    plane, upstream = await planed()
    await plane.catalogue.refresh("one")
    (of_lists,) = secrets_of(upstream)
    await plane.pin("look", READ)
    upstream.shown.clear()
    assert isinstance(await plane.guard.perform(call("look"), caller(), sink=ListSink()), Performed)
    (of_run,) = secrets_of(upstream)
    assert of_run != of_lists
    await plane.close()


async def test_without_a_word_in_the_settings_nothing_is_leased_for_lists() -> None:
    plane, upstream = await planed(lists_with="")
    with pytest.raises(UpstreamBroken):
        await plane.catalogue.refresh("one")
    assert upstream.shown == [NOTHING]
    assert plane.server.accounts == {}
    await plane.close()


async def test_one_lease_serves_the_lists_until_it_is_stale() -> None:
    plane, upstream = await planed()
    for _ in range(3):
        await plane.catalogue.refresh("one")
    assert len(secrets_of(upstream)) == 1
    plane.clock.advance(45)  # type: ignore[attr-defined]  # a FakeClock; of 60 s
    await plane.catalogue.refresh("one")
    assert len(secrets_of(upstream)) == 2
    assert len(plane.server.accounts) == 1
    assert len(upstream.released) == 1
    await plane.close()
    assert plane.server.accounts == {}
    assert await plane_states_after(plane) == []


async def plane_states_after(plane: MemoryPlane) -> list[str]:
    await plane.store.open()
    found = await plane.store.list_leases(states=[LeaseState.ACTIVE, LeaseState.INTENT])
    return [each.id for each in found]


async def test_a_lease_for_lists_is_ended_by_the_start_after_a_crash() -> None:
    plane, _ = await planed()
    await plane.catalogue.refresh("one")
    assert len(plane.server.accounts) == 1
    again = MemoryPlane(
        upstream=Guarded(),
        store=plane.store,
        clock=FakeClock(life="the next"),
        makers={"memory": plane.server.maker},
    )
    await again.start(fetch=False)
    assert plane.server.accounts == {}
    assert await again.broker.list() == []
    await again.close()


@pytest.mark.parametrize(
    "scope",
    [
        Scope(kind=ScopeKind.CREDENTIAL, id="db"),
        Scope(kind=ScopeKind.UPSTREAM, id="one"),
        Scope(kind=ScopeKind.EVERYTHING, id=""),
    ],
)
async def test_a_revocation_ends_it_and_no_list_is_fetched(scope: Scope) -> None:
    plane, upstream = await planed()
    await plane.catalogue.refresh("one")
    await plane.interruption.revoke(scope, reason="suspicious", author=OPERATOR)
    upstream.shown.clear()
    with pytest.raises(UpstreamUnavailable, match="Revoked"):
        await plane.catalogue.refresh("one")
    assert upstream.shown == []
    assert plane.lending is not None
    await plane.lending.sweep()
    assert plane.server.accounts == {}
    assert len(upstream.released) == 1
    await plane.close()


async def test_a_revocation_meanwhile_stops_the_next_request() -> None:
    plane, upstream = await planed()
    real = upstream.describe

    async def describe(*, attachment: Attachment = NOTHING) -> ServerInfo:
        info = await real(attachment=attachment)
        await plane.interruption.revoke(
            Scope(kind=ScopeKind.CREDENTIAL, id="db"), reason="now", author=OPERATOR
        )
        return info

    upstream.describe = describe  # type: ignore[method-assign]  # a moment of its own
    with pytest.raises(UpstreamUnavailable, match="Revoked"):
        await plane.catalogue.refresh("one")
    assert plane.catalogue.tool("one", "look") is None
    await plane.close()


async def test_what_was_revoked_or_replaced_elsewhere_is_used_no_more() -> None:
    plane, upstream = await planed()
    await plane.catalogue.refresh("one")
    await plane.broker.revoke(author=OPERATOR, credential="db", reason="replaced")
    await plane.catalogue.refresh("one")
    assert len(secrets_of(upstream)) == 2
    await plane.broker.revoke(author=OPERATOR, credential="db", reason="replaced")
    await plane.credentials.put(credential(ttl_s=120), author=OPERATOR, replace=True)
    assert plane.lending is not None
    await plane.lending.sweep()
    assert plane.server.accounts == {}
    await plane.catalogue.refresh("one")
    assert len(secrets_of(upstream)) == 3
    await plane.lending.sweep()
    assert len(plane.server.accounts) == 1
    await plane.close()


@pytest.mark.parametrize(
    ("lists_with", "changes", "why"),
    [
        ("other", {}, "does not exist"),
        ("db", {"upstreams": frozenset({"two"})}, "is not for one"),
        ("db", {"injections": (Injection(placement=Placement.ENV, name="A"),)}, "requests alone"),
        ("db", {"injections": ()}, "requests alone"),
    ],
)
async def test_a_credential_that_does_not_fit_is_said_and_nothing_is_sent(
    lists_with: str, changes: dict[str, Any], why: str
) -> None:
    plane, upstream = await planed(lists_with, **changes)
    with pytest.raises(UpstreamUnavailable, match=why):
        await plane.catalogue.refresh("one")
    assert upstream.shown == []
    assert plane.server.accounts == {}
    await plane.close()


async def test_a_backend_that_fails_leaves_no_lease_behind() -> None:
    plane, upstream = await planed()

    def fail(verb: str, _: str) -> None:
        if verb == "issue":
            raise MidflightError("It is down.")

    plane.server.after = fail
    with pytest.raises(UpstreamUnavailable, match="It is down"):
        await plane.catalogue.refresh("one")
    assert plane.server.accounts == {}
    assert await plane.broker.list() == []
    assert upstream.shown == []
    await plane.close()


async def test_an_upstream_that_repeats_it_in_a_description_shows_it_to_nobody() -> None:
    plane, upstream = await planed()
    upstream.repeats = True
    await plane.catalogue.refresh("one")
    (secret,) = secrets_of(upstream)
    tool = plane.catalogue.tool("one", "look")
    assert tool is not None
    assert secret not in repr(tool.body)
    assert "[credential removed]" in repr(tool.body)
    assert [r for r in await plane.records() if isinstance(r, Observed)]
    await plane.close()


@pytest.mark.parametrize("modern", [True, False])
async def test_over_http_every_request_of_the_listing_carries_it(modern: bool) -> None:
    import json  # noqa: PLC0415 -- beside the one answer that it makes

    def answer(one: Asked) -> Any:
        if "authorization" not in one.headers:
            return 401, {}, {"WWW-Authenticate": 'Bearer scope="a"'}
        asked = json.loads(one.body or b"{}")
        kinds = {
            "server/discover": {
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "s", "version": "1"},
                "resultType": "complete",
                "ttlMs": 0,
                "cacheScope": "private",
            },
            "initialize": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "s", "version": "1"},
            },
            "tools/list": {"tools": [LOOK], "resultType": "complete", "ttlMs": 0},
        }
        method = asked.get("method", "")
        if method == "server/discover" and not modern:
            return 400, {}
        if method not in kinds:
            return (202, b"") if one.method == "POST" else (405, {})
        body = {"jsonrpc": "2.0", "id": asked["id"], "result": kinds[method]}
        return 200, body, {"Content-Type": "application/json"}

    with server(answer) as (url, asked):
        upstream: Any = McpHttpUpstream("one", f"{url}/mcp")
        plane = MemoryPlane(upstream=upstream, lists_with="db")
        await plane.start(fetch=False)
        await plane.credentials.put(credential(), author=OPERATOR)
        await plane.catalogue.refresh("one")
        assert plane.catalogue.tool("one", "look") is not None
        await plane.close()
        await upstream.close()
    assert asked
    assert all("authorization" in one.headers for one in asked if one.method == "POST")
