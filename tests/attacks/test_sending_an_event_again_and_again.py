"""A transmitter repeats one event while it cannot be written down: it counts once all the same.

A push that is answered with 503 comes again, as often as its sender pleases. Each time would be a
revocation more to lift, or a finding more, and two findings add up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from set_kit import CAEP, Listening, claims_of, listening, set_of

from gateways import AGENT, OPERATOR
from midflight.domain.errors import StoreUnavailable
from midflight.domain.records import Found, Revoked

pytestmark = pytest.mark.anyio

RISK = CAEP + "risk-level-change"
MEDIUM = {"principal": "USER", "current_level": "MEDIUM"}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(tmp_path) as running:
        yield running


class Failing:
    """A step of the store that fails so many times."""

    def __init__(self, here: Listening, step: str, times: int) -> None:
        self._inner = getattr(here.plane.parts.store, step)
        self.left = times
        setattr(here.plane.parts.store, step, self)

    async def __call__(self, *args: Any, **named: Any) -> Any:
        if self.left:
            self.left -= 1
            raise StoreUnavailable("The disk is full.")
        return await self._inner(*args, **named)


@pytest.mark.parametrize("step", ["append_revocation", "finish_ssf_set"])
async def test_an_event_that_could_not_be_written_down_revokes_once(
    here: Listening, step: str
) -> None:
    Failing(here, step, 3)
    text = set_of()
    assert [(await here.push(text)).status_code for _ in range(5)] == [503, 503, 503, 202, 202]
    (only,) = here.plane.interruption.listing()
    stored = await here.plane.parts.store.revocations()
    assert [each.revocation for each in stored] == [only]
    assert len(await here.records(Revoked)) == 1


async def test_an_event_that_could_not_be_written_down_is_found_once(here: Listening) -> None:
    Failing(here, "finish_ssf_set", 3)
    text = set_of(claims_of(RISK, MEDIUM))
    assert [(await here.push(text)).status_code for _ in range(4)] == [503, 503, 503, 202]
    assert len(await here.records(Found)) == 1
    assert (await here.push(set_of(claims_of(RISK, MEDIUM)))).status_code == 202
    ids = [each.finding.id for each in await here.records(Found)]
    assert len(set(ids)) == 2  # another event is another finding


async def test_what_a_person_lifted_is_not_revoked_by_the_next_try(here: Listening) -> None:
    Failing(here, "finish_ssf_set", 1)
    text = set_of()
    assert (await here.push(text)).status_code == 503
    (only,) = here.plane.interruption.listing()
    await here.plane.interruption.lift(only.id, reason="a mistake", author=OPERATOR)
    assert (await here.push(text)).status_code == 202
    assert here.revoked() == []


async def test_another_event_of_the_same_name_is_another_one(here: Listening) -> None:
    """The id that an event gives its revocation is of its issuer's `jti`, and of whom it names."""
    first = claims_of()
    assert (await here.push(set_of(first))).status_code == 202
    (one,) = here.plane.interruption.listing()
    await here.plane.interruption.lift(one.id, reason="a mistake", author=OPERATOR)
    assert (await here.push(set_of(claims_of()))).status_code == 202
    (two,) = here.plane.interruption.listing()
    assert one.id != two.id
    assert {str(one.scope), str(two.scope)} == {f"workload {AGENT}"}
