"""A SET of a key that was added a moment ago must not be refused for good: it is a revocation.

A transmitter rotates its key, or somebody has our key set fetched just before it does: for half a
minute the new key is not known here. What is refused meanwhile would never come again.
"""

from __future__ import annotations

from typing import Any

import pytest
from identity_kit import b64
from outside_kit import RsaKey, jwks_of
from set_kit import HERE, IDP, claims_of, set_of

from midflight.adapters.store.memory import MemoryStore
from midflight.domain.errors import NoDocument, Unavailable
from midflight.domain.security_event import SetRefused
from midflight.domain.shared_receiver import Effect, Reachable
from midflight.services.key_sets import REFETCH_S, KeySets, KeySource
from midflight.services.ports.documents import Document
from midflight.services.ssf_receiving import Receiving, Transmitter
from midflight.testing import FakeClock
from midflight.wire import ssf

pytestmark = pytest.mark.anyio


class Issuer:
    """Where the keys of a transmitter are: it may be away."""

    def __init__(self, *keys: RsaKey) -> None:
        self.keys = list(keys)
        self.fetches = 0
        self.away = False

    async def fetch(self, uri: str, **_: Any) -> Document:
        self.fetches += 1
        if self.away:
            raise NoDocument("It does not answer.", reason="is away")
        listed = [jwk for key in self.keys for jwk in jwks_of(key)["keys"]]
        return Document(value={"keys": listed}, max_age_s=3_600)


class Acts:
    """What follows an event: it is noted."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def of(self, event: Any, **_: Any) -> str:
        self.seen.append(event.jti)
        return "noted"

    async def record(self, event: Any, **_: Any) -> None:
        """Nothing is recorded."""


class Taking:
    def __init__(self, issuer: Issuer) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore()
        self.acts = Acts()
        self.receiving = Receiving(
            [
                Transmitter(
                    name="idp",
                    keys=KeySource(issuer=IDP, jwks_uri="https://idp.example.org/jwks"),
                    audience=HERE,
                    max_age_s=10**9,
                    reachable=Reachable(issuer=IDP, own_issuer=HERE),
                    effects=dict[str, Effect](),
                )
            ],
            sets=ssf,
            key_sets=KeySets(documents=issuer, clock=self.clock),
            store=self.store,
            effects=self.acts,  # type: ignore[arg-type] -- what follows is another test's
            clock=self.clock,
        )

    async def take(self, key: RsaKey, kid: str | None = None) -> str:
        claims = claims_of(iat=int(self.clock.now()))
        text = set_of(claims, key=key, kid=kid or key.jkt)
        return (await self.receiving.take("idp", text)).jti


async def test_a_set_of_a_new_key_comes_again_until_the_key_is_known() -> None:
    old, new = RsaKey(), RsaKey()
    issuer = Issuer(old)
    here = Taking(issuer)
    await here.store.open()
    first = await here.take(old)
    issuer.keys = [new, old]
    here.clock.advance(1)
    claims = claims_of(iat=int(here.clock.now()))
    text = set_of(claims, key=new, kid=new.jkt)
    with pytest.raises(Unavailable):
        await here.receiving.take("idp", text)
    here.clock.advance(REFETCH_S)
    taken = await here.receiving.take("idp", text)
    assert here.acts.seen == [first, taken.jti]
    assert issuer.fetches == 2
    # The old key is gone from the set once its issuer says so.
    issuer.keys = [new]
    here.clock.advance(3_601)
    with pytest.raises(SetRefused):
        await here.take(old)


async def test_a_made_up_key_is_refused_once_the_issuer_was_asked_for_it() -> None:
    old, other = RsaKey(), RsaKey()
    issuer = Issuer(old)
    here = Taking(issuer)
    await here.store.open()
    with pytest.raises(SetRefused):  # the set was fetched because of it
        await here.take(other)
    here.clock.advance(1)
    with pytest.raises(Unavailable):
        await here.take(other, kid="another")
    here.clock.advance(REFETCH_S)
    with pytest.raises(SetRefused):
        await here.take(other, kid="another")
    assert issuer.fetches == 2  # a flood of made-up names is no flood of fetches
    # A key that is known and does not fit is refused at once.
    with pytest.raises(SetRefused):
        await here.take(other, kid=old.jkt)
    assert here.acts.seen == []


async def test_an_issuer_that_is_away_loses_nothing_and_lets_nothing_in() -> None:
    old, new = RsaKey(), RsaKey()
    issuer = Issuer(old)
    here = Taking(issuer)
    await here.store.open()
    await here.take(old)
    issuer.away = True
    here.clock.advance(REFETCH_S)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await here.take(new)
    issuer.away, issuer.keys = False, [new]
    here.clock.advance(REFETCH_S)
    await here.take(new)
    assert len(here.acts.seen) == 2


async def test_a_set_without_a_signature_is_refused_whatever_its_key_is_called() -> None:
    issuer = Issuer(RsaKey())
    here = Taking(issuer)
    await here.store.open()
    header = b64(b'{"typ":"secevent+jwt","alg":"none"}')
    with pytest.raises(SetRefused):
        await here.receiving.take("idp", f"{header}.{b64(b'{}')}.")
