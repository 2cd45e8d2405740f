"""What was found while a workload was only observed must not shield it once it is not any more.

Such a response stops nothing. One that is found again must, though it is as high as the first.
"""

from __future__ import annotations

import msgspec
import pytest
from response_kit import find, held, held_family

from midflight.domain.finding import Strength
from midflight.domain.identity import Mode
from midflight.domain.revocation import Scope, ScopeKind
from midflight.testing import WORKLOAD

pytestmark = pytest.mark.anyio


async def test_a_revocation_follows_the_same_finding_once_it_is_enforced() -> None:
    plane = await held_family()
    run = await plane.open()
    found = await plane.inventory.get(WORKLOAD)
    for mode in (Mode.OBSERVE, found.mode):
        await plane.store.put_workload(msgspec.structs.replace(found, mode=mode))
        await plane.inventory.refresh()
        find(plane, run, detector="canary", strength=Strength.STRONG)
        covered = plane.interruption.covering(((ScopeKind.RUN, run),))
        assert (covered is not None) is (mode is not Mode.OBSERVE)
    assert covered is not None
    assert covered.scope == Scope(kind=ScopeKind.RUN, id=run)
    assert [each.observed for each in held(plane)] == [False]
    await plane.close()
