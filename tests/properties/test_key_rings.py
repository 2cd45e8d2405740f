"""Whatever the history of rotations, no verifier that caches the key set refuses a good token."""

from __future__ import annotations

import asyncio
import base64
import bisect
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from key_kit import SomeRings

from midflight.adapters.keys.file_signer import FileKeySource
from midflight.adapters.keys.private_files import PrivateDirectory
from midflight.adapters.keys.ring_files import RING_FILE, RingFiles, sound
from midflight.domain import key_ring
from midflight.domain.errors import Misconfigured
from midflight.domain.key_ring import CACHE_S, KeyState, Ring, RingKey
from midflight.services.ports.keys import Purpose
from midflight.testing import FakeClock
from midflight.testing.words import OPERATOR

# Seconds that pass, whether anybody looked after the keys meanwhile, and what is done then.
STEP = st.tuples(
    st.sampled_from([1, 10, 70, 100, 250, 290, 301, 360, 600, 900]),
    st.booleans(),
    st.sampled_from(["announce", "sign"]),
)
PURPOSES = [Purpose.ACCESS_TOKEN, Purpose.JWT_SVID, Purpose.CLIENT]


class History:
    """What was published when, and what was signed when with which key."""

    def __init__(self, began: float) -> None:
        self.times: list[float] = [began]
        self.published: list[frozenset[str]] = []
        self.signed: list[tuple[float, str]] = []

    def note(self, now: float, kids: frozenset[str]) -> None:
        if self.published:
            self.times.append(now)
        self.published.append(kids)

    def at(self, when: float) -> frozenset[str]:
        """The set that somebody got who fetched then. Before the beginning nobody could."""
        return self.published[max(0, bisect.bisect_right(self.times, when) - 1)]

    def instants(self, first: float, last: float) -> list[float]:
        """All instants in between at which something differs, and just before each."""
        inside = [t for t in self.times if first <= t <= last]
        return [first, last, *inside, *(t - 1e-3 for t in inside if t - 1e-3 >= first)]


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=40), st.sampled_from(PURPOSES))
def test_every_token_verifies_for_its_life_with_any_set_that_may_be_cached(
    steps: list[tuple[int, bool, str]], purpose: Purpose
) -> None:
    clock = FakeClock(1_000_000)
    history = History(clock.now())

    async def play() -> None:
        made = SomeRings(clock=clock, purposes=[purpose])
        await made.rings.start(made.recorder)
        mint = made.mints[purpose]

        def note() -> None:
            kids = frozenset(jwk["kid"] for jwk in mint.public_jwks()["keys"])
            history.note(clock.now(), kids)

        note()
        for seconds, kept, what in steps:
            # In small steps, since keys expire in between.
            for passed in range(0, seconds, 10):
                clock.advance(min(10, seconds - passed))
                if kept:
                    await made.rings.sweep()
                note()
            if what == "announce":
                await made.rings.rotate(purpose, author=OPERATOR)
            else:
                raw = msgspec.json.decode(_bytes((await mint.mint({}, {})).partition(".")[0]))
                history.signed.append((clock.now(), raw["kid"]))
            note()

    asyncio.run(play())
    end = history.times[-1]
    for at, kid in history.signed:
        for verified in history.instants(at, min(end, at + purpose.life_s)):
            fetches = history.instants(max(history.times[0], verified - CACHE_S), verified)
            assert all(kid in history.at(fetched) for fetched in fetches), (at, verified, kid)


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# The table itself, over every order of events


def a_key(number: int) -> RingKey:
    return RingKey(
        kid=f"k{number}",
        jwk={},
        backend="file",
        handle={"d": 1},
        state=KeyState.NEXT,
        since=number,
    )


EVENT = st.one_of(
    st.just(("announce", 0)),
    st.just(("promote", 0)),
    st.tuples(st.just("withdraw"), st.integers(0, 12)),
    st.tuples(st.just("expire"), st.integers(0, 3_000)),
)


@given(st.lists(EVENT, max_size=30))
def test_no_order_of_events_leaves_the_table(events: list[tuple[str, int]]) -> None:
    ring, gone = Ring(keys=()), set[str]()
    for now, (what, value) in enumerate(events):
        match what:
            case "announce":
                ring = key_ring.announced(ring, a_key(now))
            case "promote":
                ring = key_ring.promoted(ring, now=now, life_s=900)
            case "withdraw":
                gone |= {key.kid for key in ring.keys if key.kid == f"k{value}"}
                ring = key_ring.withdrawn(ring, f"k{value}")
            case _:
                ring = key_ring.expired(ring, now=now + value)
        assert key_ring.problems({"p": ring}) == []
        assert not gone & {key.kid for key in ring.keys}
        assert gone == set(ring.withdrawn)
        for key in ring.keys:
            assert (key.state is KeyState.RETIRED) == (key.handle == {}) == (key.until > 0)


MEMBERS = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "use", "alg", "d"])
ANYTHING = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=9)
    | st.sampled_from(["EC", "RSA", "P-256", "AQAB"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=9),
    max_leaves=12,
)


@given(ANYTHING)
def test_anything_in_place_of_a_key_is_refused_with_words(value: object) -> None:
    jwk = value if isinstance(value, dict) else {"kty": value}
    key = msgspec.structs.replace(a_key(1), jwk=jwk, state=KeyState.CURRENT)
    for purpose in PURPOSES:
        with pytest.raises(Misconfigured):
            sound({purpose.value: Ring(keys=(key,))})
        swapped = msgspec.structs.replace(key, handle={"jwk": value})
        with pytest.raises(Misconfigured):
            asyncio.run(FileKeySource().open(purpose, swapped))


@given(st.binary(max_size=200))
def test_any_bytes_in_place_of_the_rings_are_refused_with_words(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "keys"
        for name in (RING_FILE, "token-signing.json"):
            with PrivateDirectory(directory) as files, files.locked():
                files.write(name, raw)
            with pytest.raises(Misconfigured):
                asyncio.run(RingFiles(directory).read())
            (directory / name).unlink()
