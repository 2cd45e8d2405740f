"""A user whose processes ask for identities without end, each costing as much as it can be made to.

Attestors run in the threads that everything of the plane shares, key rings among it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest

from midflight.domain.attestation import Process, Selector
from midflight.services.attestation import AT_ONCE, Attestation

pytestmark = pytest.mark.anyio

GREEDY, HONEST = 1_001, 1_002
MANY = 200


class Held:
    """A process that is there, as what it says it is."""

    def __init__(self, pid: int) -> None:
        self.start = f"{pid}@1"
        self._uid = GREEDY if pid >= 1_000 else HONEST

    def uid(self) -> int:
        return self._uid

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing is held."""


class SlowForOne:
    """Reads for ever what the greedy one made large, in a thread as the real ones do."""

    type = "unix"

    def __init__(self) -> None:
        self.go = threading.Event()
        self.busy = 0

    async def attest(self, process: Process) -> Sequence[Selector]:
        return await asyncio.to_thread(self._facts, process)

    def _facts(self, process: Process) -> Sequence[Selector]:
        if process.uid == GREEDY:
            self.busy += 1
            self.go.wait(30)
        return [Selector(type="unix", value=f"uid:{process.uid}")]


class Processes:
    boot = "x"

    def hold(self, pid: int) -> Held:
        return Held(pid)


def process(pid: int) -> Process:
    return Process(pid=pid, uid=Held(pid).uid(), gid=0, start=f"{pid}@1")


async def test_one_users_flood_leaves_the_others_their_identities_and_the_plane_its_threads() -> (
    None
):
    slow = SlowForOne()
    attestation = Attestation(attestors=[slow], processes=cast("Any", Processes()), timeout_s=20)
    flood = [
        asyncio.ensure_future(attestation.attest(process(1_000 + number))) for number in range(MANY)
    ]
    try:
        async with asyncio.timeout(10):
            found = await attestation.attest(process(1))
            assert [str(one) for one in found.selectors] == [f"unix:uid:{HONEST}"]
            assert await asyncio.to_thread(lambda: "free") == "free"
        assert slow.busy == AT_ONCE
    finally:
        slow.go.set()
    assert len(await asyncio.gather(*flood)) == MANY  # each has its turn


async def test_a_broker_that_floods_for_a_workload_keeps_it_waiting_for_nothing() -> None:
    """Who asks is somebody else than the user who would have to wait."""
    slow = SlowForOne()
    attestation = Attestation(attestors=[slow], processes=cast("Any", Processes()), timeout_s=20)
    flood = [
        asyncio.ensure_future(attestation.attest(process(1_000 + number), by="proxy"))
        for number in range(MANY)
    ]
    own = asyncio.ensure_future(attestation.attest(process(1_000 + MANY)))
    try:
        async with asyncio.timeout(10):
            while slow.busy < AT_ONCE + 1:
                await asyncio.to_thread(lambda: None)
        assert slow.busy == AT_ONCE + 1
    finally:
        slow.go.set()
    assert (await own).uid == GREEDY
    assert len(await asyncio.gather(*flood)) == MANY


async def test_a_caller_that_gives_up_keeps_nobody_waiting() -> None:
    slow = SlowForOne()
    attestation = Attestation(attestors=[slow], processes=cast("Any", Processes()), timeout_s=20)
    first, *others = (
        asyncio.ensure_future(attestation.attest(process(1_000 + number)))
        for number in range(AT_ONCE + 1)
    )
    await asyncio.to_thread(lambda: None)
    first.cancel()
    slow.go.set()
    async with asyncio.timeout(10):
        assert {one.uid for one in await asyncio.gather(*others)} == {GREEDY}
