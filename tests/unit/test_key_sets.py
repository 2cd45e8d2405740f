"""Key sets of other issuers: how long they are believed, and how often they are fetched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from midflight.domain.errors import NoDocument
from midflight.services.key_sets import (
    DEFAULT_FRESH_S,
    MAX_FRESH_S,
    REFETCH_S,
    RETRY_S,
    STALE_S,
    KeySets,
    KeySource,
)
from midflight.services.ports.documents import Document
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio

ISSUER = "https://ci.example.test"
JWKS = ISSUER + "/keys"
SET: dict[str, Any] = {"keys": [{"kid": "a"}]}


class Shelf:
    """Documents from a table; what is fetched is written down."""

    def __init__(self, **documents: Any) -> None:
        self.documents: dict[str, Any] = {JWKS: Document(value=SET), **documents}
        self.fetched: list[str] = []
        self.gate: asyncio.Event | None = None
        self.private: list[bool] = []

    async def fetch(self, url: str, *, limit: int = 0, allow_private: bool = False) -> Document:
        self.fetched.append(url)
        self.private.append(allow_private)
        if self.gate is not None:
            await self.gate.wait()
        found = self.documents.get(url)
        if not isinstance(found, Document):
            raise NoDocument("It could not be fetched.", reason="is away")
        return found


def made(shelf: Shelf) -> tuple[KeySets, FakeClock]:
    clock = FakeClock(1_800_000_000)
    return KeySets(documents=shelf, clock=clock), clock


SOURCE = KeySource(issuer=ISSUER, jwks_uri=JWKS)


async def test_a_set_is_fetched_once_and_then_kept_for_five_minutes() -> None:
    shelf = Shelf()
    sets, clock = made(shelf)
    for _ in range(3):
        assert await sets.jwks(SOURCE, kid="a") == SET
    clock.advance(DEFAULT_FRESH_S - 1)
    await sets.jwks(SOURCE, kid="a")
    assert len(shelf.fetched) == 1
    clock.advance(2)
    await sets.jwks(SOURCE, kid="a")
    assert len(shelf.fetched) == 2


@pytest.mark.parametrize(("said", "kept"), [(0, 30), (1, 30), (90, 90), (10**8, MAX_FRESH_S)])
async def test_what_the_issuer_says_counts_within_bounds(said: int, kept: int) -> None:
    shelf = Shelf(**{JWKS: Document(value=SET, max_age_s=said)})
    sets, clock = made(shelf)
    await sets.jwks(SOURCE, kid="a")
    clock.advance(kept - 1)
    await sets.jwks(SOURCE, kid="a")
    assert len(shelf.fetched) == 1
    clock.advance(1)
    await sets.jwks(SOURCE, kid="a")
    assert len(shelf.fetched) == 2


async def test_a_new_key_is_found_and_made_up_names_cause_one_fetch_in_half_a_minute() -> None:
    shelf = Shelf()
    sets, clock = made(shelf)
    await sets.jwks(SOURCE, kid="a")
    for name in range(100):
        await sets.jwks(SOURCE, kid=f"made-up-{name}")
    assert len(shelf.fetched) == 1
    clock.advance(REFETCH_S)
    both = {"keys": [{"kid": "a"}, {"kid": "b"}]}
    shelf.documents[JWKS] = Document(value=both)
    assert await sets.jwks(SOURCE, kid="b") == both
    for name in range(100):
        await sets.jwks(SOURCE, kid=f"made-up-{name}")
    assert len(shelf.fetched) == 2


async def test_many_who_wait_cause_one_fetch() -> None:
    shelf = Shelf()
    shelf.gate = asyncio.Event()
    sets, _ = made(shelf)
    waiting = [asyncio.create_task(sets.jwks(SOURCE, kid="a")) for _ in range(20)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # who began it goes away; the others are served all the same
    await asyncio.sleep(0)
    shelf.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(one == SET for one in found) == 19
    assert len(shelf.fetched) == 1


async def test_an_issuer_that_is_away_is_believed_for_a_bounded_while_and_then_not() -> None:
    shelf = Shelf()
    sets, clock = made(shelf)
    await sets.jwks(SOURCE, kid="a")
    shelf.documents.clear()
    clock.advance(DEFAULT_FRESH_S + STALE_S - 1)
    assert await sets.jwks(SOURCE, kid="a") == SET
    tries = len(shelf.fetched)
    assert await sets.jwks(SOURCE, kid="a") == SET
    assert len(shelf.fetched) == tries, "a moment later it is not tried again"
    clock.advance(RETRY_S + 1)
    with pytest.raises(NoDocument):
        await sets.jwks(SOURCE, kid="a")
    with pytest.raises(NoDocument):
        await sets.jwks(SOURCE, kid="a")
    assert len(shelf.fetched) == tries + 1


async def test_an_issuer_that_was_never_reached_is_not_believed() -> None:
    shelf = Shelf(**{JWKS: None})
    sets, clock = made(shelf)
    for _ in range(5):
        with pytest.raises(NoDocument) as caught:
            await sets.jwks(SOURCE, kid="a")
    assert ISSUER in caught.value.message
    assert len(shelf.fetched) == 1
    shelf.documents[JWKS] = Document(value=SET)
    clock.advance(RETRY_S)
    assert await sets.jwks(SOURCE, kid="a") == SET


async def test_an_empty_set_is_a_set_which_verifies_nothing() -> None:
    shelf = Shelf(**{JWKS: Document(value={"keys": []})})
    sets, _ = made(shelf)
    assert await sets.jwks(SOURCE, kid="a") == {"keys": []}


@pytest.mark.parametrize("value", [{}, {"keys": None}, {"keys": {}}, {"keys": "a"}])
async def test_what_is_no_set_is_none(value: Any) -> None:
    sets, _ = made(Shelf(**{JWKS: Document(value=value)}))
    with pytest.raises(NoDocument):
        await sets.jwks(SOURCE, kid="a")


def _metadata(**changes: Any) -> Shelf:
    where = ISSUER + "/.well-known/openid-configuration"
    value = {"issuer": ISSUER, "jwks_uri": JWKS, **changes}
    return Shelf(**{where: Document(value=value)})


async def test_keys_are_where_the_metadata_says() -> None:
    shelf = _metadata()
    sets, _ = made(shelf)
    assert await sets.jwks(KeySource(issuer=ISSUER), kid="a") == SET
    assert shelf.fetched == [ISSUER + "/.well-known/openid-configuration", JWKS]
    assert shelf.private == [False, False]


@pytest.mark.parametrize(
    "name", ["https://evil.example.test", ISSUER + "/", ISSUER.upper(), None, [ISSUER], ""]
)
async def test_a_discovery_document_of_another_issuer_is_refused(name: Any) -> None:
    shelf = _metadata(issuer=name)
    sets, _ = made(shelf)
    with pytest.raises(NoDocument) as caught:
        await sets.jwks(KeySource(issuer=ISSUER), kid="a")
    assert JWKS not in shelf.fetched
    assert caught.value.reason == "is of another issuer"


@pytest.mark.parametrize("uri", [None, 1, ["x"]])
async def test_metadata_that_names_no_keys_is_refused(uri: Any) -> None:
    sets, _ = made(_metadata(jwks_uri=uri))
    with pytest.raises(NoDocument):
        await sets.jwks(KeySource(issuer=ISSUER), kid="a")


async def test_a_fixed_set_is_never_fetched_and_a_forgotten_one_is_again() -> None:
    shelf = Shelf()
    sets, _ = made(shelf)
    assert await sets.jwks(KeySource(issuer=ISSUER, fixed={"keys": []}), kid="a") == {"keys": []}
    assert shelf.fetched == []
    await sets.jwks(SOURCE, kid="a")
    sets.forget(ISSUER)
    await sets.jwks(SOURCE, kid="a")
    assert len(shelf.fetched) == 2
