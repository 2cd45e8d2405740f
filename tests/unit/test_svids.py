"""Minting SVIDs: for whom, for how long, and what is written down before anything leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from spiffe_kit import AUTHOR, DOMAIN, REPORTS, TRIAGE, Mint

from midflight.domain.attestation import Attested, Entry, Selector
from midflight.domain.errors import (
    Forbidden,
    Interrupted,
    LedgerUnavailable,
    Malformed,
    Unauthenticated,
)
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.svids import proof_of

pytestmark = pytest.mark.anyio

UID = Selector(type="unix", value="uid:1000")


def entry_of(**changes: Any) -> Entry:
    values: dict[str, Any] = {
        "id": "entry_a",
        "spiffe_id": TRIAGE,
        "selectors": frozenset({UID}),
        **changes,
    }
    return Entry(**values)


@pytest.fixture
async def mint(tmp_path: Path) -> Mint:
    made = Mint(tmp_path)
    await made.start()
    await made.register()
    return made


async def test_what_is_handed_out_is_recorded_without_its_secret(mint: Mint) -> None:
    svid = await mint.svids.x509(entry_of(hint="main"), proof="unix:7@9")
    token = await mint.svids.jwt(entry_of(run="run_a"), ["billing"], proof="unix:7@9")
    x509, jwt = mint.issued()
    assert (x509.what, x509.id, x509.subject) == ("x509-svid", svid.serial, TRIAGE)
    assert (x509.expires_at, x509.proof) == (svid.expires_at, "unix:7@9")
    assert x509.details == {"entry": "entry_a"}
    assert (jwt.what, jwt.id, jwt.run) == ("jwt-svid", token.jti, "run_a")
    assert jwt.details == {"entry": "entry_a", "audience": ["billing"]}
    assert svid.hint == "main"
    written = repr(mint.recorder.records) + repr(svid) + repr(token)
    assert token.token not in written
    assert token.token.rpartition(".")[2] not in written
    assert svid.key.hex() not in written


async def test_lives_are_cut_to_entry_settings_review_and_the_standard(tmp_path: Path) -> None:
    mint = Mint(tmp_path, x509_ttl_s=900, jwt_ttl_s=9_000)
    await mint.start()
    await mint.register()
    now = int(mint.clock.now())

    async def lives(**changes: Any) -> tuple[int, int]:
        entry = entry_of(**changes)
        x509 = await mint.svids.x509(entry, proof="p")
        jwt = await mint.svids.jwt(entry, ["a"], proof="p")
        return x509.expires_at - now, jwt.expires_at - now

    assert await lives() == (900, 300)
    assert await lives(x509_ttl_s=10**6, jwt_ttl_s=10**6) == (900, 300)
    assert await lives(x509_ttl_s=60, jwt_ttl_s=30) == (60, 30)
    assert await lives(expires_at=now + 20) == (20, 20)
    await mint.register(review_by=now + 10)
    assert await lives() == (10, 10)


SCOPES = [
    Scope(kind=ScopeKind.WORKLOAD, id=TRIAGE),
    Scope(kind=ScopeKind.OWNER, id="alice"),
    Scope(kind=ScopeKind.TRUST_DOMAIN, id=DOMAIN),
    Scope(kind=ScopeKind.RUN, id="run_a"),
    Scope(kind=ScopeKind.EVERYTHING),
]


@pytest.mark.parametrize("scope", SCOPES, ids=str)
async def test_nobody_who_is_revoked_gets_an_identity(mint: Mint, scope: Scope) -> None:
    await mint.interruption.revoke(scope, reason="stolen", author=AUTHOR)
    with pytest.raises(Interrupted, match="stolen"):
        await mint.svids.x509(entry_of(run="run_a"), proof="p")
    with pytest.raises(Interrupted, match="stolen"):
        await mint.svids.jwt(entry_of(run="run_a"), ["a"], proof="p")
    assert mint.issued() == []


async def test_nobody_who_is_not_in_good_standing_gets_an_identity(mint: Mint) -> None:
    cases = [entry_of(spiffe_id=REPORTS), entry_of(spiffe_id="spiffe://partner.test/a")]
    cases.append(entry_of(expires_at=int(mint.clock.now())))
    await mint.register("spiffe://example.test/agents/off")
    await mint.inventory.disable("spiffe://example.test/agents/off", AUTHOR)
    cases.append(entry_of(spiffe_id="spiffe://example.test/agents/off"))
    for entry in cases:
        with pytest.raises(Forbidden):
            await mint.svids.x509(entry, proof="p")
        with pytest.raises(Forbidden):
            await mint.svids.jwt(entry, ["a"], proof="p")
    mint.clock.advance(40 * 86_400)
    with pytest.raises(Forbidden, match="review"):
        await mint.svids.x509(entry_of(), proof="p")
    assert mint.issued() == []


class SlowTicket:
    """A record that is on its way to disk until the test lets it arrive."""

    id = "w:1"

    def __init__(self, why: Exception | None) -> None:
        self.why = why
        self.asked, self.arrived = asyncio.Event(), asyncio.Event()

    async def durable(self) -> None:
        self.asked.set()
        await self.arrived.wait()
        if self.why is not None:
            raise self.why


@pytest.mark.parametrize("kind", ["x509", "jwt"])
async def test_nothing_leaves_before_it_is_on_disk(
    mint: Mint, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> Any:
        if kind == "x509":
            return await mint.svids.x509(entry_of(), proof="p")
        return await mint.svids.jwt(entry_of(), ["a"], proof="p")

    lost = SlowTicket(LedgerUnavailable("The disk is full."))
    monkeypatch.setattr(mint.recorder, "append", lambda _: lost)
    waiting = asyncio.ensure_future(ask())
    await lost.asked.wait()
    assert not waiting.done()
    lost.arrived.set()
    with pytest.raises(LedgerUnavailable):
        await waiting
    # Revoked while the record is written: the document is not handed out either.
    slow = SlowTicket(None)
    monkeypatch.setattr(mint.recorder, "append", lambda _: slow)
    waiting = asyncio.ensure_future(ask())
    await slow.asked.wait()
    monkeypatch.undo()
    scope = Scope(kind=ScopeKind.WORKLOAD, id=TRIAGE)
    await mint.interruption.revoke(scope, reason="r", author=AUTHOR)
    slow.arrived.set()
    with pytest.raises(Interrupted):
        await waiting


@pytest.mark.parametrize(
    "audience", [[], [""], ["a\n"], ["a" * 1_025], [str(n) for n in range(17)]]
)
async def test_a_token_for_nobody_or_anybody_is_not_minted(mint: Mint, audience: list[str]) -> None:
    with pytest.raises(Malformed):
        await mint.svids.jwt(entry_of(), audience, proof="p")


async def test_a_token_is_taken_until_it_or_its_workload_is_revoked(mint: Mint) -> None:
    made = await mint.svids.jwt(entry_of(), ["billing"], proof="p")
    assert mint.svids.validate_jwt(made.token, "billing").jti == made.jti
    with pytest.raises(Unauthenticated):
        mint.svids.validate_jwt(made.token, "payroll")
    with pytest.raises(Unauthenticated):
        mint.svids.validate_jwt(made.token, "billing", trusted=lambda _: False)
    other = await mint.svids.jwt(entry_of(), ["billing"], proof="p")
    scope = Scope(kind=ScopeKind.TOKEN, id=made.jti)
    await mint.interruption.revoke(scope, reason="r", author=AUTHOR)
    with pytest.raises(Interrupted):
        mint.svids.validate_jwt(made.token, "billing")
    assert mint.svids.validate_jwt(other.token, "billing").jti == other.jti
    await mint.inventory.disable(TRIAGE, AUTHOR)
    with pytest.raises(Unauthenticated, match="disabled"):
        mint.svids.validate_jwt(other.token, "billing")


async def test_an_svid_is_due_at_half_of_its_life_or_when_it_is_revoked(mint: Mint) -> None:
    svid = await mint.svids.x509(entry_of(), proof="p")
    mint.clock.advance(1_799)
    assert not mint.svids.due(svid)
    mint.clock.advance(2)
    assert mint.svids.due(svid)
    fresh = await mint.svids.x509(entry_of(), proof="p")
    scope = Scope(kind=ScopeKind.TOKEN, id=fresh.serial)
    await mint.interruption.revoke(scope, reason="key lost", author=AUTHOR)
    assert mint.svids.due(fresh)


def test_a_record_says_how_a_local_caller_was_established() -> None:
    assert proof_of(Attested(selectors=frozenset({UID}), process="7@9", uid=5)) == "unix:7@9"
    assert proof_of(Attested(selectors=frozenset(), uid=5)) == "peer-uid:5"
    assert proof_of(Attested(selectors=frozenset())) == "attested"
