"""A transmitter always has one more SET, so that its receiver does nothing else any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from midflight.domain.security_event import SetError, SetRefused
from midflight.services.ssf_poller import MAX_ROUNDS, Poller
from midflight.services.ssf_receiving import Receiving, Taken

pytestmark = pytest.mark.anyio


class Endless:
    """Hands out another SET with every poll; `limit` ends a receiver that would go on for ever."""

    def __init__(self, *, limit: int) -> None:
        self.polls = 0
        self.limit = limit
        self.acked: list[str] = []
        self.refused: list[str] = []

    async def poll(
        self, *, acks: Sequence[str], errors: Mapping[str, SetRefused]
    ) -> tuple[Mapping[str, str], bool]:
        self.polls += 1
        assert self.polls <= self.limit, "it would be polled for ever"
        self.acked += acks
        self.refused += errors
        return {f"j{self.polls}": "text"}, True


class Taking:
    """Takes every SET, or refuses each."""

    def __init__(self, *, refuses: bool) -> None:
        self.refuses = refuses

    async def take(self, name: str, text: str, *, jti: str) -> Taken:
        del name, text
        if self.refuses:
            raise SetRefused(SetError.INVALID_REQUEST, "This is no SET.")
        return Taken(jti=jti, outcome="noted")


@pytest.mark.parametrize("refuses", [False, True])
async def test_there_is_a_pause_after_so_many_polls(*, refuses: bool) -> None:
    endless = Endless(limit=MAX_ROUNDS + 1)
    receiving = cast("Receiving", Taking(refuses=refuses))
    poller = Poller(receiving=receiving, sources={"idp": (endless, 1.0)})
    taken = await poller.once("idp", endless)
    assert taken == (0 if refuses else MAX_ROUNDS)
    # All that was taken is acknowledged, and what the last poll brought is not.
    told = endless.refused if refuses else endless.acked
    assert told == [f"j{number}" for number in range(1, MAX_ROUNDS + 1)]
