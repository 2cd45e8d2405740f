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
from midflight.services.svids import Svids
from midflight.wire import spiffe as documents

DOMAIN = "example.org"
WORKLOADS = 1_000
MINTS = 2_000
AUTHOR = Author(name="bench", proof="startup")


async def measure(folder: Path) -> list[Row]:
    clock, store = SystemClock(), MemoryStore()
    ledger = Ledger(SqliteLedgerStore(folder / "ledger.sqlite3"), signer=None, clock=clock)
    await store.open()
    await ledger.start("bench", "v")
    inventory = Inventory(store=store, recorder=ledger, clock=clock, trust_domain=DOMAIN)
    interruption = Interruption(store=store, fabric=LocalFabric(), recorder=ledger, clock=clock)
    await interruption.start()
    keys = folder / "keys"
    authority = RollingAuthority(keys, OwnRoot(keys, trust_domain=DOMAIN), clock=clock)
    await authority.start()
    signer = Es256TokenSigner.fresh(clock=clock)
    bundles = TrustBundles(
        trust_domain=DOMAIN,
        authority=authority,
        signer=signer,
        documents=documents,
        store=store,
        recorder=ledger,
        clock=clock,
        federated={},
    )
    await bundles.start()
    svids = Svids(
        trust_domain_name=DOMAIN,
        authority=authority,
        signer=signer,
        documents=documents,
        bundles=bundles,
        inventory=inventory,
        interruption=interruption,
        recorder=ledger,
        clock=clock,
    )
    entries = [await registered(inventory, number, clock.now()) for number in range(WORKLOADS)]
    try:
        own = bundles.bundle(DOMAIN)
        assert own is not None
        return [
            *await jwt_rows(svids, entries),
            *await rotation_rows(svids, entries),
            *await verify_rows(svids, entries[0], own, clock.now()),
        ]
    finally:
        authority.close()
        await ledger.close()
        await store.close()


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


__all__ = ["rows"]
