"""An operator who puts somebody else's name under what only the owner may sign."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_kit import OPERATOR, RunningPlane, running_plane

from midflight.domain.errors import Forbidden


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[RunningPlane]:
    with running_plane(tmp_path) as running:
        yield running


def waiver(owner: str) -> dict[str, Any]:
    until = int(time.time()) + 3_600
    return {"tier": "mandatory", "mode": "observe", "waiver_by": owner, "waiver_until": until}


def test_a_waiver_is_signed_by_who_answers_for_the_owner(plane: RunningPlane) -> None:
    plane.register(owner="ann")
    with pytest.raises(Forbidden, match="does not answer for the owner ann"):
        plane.register(owner="ann", **waiver("ann"))
    plane.register(owner=OPERATOR, **waiver(OPERATOR))
