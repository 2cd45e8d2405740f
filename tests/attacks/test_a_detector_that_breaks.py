"""A detector that can be made to fail must not keep runs from ending, nor silence the others."""

from __future__ import annotations

import pytest
from response_kit import Pointing, held_family

from midflight.testing import OPERATOR

pytestmark = pytest.mark.anyio


class Breaking(Pointing):
    def run_ended(self, run: str) -> None:
        raise KeyError(run)


class Hearing(Pointing):
    def __init__(self) -> None:
        super().__init__("hearing")
        self.ended: list[str] = []

    def run_ended(self, run: str) -> None:
        self.ended.append(run)


async def test_the_run_ends_and_the_others_hear_of_it() -> None:
    hearing = Hearing()
    plane = await held_family(detectors=[Breaking("breaking"), hearing])
    run = await plane.open()
    plane.detection.run_ended(run)
    assert hearing.ended == [run]
    await plane.runs.close_run(run, author=OPERATOR)
    await plane.close()
