"""A stolen operator token that rotates or withdraws keys for ever: until no key can be withdrawn.

Real files and a real lock; what a start reads again is asked of a second process's rings.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from identity_kit import AUTHOR, Recorder

from midflight.adapters.keys.file_signer import FileKeySource
from midflight.adapters.keys.private_files import MAX_FILE_BYTES, PrivateDirectory
from midflight.adapters.keys.ring_files import RING_FILE, RingFiles
from midflight.domain.errors import Conflict, Misconfigured
from midflight.domain.key_ring import MAX_RETIRED, MAX_WITHDRAWN
from midflight.services.key_rings import KeyRings
from midflight.services.ports.keys import Purpose
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio

Made = Callable[[], KeyRings]
KIND = Purpose.ACCESS_TOKEN


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(time.time())


@pytest.fixture
def made(tmp_path: Path, clock: FakeClock) -> Made:
    def rings() -> KeyRings:
        found = KeyRings(
            store=RingFiles(tmp_path / "keys"),
            sources={"file": FileKeySource()},
            backends={},
            clock=clock,
        )
        found.want(KIND)
        return found

    return rings


async def test_rotating_for_ever_ends_before_the_rings_do(made: Made, clock: FakeClock) -> None:
    rings = made()
    await rings.start(Recorder())
    for _ in range(MAX_RETIRED):
        await rings.rotate(KIND, author=AUTHOR, at_once=True)
    with pytest.raises(Conflict, match="verify beside"):
        await rings.rotate(KIND, author=AUTHOR, at_once=True)
    assert len(rings.jwks(KIND)["keys"]) == MAX_RETIRED + 1
    # What an emergency needs is not in the way of it, and all of it is there after a restart.
    current = next(key.kid for key in rings.list())
    again = made()
    await again.start(Recorder())
    assert (await again.withdraw(current, author=AUTHOR)).signs != current
    clock.advance(KIND.life_s + 61)
    assert await again.rotate(KIND, author=AUTHOR, at_once=True)


async def test_withdrawing_for_ever_fills_nothing(made: Made, tmp_path: Path) -> None:
    rings = made()
    await rings.start(Recorder())
    for _ in range(MAX_WITHDRAWN + 20):
        await rings.withdraw(rings.list()[0].kid, author=AUTHOR)
    assert (tmp_path / "keys" / RING_FILE).stat().st_size < MAX_FILE_BYTES / 6
    await made().start(Recorder())


def test_a_file_is_never_written_that_would_not_be_read(tmp_path: Path) -> None:
    with PrivateDirectory(tmp_path / "keys") as files, files.locked():
        files.write("a", b"kept")
        with pytest.raises(Misconfigured, match="would be larger"):
            files.write("a", b"x" * (MAX_FILE_BYTES + 1))
        assert files.read("a") == b"kept"
