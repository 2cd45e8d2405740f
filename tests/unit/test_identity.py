"""`services.identity`: the warm cache, the mint, and what is told to clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from identity_kit import (
    AUTHOR,
    ISSUER,
    JWKS_URI,
    NOW,
    RESOURCE,
    URL,
    WORKLOAD,
    Key,
    Recorder,
    bearer,
    by_hand,
    claims_of,
    dpop,
    header_of,
    identity_of,
    proof_for,
    signer_of,
    workload_of,
)

from midflight.adapters.keys.es256 import Es256TokenSigner
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.errors import (
    Conflict,
    LedgerUnavailable,
    Malformed,
    Misconfigured,
    NotFound,
    StoreUnavailable,
    Unauthenticated,
    Unavailable,
)
from midflight.domain.labels import BOTTOM
from midflight.domain.records import Changed
from midflight.domain.run import Run, RunState
from midflight.services.identity import Identity
from midflight.testing import FakeClock
from midflight.wire import tokens

pytestmark = pytest.mark.anyio

KEY = Key()


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore()
    await store.open()
    await store.put_workload(workload_of())
    yield store
    await store.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def identity(store: MemoryStore, clock: FakeClock, recorder: Recorder) -> Identity:
    return identity_of(store, KEY, clock, recorder=recorder)


def run_of(run: str, **changes: Any) -> Run:
    values: dict[str, Any] = {
        "id": run,
        "workload": WORKLOAD,
        "intent": "close ticket 7",
        "opened_by": "alice",
        "opened_at": NOW,
        "expires_at": NOW + 3600,
        "idle_timeout": 600,
        "max_steps": 10,
        "salt": "salt",
        **changes,
    }
    return Run(**values)


class CountingProofs:
    """The real reader of tokens, counted."""

    def __init__(self) -> None:
        self.verified = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(tokens, name)

    def verify_access_token(self, text: str, **settings: Any) -> Any:
        self.verified += 1
        return tokens.verify_access_token(text, **settings)


# Identify


async def test_the_caller_is_what_the_token_says_and_where_it_came_from(
    identity: Identity,
) -> None:
    token = by_hand(header_of(KEY), claims_of(txn="run_7", jti="tok_7"), KEY)
    caller = await identity.identify(bearer(token, peer="10.0.0.7:1234"))
    assert caller.workload == WORKLOAD
    assert caller.run == "run_7"
    assert caller.token == "tok_7"
    assert caller.proof == "bearer"
    assert caller.expires_at == NOW + 600
    assert caller.peer == "10.0.0.7:1234"


async def test_an_unregistered_workload_with_a_good_token_is_identified(
    identity: Identity,
) -> None:
    stranger = "spiffe://example.test/agents/stranger"
    token = by_hand(header_of(KEY), claims_of(sub=stranger, client_id=stranger), KEY)
    assert (await identity.identify(bearer(token))).workload == stranger


async def test_a_token_is_verified_once_while_it_is_warm(
    store: MemoryStore, clock: FakeClock
) -> None:
    proofs = CountingProofs()
    identity = identity_of(store, KEY, clock, proofs=proofs)
    token = by_hand(header_of(KEY), claims_of(), KEY)
    callers = [await identity.identify(bearer(token, peer=str(n))) for n in range(5)]
    assert proofs.verified == 1
    assert [caller.peer for caller in callers] == ["0", "1", "2", "3", "4"]
    identity.forget()
    await identity.identify(bearer(token))
    assert proofs.verified == 2


async def test_the_cache_ends_with_the_token(store: MemoryStore, clock: FakeClock) -> None:
    proofs = CountingProofs()
    identity = identity_of(store, KEY, clock, proofs=proofs)
    token = by_hand(header_of(KEY), claims_of(), KEY)
    await identity.identify(bearer(token))
    clock.advance(599.9)
    await identity.identify(bearer(token))
    assert proofs.verified == 1
    clock.advance(0.1)
    await identity.identify(bearer(token))  # within the leeway, and verified for it
    assert proofs.verified == 2
    clock.advance(30)
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="expired"):
            await identity.identify(bearer(token))


async def test_a_refused_token_is_not_remembered(store: MemoryStore, clock: FakeClock) -> None:
    proofs = CountingProofs()
    identity = identity_of(store, KEY, clock, proofs=proofs)
    for number in range(50):
        with pytest.raises(Unauthenticated):
            await identity.identify(bearer(f"garbage{number}"))
    assert proofs.verified == 50
    assert not identity._verified


async def test_the_cache_is_bounded_and_holds_no_token(
    store: MemoryStore, clock: FakeClock
) -> None:
    identity = identity_of(store, KEY, clock, cached_tokens=3)
    for number in range(8):
        token = by_hand(header_of(KEY), claims_of(jti=f"tok_{number}"), KEY)
        assert (await identity.identify(bearer(token))).token == f"tok_{number}"
        assert len(identity._verified) <= 3
        assert token not in repr(identity.__dict__)
    assert {claims.token for claims in identity._verified.values()} == {"tok_5", "tok_6", "tok_7"}


async def test_a_warm_bound_token_still_needs_a_proof_each_time(identity: Identity) -> None:
    client = Key()
    token = by_hand(header_of(KEY), claims_of(cnf={"jkt": client.jkt}), KEY)
    for number in range(3):
        await identity.identify(dpop(token, proof_for(token, client, jti=str(number))))
    with pytest.raises(Unauthenticated):
        await identity.identify(dpop(token))


async def test_tokens_of_a_retired_key_hold_until_they_end_and_no_longer(
    store: MemoryStore, clock: FakeClock
) -> None:
    signer = Es256TokenSigner.fresh(clock=clock)
    identity = identity_of(store, KEY, clock, signer=signer)
    minted = await identity.mint(workload=WORKLOAD, author=AUTHOR, ttl_s=900)
    signer.rotate()
    identity.forget()
    await identity.identify(bearer(minted.token))
    fresh = await identity.mint(workload=WORKLOAD, author=AUTHOR)
    await identity.identify(bearer(fresh.token))
    # A token that the retired key signs later: the public half is gone by then.
    clock.advance(961)
    old_kid = tokens.thumbprint(signer.public_jwks()["keys"][0])
    assert [jwk["kid"] for jwk in identity.jwks()["keys"]] == [old_kid]


# Mint


async def test_a_minted_token_identifies_its_workload(
    identity: Identity, store: MemoryStore
) -> None:
    await store.create_run(run_of("run_1"), labels=BOTTOM, labels_source="")
    minted = await identity.mint(workload=WORKLOAD, run="run_1", author=AUTHOR, ttl_s=300)
    caller = await identity.identify(bearer(minted.token))
    assert (caller.workload, caller.run, caller.token) == (WORKLOAD, "run_1", minted.jti)
    assert caller.expires_at == minted.expires_at == NOW + 300


async def test_a_minted_token_is_known_when_it_comes_and_forgotten_with_its_key(
    store: MemoryStore, clock: FakeClock
) -> None:
    proofs = CountingProofs()
    identity = identity_of(store, KEY, clock, proofs=proofs)
    minted = await identity.mint(workload=WORKLOAD, author=AUTHOR)
    assert proofs.verified == 1
    assert (await identity.identify(bearer(minted.token))).token == minted.jti
    assert proofs.verified == 1
    with pytest.raises(Unauthenticated):
        await identity.identify(bearer(minted.token[:-2] + "AA"))
    identity.forget()
    await identity.identify(bearer(minted.token))
    assert proofs.verified == 3


async def test_a_token_that_does_not_verify_is_neither_handed_out_nor_recorded(
    store: MemoryStore, clock: FakeClock
) -> None:
    class Withdrawn:
        """A signer whose key is gone from the set when the signature comes back."""

        def __init__(self) -> None:
            self.signs = signer_of(KEY, clock)

        async def mint(self, header: Any, claims: Any) -> str:
            return self.signs.sign(header, claims)

        def public_jwks(self) -> dict[str, Any]:
            return signer_of(Key(), clock).public_jwks()

    recorder = Recorder()
    identity = identity_of(store, KEY, clock, signer=Withdrawn(), recorder=recorder)
    with pytest.raises(Unavailable, match="does not verify"):
        await identity.mint(workload=WORKLOAD, author=AUTHOR)
    assert recorder.records == []
    assert not identity._verified


async def test_a_minted_token_can_be_bound_to_a_key(identity: Identity) -> None:
    client = Key()
    minted = await identity.mint(workload=WORKLOAD, author=AUTHOR, jkt=client.jkt)
    with pytest.raises(Unauthenticated):
        await identity.identify(bearer(minted.token))
    caller = await identity.identify(dpop(minted.token, proof_for(minted.token, client)))
    assert caller.proof == "dpop"


async def test_a_mint_is_recorded_with_its_id_and_never_the_token(
    identity: Identity, recorder: Recorder
) -> None:
    minted = await identity.mint(workload=WORKLOAD, author=AUTHOR)
    (record,) = recorder.records
    assert isinstance(record, Changed)
    assert record.what == f"token.mint {WORKLOAD}"
    assert (record.author, record.proof) == (AUTHOR.name, AUTHOR.proof)
    assert record.details["jti"] == minted.jti
    assert record.details["exp"] == minted.expires_at
    written = msgspec.json.encode(record).decode()
    assert minted.token not in written
    assert minted.token.split(".")[2] not in written


async def test_a_token_that_cannot_be_recorded_is_not_handed_out(
    store: MemoryStore, clock: FakeClock
) -> None:
    class FullTicket:
        id = "w:1"

        async def durable(self) -> None:
            raise LedgerUnavailable("The disk is full.")

    class FullRecorder:
        available = False

        def append(self, record: Any) -> FullTicket:
            return FullTicket()

    identity = identity_of(store, KEY, clock, recorder=FullRecorder())
    with pytest.raises(LedgerUnavailable):
        await identity.mint(workload=WORKLOAD, author=AUTHOR)


async def test_every_token_has_its_own_id(identity: Identity) -> None:
    minted = [await identity.mint(workload=WORKLOAD, author=AUTHOR) for _ in range(20)]
    assert len({token.jti for token in minted}) == 20
    assert len({token.token for token in minted}) == 20


async def test_an_unregistered_workload_gets_no_token(
    identity: Identity, recorder: Recorder
) -> None:
    with pytest.raises(NotFound):
        await identity.mint(workload="spiffe://example.test/agents/nobody", author=AUTHOR)
    assert recorder.records == []


async def test_a_disabled_workload_gets_no_token(identity: Identity, store: MemoryStore) -> None:
    await store.put_workload(workload_of(disabled=True))
    with pytest.raises(Conflict):
        await identity.mint(workload=WORKLOAD, author=AUTHOR)


async def test_a_token_names_only_an_open_run_of_its_own_workload(
    identity: Identity, store: MemoryStore
) -> None:
    other = "spiffe://example.test/agents/other"
    await store.create_run(run_of("run_theirs", workload=other), labels=BOTTOM, labels_source="")
    await store.create_run(run_of("run_over"), labels=BOTTOM, labels_source="")
    await store.end_run("run_over", RunState.CLOSED)
    for run in ("run_theirs", "run_none"):
        with pytest.raises(NotFound):
            await identity.mint(workload=WORKLOAD, run=run, author=AUTHOR)
    with pytest.raises(Conflict):
        await identity.mint(workload=WORKLOAD, run="run_over", author=AUTHOR)


@pytest.mark.parametrize("ttl", [-1, 0, 299, 901, 10**9])
async def test_a_token_lives_five_to_fifteen_minutes(identity: Identity, ttl: int) -> None:
    with pytest.raises(Malformed, match="300 to 900"):
        await identity.mint(workload=WORKLOAD, author=AUTHOR, ttl_s=ttl)
    for fine in (300, 900):
        minted = await identity.mint(workload=WORKLOAD, author=AUTHOR, ttl_s=fine)
        await identity.identify(bearer(minted.token))


@pytest.mark.parametrize("jkt", ["", "x", "A" * 44, KEY.jkt + "="])
async def test_a_binding_to_what_is_no_thumbprint_is_refused(identity: Identity, jkt: str) -> None:
    with pytest.raises(Malformed):
        await identity.mint(workload=WORKLOAD, author=AUTHOR, jkt=jkt)


async def test_without_the_store_nothing_is_minted(identity: Identity, store: MemoryStore) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await identity.mint(workload=WORKLOAD, author=AUTHOR)


async def test_a_minted_token_is_not_in_its_repr(identity: Identity) -> None:
    minted = await identity.mint(workload=WORKLOAD, author=AUTHOR)
    assert minted.token not in repr(minted) + str(minted) + repr(list(minted.__rich_repr__()))
    assert minted.jti in repr(minted)


# What clients are told


async def test_metadata_names_resource_issuer_and_keys(identity: Identity) -> None:
    document = identity.metadata()
    assert document["resource"] == RESOURCE
    assert document["authorization_servers"] == [ISSUER]
    assert document["jwks_uri"] == JWKS_URI
    assert identity.metadata_url == (
        "https://plane.example.test/.well-known/oauth-protected-resource/mcp"
    )


async def test_jwks_are_public_alone(identity: Identity) -> None:
    (jwk,) = identity.jwks()["keys"]
    assert set(jwk) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (jwk["kid"], jwk["use"], jwk["alg"]) == (KEY.jkt, "sig", "ES256")


async def test_a_refusal_points_to_the_metadata(identity: Identity) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await identity.identify(bearer("x", url=URL))
    header = identity.challenge_header(caught.value)
    assert f'resource_metadata="{identity.metadata_url}"' in header
    assert 'error="invalid_token"' in header


# Settings


@pytest.mark.parametrize(
    ("settings", "problems"),
    [
        ({"issuer": "plane"}, 1),
        ({"issuer": "ftp://a.test"}, 1),
        ({"resource": "https://u:p@a.test/mcp"}, 1),
        ({"resource": "https://a.test/mcp?x"}, 1),
        ({"resource": "https://ä.test/mcp"}, 1),
        ({"trust_domain": "Example.test"}, 1),
        ({"trust_domain": ""}, 1),
        ({"issuer": "", "resource": "", "trust_domain": "a/b c"}, 3),
    ],
)
async def test_settings_that_cannot_work_are_refused_all_at_once(
    store: MemoryStore, clock: FakeClock, settings: dict[str, str], problems: int
) -> None:
    with pytest.raises(Misconfigured) as caught:
        identity_of(store, KEY, clock, **settings)
    assert len(caught.value.problems) == problems
