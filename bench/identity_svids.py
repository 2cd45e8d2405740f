"""SVIDs: what minting costs, and whether rotating all of them at once holds anything else up.

A real ledger on disk, a real authority in files, 1,000 registered workloads. The loop's lag is what
a task that asks for every millisecond is late; the gateway's hot path shares that loop.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import uvloop

from bench.report import Row, at_most, median, percentile
from midflight.adapters.authority.own import OwnRoot
from midflight.adapters.authority.rolling import RollingAuthority
from midflight.adapters.clock import SystemClock
from midflight.adapters.fabric.local import LocalFabric
from midflight.adapters.keys.es256 import Es256TokenSigner
from midflight.adapters.store.ledger_sqlite import SqliteLedgerStore
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.attestation import Entry, Selector
from midflight.domain.identity import Author, Workload
from midflight.domain.spiffe import TrustBundle
from midflight.services.bundles import TrustBundles
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.ledger import Ledger
from midflight.services.ports.clock import Clock
from midflight.services.svids import Svids
from midflight.wire import spiffe as documents

DOMAIN = "example.org"
WORKLOADS = 1_000
MINTS = 2_000
AUTHOR = Author(name="bench", proof="startup")


class Mint:
    """What SVIDs need: a ledger on disk, an authority in files, the rest in memory."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._store = MemoryStore()
        store_at = SqliteLedgerStore(folder / "ledger.sqlite3")
        self._ledger = Ledger(store_at, signer=None, clock=clock)
        self.inventory = Inventory(
            store=self._store, recorder=self._ledger, clock=clock, trust_domain=DOMAIN
        )
        self._interruption = Interruption(
            store=self._store, fabric=LocalFabric(), recorder=self._ledger, clock=clock
        )
        keys = folder / "keys"
        self._authority = RollingAuthority(keys, OwnRoot(keys, trust_domain=DOMAIN), clock=clock)
        signer = Es256TokenSigner.fresh(clock=clock)
        self.bundles = TrustBundles(
            trust_domain=DOMAIN,
            authority=self._authority,
            signer=signer,
            documents=documents,
            store=self._store,
            recorder=self._ledger,
            clock=clock,
            federated={},
        )
        self.svids = Svids(
            trust_domain_name=DOMAIN,
            authority=self._authority,
            signer=signer,
            documents=documents,
            bundles=self.bundles,
            inventory=self.inventory,
            interruption=self._interruption,
            recorder=self._ledger,
            clock=clock,
        )

    async def __aenter__(self) -> Self:
        await self._store.open()
        await self._ledger.start("bench", "v")
        await self._interruption.start()
        await self._authority.start()
        await self.bundles.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._authority.close()
        await self._ledger.close()
        await self._store.close()


async def measure(folder: Path) -> list[Row]:
    clock = SystemClock()
    async with Mint(folder, clock) as mint:
        entries = [await registered(mint.inventory, n, clock.now()) for n in range(WORKLOADS)]
        own = mint.bundles.bundle(DOMAIN)
        assert own is not None
        return [
            *await jwt_rows(mint.svids, entries),
            *await rotation_rows(mint.svids, entries),
            *await verify_rows(mint.svids, entries[0], own, clock.now()),
        ]


async def registered(inventory: Inventory, number: int, now: float) -> Entry:
    name = f"spiffe://{DOMAIN}/agents/a{number}"
    await inventory.register(
        Workload(id=name, owner="ann", escalation="bob", review_by=int(now) + 10**7), AUTHOR
    )
    selector = Selector(type="unix", value=f"uid:{number}")
    return Entry(id=f"entry_{number}", spiffe_id=name, selectors=frozenset({selector}))


async def jwt_rows(svids: Svids, entries: Sequence[Entry]) -> list[Row]:
    """CPU of one mint with its record, and what one caller alone waits for the disk besides."""
    waits: list[float] = []
    for number in range(300):
        began = time.perf_counter()
        await svids.jwt(entries[number], ["billing"], proof="bench")
        waits.append((time.perf_counter() - began) * 1e3)
    began = time.process_time()
    for batch in range(MINTS // 100):
        await asyncio.gather(
            *(
                svids.jwt(entries[(batch * 100 + n) % WORKLOADS], ["billing"], proof="bench")
                for n in range(100)
            )
        )
    cpu = (time.process_time() - began) / MINTS * 1e3
    return [
        at_most("mint a JWT-SVID, recorded (CPU)", cpu, "ms", 1.0),
        Row("mint a JWT-SVID, one caller, durable (p50)", median(waits), "ms"),
        Row("mint a JWT-SVID, one caller, durable (p99)", percentile(waits, 99), "ms"),
    ]


async def rotation_rows(svids: Svids, entries: Sequence[Entry]) -> list[Row]:
    """All workloads are due at the same moment."""
    lags: list[float] = []
    stop = asyncio.Event()

    async def watch() -> None:
        while not stop.is_set():
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            lags.append((time.perf_counter() - began - 0.001) * 1e3)

    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(0.05)
    began = time.perf_counter()
    made = await asyncio.gather(*(svids.x509(entry, proof="bench") for entry in entries))
    took = time.perf_counter() - began
    stop.set()
    await watching
    assert len({svid.serial for svid in made}) == len(entries)
    return [
        at_most(f"{len(entries)} X509-SVIDs at once: the loop's lag (max)", max(lags), "ms", 50.0),
        Row(f"{len(entries)} X509-SVIDs at once: the loop's lag (p99)", percentile(lags, 99), "ms"),
        Row(f"{len(entries)} X509-SVIDs at once: all done", took * 1e3, "ms"),
    ]


async def verify_rows(svids: Svids, entry: Entry, bundle: TrustBundle, now: float) -> list[Row]:
    svid = await svids.x509(entry, proof="bench")
    token = (await svids.jwt(entry, ["billing"], proof="bench")).token
    x509, jwt = [], []
    for _ in range(300):
        began = time.perf_counter()
        documents.verify_x509_svid(svid.chain, bundle=bundle, now=now)
        x509.append((time.perf_counter() - began) * 1e6)
        began = time.perf_counter()
        svids.validate_jwt(token, "billing")
        jwt.append((time.perf_counter() - began) * 1e6)
    return [
        Row("verify an X509-SVID chain", median(x509), "us"),
        Row("verify a JWT-SVID, standing and revocation", median(jwt), "us"),
    ]


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return uvloop.run(measure(Path(folder)))


__all__ = ["DOMAIN", "Mint", "registered", "rows"]
