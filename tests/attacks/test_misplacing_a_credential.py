"""A credential placed where it could not work, or where it would be something else.

An operator is told when it is added, all problems at once; what a backend gives later is looked at
before it is placed. Nothing of a secret is in what is said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from control_kit import running_plane
from hypothesis import given
from hypothesis import strategies as st
from lease_kit import LeasePlane, credential

from midflight.domain import placing
from midflight.domain.action import Action
from midflight.domain.errors import Conflict, LeaseUnavailable, Misconfigured
from midflight.domain.lease import Credential, Injection, Lease, LeaseState, Placement, Secret
from midflight.domain.scrubbing import forms
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.guard import Performed, Refused
from midflight.services.lease_rendering import certificate_of, hidden_of, rendered
from midflight.services.ports.leases import Held
from midflight.services.ports.upstream import Reply
from midflight.testing import (
    OPERATOR,
    ListSink,
    MemoryPlane,
    ScriptedLeases,
    ScriptedUpstream,
    call,
    caller,
)

pytestmark = pytest.mark.anyio

MARK = "mark-7f1c09ab55e2"
TOKEN = "{token}"


def rule(placement: Placement, name: str = "", template: str = TOKEN) -> Injection:
    return Injection(placement=placement, name=name, template=template)


HEADER = rule(Placement.HEADER, "X-Key")


@pytest.fixture
async def plane() -> AsyncIterator[LeasePlane]:
    made = LeasePlane()
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ([rule(Placement.HEADER, "X-Key", "Bearer {passwort}")], "gives no passwort"),
        ([rule(Placement.HEADER, "X-Key", "{Token}")], "gives no Token"),
        ([rule(Placement.HEADER, "X-Key", "{{{password}}}")], "gives no password"),
        ([rule(Placement.HEADER, "X-Key", "{basic}")], "gives no basic"),
        ([rule(Placement.ENV, "A", "{token} {no_such}")], "gives no no_such"),
        ([rule(Placement.QUERY, "q", "{url}")], "gives no url"),
        ([rule(Placement.ARGUMENT, "", "{pin}")], "gives no pin"),
        ([rule(Placement.MTLS)], "gives no certificate, private_key"),
        ([rule(Placement.DPOP)], "gives no dpop_jwk"),
        ([rule(Placement.SIGV4)], "gives no access_key_id, secret_access_key"),
        ([rule(Placement.HEADER, "X-Key", "{token}\r\nX-Admin: 1")], "what no header may"),
        ([rule(Placement.HEADER, "X-Key", "Bearer\u00a0{token}")], "what no header may"),
        ([rule(Placement.ENV, "A", "{token}\0")], "holds a NUL"),
        ([rule(Placement.HEADER)], "no name of one"),
        ([rule(Placement.HEADER, "X Key")], "no name of one"),
        ([rule(Placement.HEADER, "X-Key\n")], "no name of one"),
        ([rule(Placement.HEADER, "X-Kéy")], "no name of one"),
        ([rule(Placement.HEADER, "X-Key: a\r\nB")], "no name of one"),
        ([rule(Placement.ENV, "A=B")], "no name of one"),
        ([rule(Placement.ENV, "A\0")], "no name of one"),
        ([rule(Placement.ENV, "")], "no name of one"),
        ([rule(Placement.QUERY, "")], "no name of one"),
        ([rule(Placement.ARGUMENT, "password")], "takes no name"),
        ([HEADER, rule(Placement.HEADER, "x-key")], "filled twice"),
        ([rule(Placement.ENV, "A"), rule(Placement.ENV, "A")], "filled twice"),
        ([rule(Placement.ARGUMENT), rule(Placement.ARGUMENT)], "filled twice"),
        ([rule(Placement.HEADER, "Authorization"), rule(Placement.DPOP)], "filled twice"),
        *(
            ([rule(Placement.HEADER, name)], "Midflight's own")
            for name in ("Host", "content-LENGTH", "Mcp-Session-Id", "Mcp-Param-City", "TE")
        ),
    ],
)
async def test_what_could_not_be_placed_is_refused_when_it_is_added_or_replaced(
    plane: LeasePlane, rules: list[Injection], why: str
) -> None:
    good, bad = credential(), credential(injections=tuple(rules))
    with pytest.raises(Misconfigured, match=why):
        await plane.credentials.put(bad, author=OPERATOR)
    assert plane.credentials.find("db") is None
    await plane.credentials.put(good, author=OPERATOR)
    with pytest.raises(Misconfigured, match=why):
        await plane.credentials.put(bad, author=OPERATOR, replace=True)
    kept = plane.credentials.find("db")
    assert kept is not None
    assert kept.injections == good.injections


@given(
    st.lists(st.sampled_from(["{", "}", "a", "_", "{a}", "{b}", "{A}", "{basic}", "é", "\n"])),
    st.sets(st.sampled_from(["a", "b", "A", "username", "password"]), min_size=1),
)
def test_what_is_added_can_be_filled(parts: list[str], names: set[str]) -> None:
    held = lent(
        credential(injections=(rule(Placement.ENV, "X", "".join(parts)),)),
        {name: f"value of {name}" for name in names},
    )
    (only,) = held.credential.injections
    if placing.problems([only], names):
        with pytest.raises(LeaseUnavailable):
            rendered(held, only)
    else:
        rendered(held, only)


def lent(source: Credential, fields: dict[str, str]) -> Held:
    lease = Lease(
        id="lease_1",
        credential=source.name,
        backend=source.backend,
        external="midflight-1",
        run="run_1",
        workload="w",
        state=LeaseState.ACTIVE,
        created_at=0,
        expires_at=1,
        max_expires_at=1,
    )
    return Held(lease=lease, secret=Secret(fields=fields), credential=source)


def test_a_secret_that_holds_a_field_is_not_filled_in_again() -> None:
    held = lent(credential(injections=(HEADER,)), {"token": "{password}", "password": MARK})
    assert rendered(held, HEADER) == "{password}"


def test_what_is_public_is_not_taken_for_a_secret() -> None:
    source = credential(
        injections=(
            rule(Placement.HEADER, "X-Stage", "production"),
            rule(Placement.HEADER, "X-User", "user {username}"),
            rule(Placement.HEADER, "X-Key", "Key {password}"),
        )
    )
    fields = {"username": "somebody", "host": "db.example.org", "password": MARK}
    assert hidden_of(lent(source, fields)) == {MARK, f"Key {MARK}"}


def test_any_text_at_all_can_be_looked_for() -> None:
    assert any("�" not in form for form in forms("lone \udcff surrogate"))


def local(name: str, *rules: Injection) -> Credential:
    return Credential(
        name=name, backend="memory", upstreams=frozenset({"one"}), injections=tuple(rules)
    )


async def started(leases: ScriptedLeases) -> MemoryPlane:
    tools = [{"name": "look", "description": "", "inputSchema": {"type": "object"}}]
    plane = MemoryPlane(upstream=ScriptedUpstream("one", tools), leases=leases)
    await plane.start()
    await plane.pin("look", Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True))
    return plane


async def refusal(plane: MemoryPlane) -> str:
    done = await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(done, Refused), done
    return done.decision.reasons[0].text


@pytest.mark.parametrize("placement", [Placement.HEADER, Placement.ENV, Placement.QUERY])
@pytest.mark.parametrize("bad", ["\0", "\udcff"])
async def test_a_secret_that_is_no_text_is_refused_by_name_and_not_shown(
    placement: Placement, bad: str
) -> None:
    leases = ScriptedLeases()
    leases.add(local("crm", rule(placement, "X")), token=f"{MARK}{bad}")
    plane = await started(leases)
    text = await refusal(plane)
    assert "holds characters that cannot be placed" in text
    assert MARK not in text
    assert list(leases.uses.values()) == [0]
    assert plane.upstream.received == []


@pytest.mark.parametrize("field", ["certificate", "ca_chain", "private_key"])
@pytest.mark.parametrize("bad", ["\0", "\udcff"])
def test_a_client_certificate_that_is_no_text_is_refused_and_not_shown(
    field: str, bad: str
) -> None:
    fields = {"certificate": MARK, "ca_chain": MARK, "private_key": MARK}
    with pytest.raises(LeaseUnavailable) as refused:
        certificate_of(lent(credential(), {**fields, field: f"{MARK}{bad}"}))
    assert "holds characters that cannot be placed" in str(refused.value)
    assert MARK not in repr(refused.value)
    assert certificate_of(lent(credential(), fields)).key == MARK.encode()


async def test_two_credentials_for_one_header_are_not_sent_as_one() -> None:
    leases = ScriptedLeases()
    leases.add(local("one", HEADER), token=MARK)
    leases.add(local("two", rule(Placement.HEADER, "x-KEY")), token="another-secret")
    plane = await started(leases)
    text = await refusal(plane)
    assert "both placed into header x-key" in text
    assert MARK not in text
    assert plane.upstream.received == []


async def test_a_word_of_the_database_is_no_echo() -> None:
    leases = ScriptedLeases()
    leases.add(local("db", HEADER), token=MARK, host="db.example.org", database="postgres")
    plane = await started(leases)

    async def says(action: Action, flight: Any, sink: Any) -> Reply:
        del action, flight, sink
        return Reply(result={"content": [{"type": "text", "text": f"postgres, {MARK}"}]})

    plane.upstream.scripts["look"] = says
    done = await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(done, Performed)
    assert done.reply.result is not None
    (said,) = done.reply.result["content"]
    assert said["text"] == "postgres, [credential removed]"


def test_what_the_upstream_cannot_take_is_refused_when_it_is_added(tmp_path: Path) -> None:
    with running_plane(tmp_path) as running:
        running.upstream.placements = frozenset({Placement.HEADER})
        fields: dict[str, Any] = {
            "backend": "sealed",
            "upstreams": ["desk"],
            "sealed": {"token": MARK},
        }
        for injection in (
            {"placement": "env", "name": "TOKEN"},
            {"placement": "query", "name": "t"},
        ):
            with pytest.raises(LeaseUnavailable, match="takes no"):
                running.client.post("/v1/credentials", name="a", injections=[injection], **fields)
        running.client.post(
            "/v1/credentials", name="a", injections=[{"placement": "header", "name": "X"}], **fields
        )
        with pytest.raises(Conflict, match="header x of desk already"):
            running.client.post(
                "/v1/credentials",
                name="b",
                injections=[{"placement": "header", "name": "x"}],
                **fields,
            )
