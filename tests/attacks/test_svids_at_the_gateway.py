"""SVIDs and certificates shown at the gateway by whom they are not of, or for what they are not.

SVIDs are of the product's own authority, over its real services; tokens are made by hand.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import jwt as pyjwt
import msgspec
import pytest
from identity_kit import (
    RESOURCE,
    Key,
    b64,
    bearer,
    by_hand,
    claims_of,
    dpop,
    identity_of,
    proof_for,
)
from identity_kit import header_of as access_header
from spiffe_kit import AUTHOR, DOMAIN, REPORTS, TRIAGE, Mint

from midflight.domain.action import Action, ActionKind
from midflight.domain.attestation import Entry
from midflight.domain.errors import Interrupted, Unauthenticated
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.spiffe import TrustBundle, X509Svid
from midflight.services.guard_case import Case
from midflight.services.identity import Identity
from midflight.services.presented import Credentials
from midflight.services.svid_callers import SvidCallers
from midflight.wire import spiffe, tokens

pytestmark = pytest.mark.anyio

KEY = Key()


class House:
    """A gateway's identity over a mint of SVIDs."""

    def __init__(self, folder: Path) -> None:
        self.mint = Mint(folder, wit=True)
        self.bundles: Any = self.mint.bundles
        self.identity: Identity

    async def start(self) -> House:
        await self.mint.start()
        for workload in (TRIAGE, REPORTS):
            await self.mint.register(workload)
        self.identity = identity_of(self.mint.store, KEY, self.mint.clock, trust_domain=DOMAIN)
        self.identity.believe(
            SvidCallers(bundles=self, svids=spiffe, certificates=tokens, audience=RESOURCE)
        )
        return self

    def bundle(self, trust_domain: str) -> TrustBundle | None:
        return self.bundles.bundle(trust_domain)

    async def x509(self, workload: str = TRIAGE) -> X509Svid:
        return await self.mint.svids.x509(_entry(workload), proof="test")

    async def jwt(self, *audience: str, workload: str = TRIAGE) -> str:
        found = await self.mint.svids.jwt(
            _entry(workload), audience=audience or (RESOURCE,), proof="test"
        )
        return found.token

    def access(self, **claims: Any) -> str:
        now = int(self.mint.clock.now())
        return by_hand(
            access_header(KEY), claims_of(sub=TRIAGE, iat=now, exp=now + 600, **claims), KEY
        )

    async def refused(self, credentials: Credentials) -> Unauthenticated:
        with pytest.raises(Unauthenticated) as caught:
            await self.identity.identify(credentials)
        return caught.value


def _entry(workload: str) -> Entry:
    return Entry(id="entry_test", spiffe_id=workload, selectors=(), added_by="test", proof="test")


@pytest.fixture
async def house(tmp_path: Path) -> House:
    return await House(tmp_path).start()


def showing(*chain: bytes, **changes: Any) -> Credentials:
    return bearer("", **{"authorization": (), "certificates": chain, **changes})


def x5t(der: bytes) -> str:
    return b64(hashlib.sha256(der).digest())


# What passes


async def test_a_workload_is_known_by_its_certificate_and_its_serial_number(house: House) -> None:
    svid = await house.x509()
    caller = await house.identity.identify(showing(*svid.chain))
    assert (caller.workload, caller.proof, caller.token) == (TRIAGE, "mtls", svid.serial)
    assert abs(caller.expires_at - svid.expires_at) <= 1
    assert caller.run is None


async def test_a_workload_is_known_by_a_jwt_svid_for_this_gateway(house: House) -> None:
    caller = await house.identity.identify(bearer(await house.jwt()))
    assert (caller.workload, caller.proof) == (TRIAGE, "jwt-svid")
    assert caller.token
    assert caller.expires_at <= house.mint.clock.now() + 300


async def test_a_bound_token_passes_with_its_certificate(house: House) -> None:
    svid = await house.x509()
    token = house.access(cnf={"x5t#S256": x5t(svid.chain[0])})
    caller = await house.identity.identify(bearer(token, certificates=svid.chain))
    assert (caller.workload, caller.proof, caller.token) == (TRIAGE, "mtls", "tok_abcdefgh")


# Certificates


async def test_a_stolen_token_is_worth_nothing_without_its_certificate(house: House) -> None:
    mine, theirs, other = await house.x509(), await house.x509(REPORTS), await house.x509()
    token = house.access(cnf={"x5t#S256": x5t(mine.chain[0])})
    for shown in ((), theirs.chain, other.chain, mine.chain[1:], (b"",), (mine.chain[0] + b"\0",)):
        error = await house.refused(bearer(token, certificates=shown))
        assert "bound to" in error.message
    # A warm cache changes nothing.
    await house.identity.identify(bearer(token, certificates=mine.chain))
    await house.refused(bearer(token, certificates=theirs.chain))
    await house.refused(bearer(token))


async def test_a_token_bound_to_key_and_certificate_needs_both(house: House) -> None:
    svid, client = await house.x509(), Key()
    token = house.access(cnf={"x5t#S256": x5t(svid.chain[0]), "jkt": client.jkt})
    now = int(house.mint.clock.now())
    proof = proof_for(token, client, iat=now)
    await house.refused(bearer(token, certificates=svid.chain))
    await house.refused(dpop(token, proof))
    assert await house.identity.identify(dpop(token, proof, certificates=svid.chain))


async def test_a_token_of_another_workload_does_not_come_over_this_connection(
    house: House,
) -> None:
    svid = await house.x509(REPORTS)
    for text in (house.access(), await house.jwt()):
        error = await house.refused(bearer(text, certificates=svid.chain))
        assert "another workload" in error.message
    assert await house.identity.identify(
        bearer(house.access(), certificates=(await house.x509()).chain)
    )


async def test_a_certificate_of_an_authority_that_only_calls_itself_ours_is_refused(
    house: House, tmp_path: Path
) -> None:
    impostor = await House(tmp_path / "impostor").start()
    svid = await impostor.x509()
    await house.refused(showing(*svid.chain))
    own = await house.x509()
    await house.refused(showing(svid.chain[0], *own.chain[1:]))
    await house.refused(showing(svid.chain[0], *own.chain))


async def test_what_is_no_svid_proves_nothing(house: House) -> None:
    svid = await house.x509()
    authority = house.mint.bundles.own.x509_authorities[0]
    for chain in (
        (authority,), (b"garbage",), (b"",), (b"\x30" * 20_000,), (svid.chain[0][:-1],),
        (svid.chain[0], b"garbage"), svid.chain * 9,
    ):  # fmt: skip
        await house.refused(showing(*chain))


async def test_an_authority_that_is_taken_out_takes_its_workloads_along_with_a_warm_cache(
    house: House,
) -> None:
    svid = await house.x509()
    assert await house.identity.identify(showing(*svid.chain))
    kept = house.mint.bundles.own

    class Empty:
        def bundle(self, _: str) -> TrustBundle | None:
            return msgspec.structs.replace(kept, x509_authorities=())

    house.bundles = Empty()
    await house.refused(showing(*svid.chain))
    house.bundles = house.mint.bundles
    assert await house.identity.identify(showing(*svid.chain))


async def test_a_certificate_ends_on_a_connection_that_stays_open(house: House) -> None:
    svid = await house.x509()
    await house.identity.identify(showing(*svid.chain))
    house.mint.clock.advance(svid.expires_at - time.time() + 60)
    await house.refused(showing(*svid.chain))


async def test_a_proof_without_a_token_is_not_overlooked(house: House) -> None:
    svid = await house.x509()
    await house.refused(showing(*svid.chain, dpop=("a.b.c",)))


# JWT-SVIDs


@pytest.mark.parametrize(
    "audience",
    [("https://elsewhere.test",), (RESOURCE + "/git",), (RESOURCE, "https://elsewhere.test")],
)
async def test_a_jwt_svid_for_somebody_else_is_refused(
    house: House, audience: tuple[str, ...]
) -> None:
    await house.refused(bearer(await house.jwt(*audience)))


async def test_a_jwt_svid_is_a_bearer_token_and_nothing_else(house: House) -> None:
    text = await house.jwt()
    await house.refused(dpop(text, "a.b.c"))
    await house.refused(bearer(text, dpop=("a.b.c",)))


async def test_a_jwt_svid_ends_within_minutes(house: House) -> None:
    text = await house.jwt()
    house.mint.clock.advance(331)
    await house.refused(bearer(text))


@pytest.mark.parametrize("kind", ["JWT", "JOSE", ..., "at+jwt"])
async def test_our_key_of_access_tokens_signs_no_jwt_svid(house: House, kind: Any) -> None:
    now = int(house.mint.clock.now())
    claims = {"sub": TRIAGE, "aud": RESOURCE, "exp": now + 300, "iat": now}
    await house.refused(bearer(by_hand(access_header(KEY, typ=kind), claims, KEY)))


async def test_a_key_of_svids_signs_no_access_token(house: House) -> None:
    """One key a purpose: what signs JWT-SVIDs is in the bundle and not among our own keys."""
    head, claims = {"typ": "at+jwt"}, claims_of(sub=TRIAGE, iat=int(house.mint.clock.now()))
    claims["exp"] = claims["iat"] + 600
    await house.refused(bearer(house.mint.signer.sign(head, claims)))


async def test_a_wit_svid_passes_for_no_token_even_with_a_proof_of_its_key(house: House) -> None:
    """It counts only by a protocol that we do not speak, never in Authorization (WIT-SVID §5)."""
    svid = await house.mint.svids.wit(_entry(TRIAGE), proof="test")
    holder = Key(pyjwt.PyJWK(svid.key).key)
    now = int(house.mint.clock.now())
    await house.refused(bearer(svid.token))
    await house.refused(dpop(svid.token, proof_for(svid.token, holder, iat=now)))
    with pytest.raises(Unauthenticated):
        house.mint.svids.validate_jwt(svid.token, RESOURCE)


@pytest.mark.parametrize("kind", ["JWT", "JOSE", "at+jwt"])
async def test_a_key_of_wit_svids_signs_nothing_else(house: House, kind: str) -> None:
    signer, now = house.mint.wit_signer, int(house.mint.clock.now())
    assert signer is not None
    claims = claims_of(sub=TRIAGE, iat=now, exp=now + 300)
    text = signer.sign({"typ": kind}, claims)
    await house.refused(bearer(text))
    with pytest.raises(Unauthenticated):
        house.mint.svids.validate_jwt(text, RESOURCE)


async def test_where_no_svid_is_believed_none_is(house: House) -> None:
    plain = identity_of(house.mint.store, KEY, house.mint.clock, trust_domain=DOMAIN)
    svid = await house.x509()
    for credentials in (showing(*svid.chain), bearer(await house.jwt())):
        with pytest.raises(Unauthenticated):
            await plain.identify(credentials)


async def test_revocation_of_a_serial_number_covers_the_caller(house: House) -> None:
    svid = await house.x509()
    caller = await house.identity.identify(showing(*svid.chain))
    action = Action(
        kind=ActionKind.CALL_TOOL, method="tools/call", upstream="git", name="log", arguments={}
    )
    scopes = list(Case(action, caller, 0.0).scopes())
    for scope in (
        Scope(kind=ScopeKind.TOKEN, id=svid.serial),
        Scope(kind=ScopeKind.WORKLOAD, id=TRIAGE),
        Scope(kind=ScopeKind.TRUST_DOMAIN, id=DOMAIN),
        Scope(kind=ScopeKind.EVERYTHING),
    ):
        assert (scope.kind, scope.id) in scopes


@pytest.mark.parametrize("own", [DOMAIN, "elsewhere.example"])
async def test_who_was_launched_for_a_run_acts_in_no_other_whatever_svid_it_shows(
    house: House, own: str
) -> None:
    house.identity.believe(
        SvidCallers(bundles=house, svids=spiffe, certificates=tokens, audience=RESOURCE, own=own)
    )
    entry = msgspec.structs.replace(_entry(TRIAGE), run="run_one")
    chain = (await house.mint.svids.x509(entry, proof="test")).chain
    token = (await house.mint.svids.jwt(entry, audience=(RESOURCE,), proof="test")).token
    # Runs are ours: what another trust domain says of one is not believed.
    run = "run_one" if own == DOMAIN else None
    for credentials in (showing(*chain), bearer(token)):
        assert (await house.identity.identify(credentials)).run == run
    plain = (await house.x509()).chain
    assert (await house.identity.identify(showing(*plain))).run is None


async def test_an_svid_of_a_revoked_run_proves_nothing(house: House) -> None:
    entry = msgspec.structs.replace(_entry(TRIAGE), run="run_one")
    token = (await house.mint.svids.jwt(entry, audience=(RESOURCE,), proof="test")).token
    assert house.mint.svids.validate_jwt(token, RESOURCE).run == "run_one"
    scope = Scope(kind=ScopeKind.RUN, id="run_one")
    await house.mint.interruption.revoke(scope, reason="test", author=AUTHOR)
    with pytest.raises(Interrupted):
        house.mint.svids.validate_jwt(token, RESOURCE)
