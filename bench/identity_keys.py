"""Signing: a token from a key in a file, in a hardware module (SoftHSM), in a service (OpenBao).

The module is in this process and has no hardware behind it, the service runs beside it on loopback:
what is measured is what Midflight and the interfaces cost, not what a network or a chip adds.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import uvloop

from bench.report import Row, at_most, median, percentile
from midflight.adapters.clock import SystemClock
from midflight.adapters.keys.file_signer import FileKeySource
from midflight.adapters.keys.jws_mint import JwsMint
from midflight.adapters.keys.pkcs11_keys import Pkcs11KeySource
from midflight.adapters.keys.ring_files import MemoryRings, RingFiles
from midflight.adapters.keys.transit_keys import TransitKeySource
from midflight.domain.key_ring import MAX_RETIRED
from midflight.services.key_rings import KeyRings
from midflight.services.ports.key_rings import KeySource
from midflight.services.ports.keys import Purpose
from midflight.testing.words import OPERATOR

# Counterparts are started as the tests start them.
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "kit"))

ROUNDS = 5
HEADER = {"typ": "at+jwt"}
CLAIMS = {
    "iss": "https://gateway.example.org",
    "sub": "spiffe://example.org/agents/triage",
    "aud": "https://gateway.example.org/mcp",
    "client_id": "spiffe://example.org/agents/triage",
    "jti": "tok_" + "a" * 26,
    "iat": 1_800_000_000,
    "exp": 1_800_000_600,
    "txn": "run_" + "a" * 26,
    "cnf": {"jkt": "j" * 43},
}


class _Unrecorded:
    """Rings want a recorder; what a record costs is the ledger's benchmark."""

    available = True
    id = ""

    def append(self, record: object) -> _Unrecorded:
        del record
        return self

    async def durable(self) -> None:
        """At once."""


def rows() -> Sequence[Row]:
    """All of them; those of SoftHSM only where it is installed."""
    return uvloop.run(_rows())


async def _rows() -> Sequence[Row]:
    found: list[Row] = []
    async with _mint(FileKeySource(), Purpose.ACCESS_TOKEN) as mint:
        value = await _one_by_one(mint, 2_000)
        found.append(at_most("token, ES256, key in a file", value * 1e6, "µs", 1_000))
    async with _mint(FileKeySource(), Purpose.SET) as mint:
        value = await _one_by_one(mint, 200)
        found.append(Row("event, RS256, key in a file", value * 1e6, "µs"))
    with _module() as module:
        if module is not None:
            async with _mint(module, Purpose.ACCESS_TOKEN) as mint:
                value = await _one_by_one(mint, 2_000)
                found.append(at_most("token, ES256, SoftHSM", value * 1e6, "µs", 1_000))
                rate = await _together(mint, 200, 25)
                found.append(Row("token, ES256, SoftHSM, 200 at once", rate, "a second"))
    with _service() as service:
        async with _mint(service, Purpose.ACCESS_TOKEN) as mint:
            value = await _one_by_one(mint, 200)
            found.append(Row("token, ES256, OpenBao transit", value * 1e6, "µs"))
            rate = await _together(mint, 50, 10)
            found.append(Row("token, ES256, OpenBao transit, 50 at once", rate, "a second"))
    found += await _sweeping()
    return found


@contextlib.asynccontextmanager
async def _mint(source: KeySource, purpose: Purpose) -> AsyncIterator[JwsMint]:
    rings = KeyRings(
        store=MemoryRings(), sources={"x": source}, backends={purpose: "x"}, clock=SystemClock()
    )
    rings.want(purpose)
    await rings.start(_Unrecorded())
    try:
        yield JwsMint(rings, purpose)
    finally:
        await rings.close()


async def _one_by_one(mint: JwsMint, count: int) -> float:
    """Seconds a token, the median of rounds."""
    rounds: list[float] = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        for _ in range(count):
            await mint.mint(HEADER, CLAIMS)
        rounds.append((time.perf_counter() - before) / count)
    return median(rounds)


async def _together(mint: JwsMint, callers: int, each: int) -> float:
    """Tokens a second with so many callers, the median of rounds."""

    async def call() -> None:
        for _ in range(each):
            await mint.mint(HEADER, CLAIMS)

    rounds: list[float] = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(callers)))
        rounds.append(callers * each / (time.perf_counter() - before))
    return median(rounds)


async def _sweeping() -> Sequence[Row]:
    """What looking after the rings costs, and how long a rotation holds the loop."""
    with tempfile.TemporaryDirectory() as folder:
        rings = KeyRings(
            store=RingFiles(Path(folder) / "keys"),
            sources={"file": FileKeySource()},
            backends={},
            clock=SystemClock(),
        )
        for purpose in (Purpose.ACCESS_TOKEN, Purpose.JWT_SVID, Purpose.SET, Purpose.CLIENT):
            rings.want(purpose)
        await rings.start(_Unrecorded())
        took: list[float] = []
        for _ in range(100):
            before = time.perf_counter()
            await rings.sweep()
            took.append(time.perf_counter() - before)
        stalls: list[float] = []
        done = asyncio.Event()

        async def watch() -> None:
            while not done.is_set():
                before = time.perf_counter()
                await asyncio.sleep(0)
                stalls.append(time.perf_counter() - before)

        watching = asyncio.create_task(watch())
        for _ in range(MAX_RETIRED):
            await rings.rotate(Purpose.ACCESS_TOKEN, author=OPERATOR, at_once=True)
        done.set()
        await watching
        await rings.close()
    return [
        Row("sweep of four rings, nothing due", median(took) * 1e3, "ms"),
        at_most("rotation: longest stall of the loop", max(stalls) * 1e3, "ms", 50),
        Row("rotation: 99.9 % of turns", percentile(stalls, 99.9) * 1e3, "ms"),
    ]


@contextlib.contextmanager
def _module() -> Iterator[KeySource | None]:
    from softhsm_kit import installed, soft_token  # noqa: PLC0415 -- of the tests

    if not installed():
        yield None
        return
    token = soft_token()
    yield Pkcs11KeySource(module=token.module, token=token.label, pin=lambda: token.pin)


@contextlib.contextmanager
def _service() -> Iterator[KeySource]:
    from counterpart_kit import openbao  # noqa: PLC0415 -- of the tests

    with tempfile.TemporaryDirectory() as folder, openbao(Path(folder)) as server:
        server.call("POST", "sys/mounts/transit", {"type": "transit"})
        yield TransitKeySource(url=server.url, token=lambda: server.token)
