"""Security events of others, pushed over real HTTP by a transmitter that is made with PyJWT."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from set_kit import (
    CAEP,
    RISC,
    SSF,
    Listening,
    claims_of,
    listening,
    row,
    set_of,
    subject,
)

from gateways import AGENT, OPERATOR
from midflight.domain.errors import StoreUnavailable
from midflight.domain.finding import Strength
from midflight.domain.records import Changed, Found
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.shared_stream import Incoming

pytestmark = pytest.mark.anyio


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(tmp_path) as running:
        yield running


async def test_a_session_that_is_revoked_elsewhere_is_revoked_here(here: Listening) -> None:
    claims = claims_of()
    answer = await here.push(set_of(claims))
    assert (answer.status_code, answer.content) == (202, b"")
    assert here.revoked() == [(f"workload {AGENT}", "ssf:idp", claims["jti"])]
    (revocation,) = here.plane.interruption.listing()
    assert revocation.reason == "session-revoked from idp: Landspeed."
    stored = await here.plane.parts.store.revocations()
    assert [each.revocation.id for each in stored] == [revocation.id]
    (record,) = [
        each for each in await here.records(Changed) if each.what.startswith("ssf.received")
    ]
    assert (record.author, record.proof) == ("ssf:idp", claims["jti"])
    assert record.details["outcome"] == f"revoked: workload {AGENT}"
    assert record.details["subject"] == subject()


@pytest.mark.parametrize(
    ("sub_id", "scope"),
    [
        ({"format": "email", "email": "ann@example.org"}, "owner ann"),
        ({"format": "opaque", "id": "dev-7"}, "credential crm"),
        (subject("00u1"), "owner bob"),
        ({"format": "complex", "user": subject(), "tenant": subject("t")}, f"workload {AGENT}"),
        (
            {"format": "complex", "session": {"format": "opaque", "id": "x"}, "user": subject()},
            f"workload {AGENT}",
        ),
    ],
    ids=["email", "opaque", "iss_sub", "complex", "session"],
)
async def test_a_subject_is_who_settings_say(
    here: Listening, sub_id: dict[str, Any], scope: str
) -> None:
    assert (await here.push(set_of(claims_of(sub_id=sub_id)))).status_code == 202
    assert [found for found, _, _ in here.revoked()] == [scope]


async def test_one_token_and_one_run_are_revoked_alone(here: Listening) -> None:
    own = here.plane.settings.issuer
    token = {"format": "jwt_id", "iss": own, "jti": "tok_1"}
    run = await here.gateway.open_run()
    session = {
        "format": "complex",
        "user": subject(AGENT, own),
        "session": {"format": "opaque", "id": run},
    }
    for sub_id in (token, session):
        assert (await here.push(set_of(claims_of(sub_id=sub_id)))).status_code == 202
    assert [found for found, _, _ in here.revoked()] == ["token tok_1", f"run {run}"]
    assert here.plane.interruption.listing()[0].until is not None


EFFECTS = [
    (CAEP + "session-revoked", {}, "revoked"),
    (RISC + "account-disabled", {"reason": "hijacking"}, "revoked"),
    (RISC + "account-purged", {}, "revoked"),
    (RISC + "account-enabled", {}, "noted"),
    (CAEP + "session-established", {}, "noted"),
    (CAEP + "session-presented", {}, "noted"),
    ("urn:of:others", {"x": [1]}, "noted"),
    (CAEP + "token-claims-change", {"claims": {"role": "ro"}}, Strength.WEAK),
    (CAEP + "assurance-level-change",
     {"namespace": "NIST-AAL", "current_level": "1", "change_direction": "decrease"},
     Strength.FAIR),
    (CAEP + "assurance-level-change",
     {"namespace": "NIST-AAL", "current_level": "2", "change_direction": "increase"}, "noted"),
    *(
        (CAEP + "risk-level-change", {"principal": "USER", "current_level": level}, said)
        for level, said in (("HIGH", Strength.STRONG), ("MEDIUM", Strength.FAIR), ("LOW", "noted"))
    ),
    *(
        (CAEP + "credential-change", {"credential_type": kind, "change_type": change}, said)
        for kind in (
            "password", "pin", "x509", "fido2-platform", "fido2-roaming", "fido-u2f",
            "verifiable-credential", "phone-voice", "phone-sms", "app", "of-theirs",
        )
        for change, said in (
            ("create", "noted"), ("update", Strength.WEAK),
            ("delete", Strength.FAIR), ("revoke", Strength.STRONG),
        )
    ),
    *(
        (CAEP + "device-compliance-change",
         {"previous_status": before, "current_status": now}, said)
        for before in ("compliant", "not-compliant")
        for now, said in (("compliant", "noted"), ("not-compliant", Strength.FAIR))
    ),
]  # fmt: skip


async def test_every_event_and_each_of_its_values_has_the_effect_of_its_settings(
    here: Listening,
) -> None:
    seen = 0
    for kind, event, expected in EFFECTS:
        claims = claims_of(kind, event)
        answer = await here.push(set_of(claims))
        assert answer.status_code == 202, answer.text
        (stored,) = [
            each
            for each in await here.plane.parts.store.last_ssf_sets("idp", limit=100)
            if each.jti == claims["jti"]
        ]
        if isinstance(expected, Strength):
            seen += 1
            assert stored.outcome == f"found: workload {AGENT}"
            found = (await here.records(Found))[-1].finding
            assert len(await here.records(Found)) == seen
            assert (found.detector, found.strength, found.workload) == ("ssf", expected, AGENT)
        else:
            assert stored.outcome.startswith(expected), (kind, event)
        if expected == "revoked":
            (only,) = here.plane.interruption.listing()
            await here.plane.interruption.lift(only.id, reason="over", author=OPERATOR)
        assert here.revoked() == []


async def test_what_an_event_does_is_said_by_settings(tmp_path: Path) -> None:
    effects = {
        "session-revoked": "note",
        "risk-level-change": "revoke",
        "credential-change": "revoke",
    }
    async with listening(tmp_path, row(tmp_path, effects=effects)) as here:
        for kind, event in (
            (CAEP + "session-revoked", {}),
            (CAEP + "risk-level-change", {"principal": "USER", "current_level": "MEDIUM"}),
            (CAEP + "credential-change", {"credential_type": "pin", "change_type": "update"}),
        ):
            assert (await here.push(set_of(claims_of(kind, event)))).status_code == 202
            assert here.revoked() == []
        high = claims_of(CAEP + "risk-level-change", {"principal": "USER", "current_level": "HIGH"})
        await here.push(set_of(high))
        assert here.revoked() == [(f"workload {AGENT}", "ssf:idp", high["jti"])]


async def test_an_event_that_lacks_what_it_must_say_is_refused(here: Listening) -> None:
    for kind, event in (
        ("credential-change", {"credential_type": "pin"}),
        ("credential-change", {"credential_type": "pin", "change_type": "lost"}),
        ("device-compliance-change", {"current_status": "compliant"}),
        ("device-compliance-change", {"current_status": "so-so", "previous_status": "compliant"}),
        ("risk-level-change", {"principal": "USER", "current_level": "EXTREME"}),
        ("assurance-level-change", {"current_level": "x"}),
        ("token-claims-change", {"claims": {}}),
    ):
        answer = await here.push(set_of(claims_of(CAEP + kind, event)))
        assert answer.status_code == 400
        assert answer.json()["err"] == "invalid_request"
        assert answer.json()["description"]


async def test_a_set_that_comes_again_is_acknowledged_and_counts_once(here: Listening) -> None:
    text = set_of()
    for _ in range(3):
        assert (await here.push(text)).status_code == 202
    assert len(here.revoked()) == 1
    assert len(await here.plane.parts.store.revocations()) == 1


async def test_what_is_revoked_already_is_not_revoked_again(here: Listening) -> None:
    await here.plane.interruption.revoke(
        Scope(kind=ScopeKind.WORKLOAD, id=AGENT), reason="by hand", author=OPERATOR
    )
    assert (await here.push()).status_code == 202
    assert [author for _, author, _ in here.revoked()] == [OPERATOR.name]


async def test_nothing_is_acknowledged_that_is_not_durable(here: Listening) -> None:
    store, text = here.plane.parts.store, set_of()
    append = store.append_revocation

    async def full(_: Any) -> int:
        raise StoreUnavailable("The disk is full.")

    store.append_revocation = full  # type: ignore[method-assign]
    assert (await here.push(text)).status_code == 503
    assert len(here.revoked()) == 1  # denied here all the same
    assert await store.revocations() == []
    store.append_revocation = append  # type: ignore[method-assign]
    assert (await here.push(text)).status_code == 202
    assert len(await store.revocations()) == 1


async def test_what_was_taken_and_not_acted_on_is_acted_on_at_the_next_start(
    tmp_path: Path,
) -> None:
    claims = claims_of()
    async with listening(tmp_path) as here:
        left = Incoming(receiver="idp", jti=claims["jti"], text=set_of(claims), at=1)
        gone = Incoming(receiver="none", jti="x", text="x", at=1)
        for each in (left, gone):
            await here.plane.parts.store.take_ssf_set(each)
    async with listening(tmp_path) as here:
        assert here.revoked() == [(f"workload {AGENT}", "ssf:idp", claims["jti"])]
        assert await here.plane.parts.store.unfinished_ssf_sets() == []
        assert (await here.push(set_of(claims))).status_code == 202
        assert len(here.revoked()) == 1


async def test_a_verification_that_nobody_asked_for_is_taken(here: Listening) -> None:
    stream = {"format": "opaque", "id": "stream-1"}
    claims = claims_of(SSF + "verification", {}, sub_id=stream, txn=...)
    assert (await here.push(set_of(claims))).status_code == 202
    updated = claims_of(SSF + "stream-updated", {"status": "paused"}, sub_id=stream)
    assert (await here.push(set_of(updated))).status_code == 202
    (_, last) = [each.details["outcome"] for each in await here.records(Changed)
                 if each.what.startswith("ssf.received")]  # fmt: skip
    assert last == "stream paused"


async def test_the_state_of_a_verification_is_the_one_that_was_asked_for(here: Listening) -> None:
    stream = {"format": "opaque", "id": "stream-1"}

    async def verified(state: str) -> Any:
        claims = claims_of(SSF + "verification", {"state": state}, sub_id=stream)
        return await here.push(set_of(claims))

    refused = await verified("made up")
    assert (refused.status_code, refused.json()["err"]) == (400, "invalid_state")
    state = here.plane.signals.receiving.expect("idp")
    assert (await verified("made up")).status_code == 400
    assert (await verified(state)).status_code == 202
    assert (await verified(state)).status_code == 400  # once


async def test_how_a_push_must_come(here: Listening) -> None:
    for secret in (None, "wrong"):
        refused = await here.push(secret=secret)
        assert refused.status_code == 401
        assert refused.json()["err"] == "authentication_failed"
        assert refused.headers["www-authenticate"] == "Bearer"
    for kind in ("application/json", "text/plain", None):
        refused = await here.push(headers={"content-type": kind})
        assert refused.status_code == 400
        assert refused.json()["err"] == "invalid_request"
    assert (await here.push(to="nobody")).status_code == 404
    assert (await here.push("x" * 20_000)).status_code == 413
    for text in ("", "no", "a.b.c"):
        refused = await here.push(text)
        assert refused.status_code == 400
        assert refused.headers["content-type"] == "application/json"
        assert set(refused.json()) == {"err", "description"}
    assert (await here.http.get(f"{here.url}/ssf/receive/idp")).status_code == 405
    assert here.revoked() == []


async def test_who_is_polled_alone_cannot_push(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    poll = {"endpoint": "https://127.0.0.1:9/poll", "token": f"file:{token}", "interval": "1h"}
    async with listening(tmp_path, row(tmp_path, push_secret=None, poll=poll)) as here:
        assert (await here.push()).status_code == 404
