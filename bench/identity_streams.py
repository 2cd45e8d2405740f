"""Streams of the Workload API: what 1,000 open ones cost the loop that the hot path shares.

A real socket, real gRPC streams of a client in another process, a real authority and ledger. Who
connects is made up: each stream is given an identity of its own, as 1,000 workloads would have.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop

from bench.identity_svids import DOMAIN, Mint, registered
from bench.report import Row, at_most, percentile
from midflight.adapters.clock import SystemClock
from midflight.apps.gateway.main import GC_THRESHOLDS
from midflight.apps.workload_api.server import WorkloadApi
from midflight.domain.attestation import Attested, Entry, Process

STREAMS = 1_000
WAKES = 20
HALF_LIFE_S = 1_900

CLIENT = """
import asyncio, sys
import grpc.aio
from midflight.apps.workload_api.descriptors import messages
made = messages()
async def read(channel):
    call = channel.unary_stream(
        "/SpiffeWorkloadAPI/FetchX509SVID",
        request_serializer=made["X509SVIDRequest"].SerializeToString,
        response_deserializer=made["X509SVIDResponse"].FromString)
    async for _ in call(made["X509SVIDRequest"](), metadata=(("workload.spiffe.io", "true"),)):
        print(flush=True)
async def main():
    local = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(sys.argv[1], options=local) for _ in range(50)]
    await asyncio.gather(*(read(channels[n % 50]) for n in range(int(sys.argv[2]))))
asyncio.run(main())
"""


class Shifted(SystemClock):
    """A clock that can be put forward."""

    __slots__ = ("shift",)

    def __init__(self) -> None:
        super().__init__()
        self.shift = 0.0

    def now(self) -> float:
        return super().now() + self.shift


class MadeUp:
    """Gives each stream an identity of its own; its process stands for the next one."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = {next(iter(entry.selectors)): entry for entry in entries}
        self._waiting = list(self._entries)

    async def attest(self, process: Process) -> Attested:
        selector = self._waiting.pop(0)
        self._waiting.append(selector)
        return Attested(selectors=frozenset({selector}), process=process.start, uid=process.uid)

    def entries(self, attested: Attested) -> Sequence[Entry]:
        return [self._entries[selector] for selector in attested.selectors]

    def on_changed(self, listener: Callable[[], None]) -> None:
        del listener


class Lags:
    """What a task that asks for every millisecond is late, in ms."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self._task = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            self.seen.append((time.perf_counter() - began - 0.001) * 1e3)

    async def of(self, work: Callable[[], object], until: Callable[[], bool]) -> list[float]:
        """Those while `work` is done and until something holds."""
        first = len(self.seen)
        work()
        while not until():
            await asyncio.sleep(0.005)
        return self.seen[first:]

    def stop(self) -> None:
        self._task.cancel()


async def measure(folder: Path) -> list[Row]:
    clock = Shifted()
    gc.set_threshold(*GC_THRESHOLDS)  # as the gateway does
    async with Mint(folder, clock) as mint:
        entries = [await registered(mint.inventory, n, clock.now()) for n in range(STREAMS)]
        api = WorkloadApi(
            trust_domain=DOMAIN,
            attestation=MadeUp(entries),
            svids=mint.svids,
            bundles=mint.bundles,
            clock=clock,
        )
        async with api.serving(folder / "w.sock"):
            return await _rows(api, clock, str(folder / "w.sock"))


async def _rows(api: WorkloadApi, clock: Shifted, path: str) -> list[Row]:
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CLIENT, f"unix:{path}", str(STREAMS)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert client.stdout is not None
    answers = 0

    async def count(reader: asyncio.StreamReader) -> None:
        nonlocal answers
        while await reader.readline():
            answers += 1

    counting = asyncio.ensure_future(count(client.stdout))
    lags = Lags()
    try:
        await lags.of(lambda: None, lambda: answers >= STREAMS)
        await asyncio.sleep(0.5)
        first = len(lags.seen)
        for _ in range(WAKES):
            api.changes.tell()
            await asyncio.sleep(0.1)
        idle = lags.seen[first:]
        clock.shift += HALF_LIFE_S
        began = time.perf_counter()
        rotated = await lags.of(api.changes.tell, lambda: answers >= 2 * STREAMS)
        took = time.perf_counter() - began
    finally:
        lags.stop()
        client.kill()
        await client.wait()
        counting.cancel()
    name = f"{STREAMS:,} streams of X509-SVIDs"
    return [
        at_most(f"{name}, woken for nothing: the loop's lag (max)", max(idle), "ms", 50.0),
        at_most(f"{name}, all rotated: the loop's lag (max)", max(rotated), "ms", 50.0),
        Row(f"{name}, all rotated: the loop's lag (p99)", percentile(rotated, 99), "ms"),
        Row(f"{name}, all rotated: all done", took * 1e3, "ms"),
    ]


def rows() -> list[Row]:
    # A socket's directory belongs to us alone or is no one else's to write.
    with tempfile.TemporaryDirectory() as folder:
        return uvloop.run(measure(Path(folder)))


__all__ = ["rows"]
