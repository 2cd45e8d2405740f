"""A Workload API on a real socket, over real services, in a thread; and scripts for its clients.

Time is a clock that tests move: it starts at the machine's, since TLS goes by that.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from identity_kit import Recorder
from thread_kit import in_a_thread

from midflight.adapters.authority.own import OwnRoot
from midflight.adapters.authority.rolling import RollingAuthority
from midflight.adapters.fabric.local import LocalFabric
from midflight.adapters.keys.es256 import Es256TokenSigner
from midflight.adapters.keys.pairs import new_pair
from midflight.adapters.store.memory import MemoryStore
from midflight.apps.workload_api.front import Front
from midflight.apps.workload_api.server import WorkloadApi
from midflight.domain.attestation import Attested, Process, Selector
from midflight.domain.identity import Author, Workload
from midflight.domain.revocation import ScopeKind
from midflight.services.bundles import TrustBundles
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.registration import Registration
from midflight.services.svids import Svids
from midflight.testing import FakeClock
from midflight.wire import spiffe as documents

DOMAIN = "example.test"
OTHER_DOMAIN = "partner.test"
TRIAGE = "spiffe://example.test/agents/triage"
REPORTS = "spiffe://example.test/agents/reports"
AUTHOR = Author(name="alice", proof="peer-uid:1000")
T = TypeVar("T")


class Mint:
    """Everything that SVIDs need, in memory but for the authority's files."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: FakeClock | None = None,
        domain: str = DOMAIN,
        federated: dict[str, bytes | None] | None = None,
        store: MemoryStore | None = None,
        authority: Any = None,
        wit: bool = False,
        **lives: int,
    ) -> None:
        self.clock = clock or FakeClock(time.time())
        self.store = store or MemoryStore()
        self.recorder = Recorder()
        self.domain = domain
        self.inventory = Inventory(
            store=self.store, recorder=self.recorder, clock=self.clock, trust_domain=domain
        )
        self.interruption = Interruption(
            store=self.store, fabric=LocalFabric(), recorder=self.recorder, clock=self.clock
        )
        self.authority = authority or RollingAuthority(
            folder / "keys", OwnRoot(folder / "keys", trust_domain=domain), clock=self.clock
        )
        self.signer = Es256TokenSigner.fresh(clock=self.clock)
        self.wit_signer = Es256TokenSigner.fresh(clock=self.clock) if wit else None
        self.bundles = TrustBundles(
            trust_domain=domain,
            authority=self.authority,
            signer=self.signer,
            documents=documents,
            store=self.store,
            recorder=self.recorder,
            clock=self.clock,
            federated=federated or {},
            revoked=self._revoked,
            wit_signer=self.wit_signer,
        )
        self.svids = Svids(
            trust_domain_name=domain,
            authority=self.authority,
            signer=self.signer,
            documents=documents,
            bundles=self.bundles,
            inventory=self.inventory,
            interruption=self.interruption,
            recorder=self.recorder,
            clock=self.clock,
            wit_signer=self.wit_signer,
            new_pair=new_pair,
            **lives,
        )

    async def start(self) -> None:
        await self.store.open()
        await self.inventory.refresh()
        await self.interruption.start()
        await self.authority.start()
        await self.bundles.start()

    async def register(self, workload: str = TRIAGE, **fields: Any) -> Workload:
        values: dict[str, Any] = {
            "id": workload,
            "owner": "alice",
            "escalation": "oncall",
            "review_by": int(self.clock.now()) + 30 * 86_400,
            **fields,
        }
        return await self.inventory.register(Workload(**values), AUTHOR)

    def _revoked(self, name: str) -> bool:
        return self.interruption.covering(((ScopeKind.TRUST_DOMAIN, name),)) is not None

    def issued(self) -> list[Any]:
        return [record for record in self.recorder.records if type(record).__name__ == "Issued"]


class ServedApi:
    """A Workload API that is served at `socket`."""

    def __init__(self, mint: Mint, socket: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.mint = mint
        self.socket = socket
        self.address = f"unix://{socket}"
        self.refused: list[tuple[str, str]] = []
        self._loop = loop
        self.api: WorkloadApi
        self.front: Front[Process]

    def do(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run something on the server's loop and wait for it."""

        async def run() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def tell(self) -> None:
        """Wake the streams, as the plane does every few seconds."""

        async def told() -> None:
            self.api.changes.tell()

        self.do(told)


class ByUid:
    """Attests by the user alone, as the kernel names it; the entries are the product's own."""

    def __init__(self, registration: Registration) -> None:
        self.entries = registration.entries_for
        self.on_changed = registration.on_changed

    async def attest(self, process: Process, *, by: str | None = None) -> Attested:
        del by
        uid = Selector(type="unix", value=f"uid:{process.uid}")
        return Attested(selectors=frozenset({uid}), process=process.start, uid=process.uid)


@contextlib.contextmanager
def served(folder: Path, *, federates_with: Sequence[str] = (), **mint: Any) -> Iterator[ServedApi]:
    """Serve it in a thread of its own."""
    # Reachable for other users, as the tests' own folders are not.
    public = Path(tempfile.mkdtemp(prefix="mf-pub-"))
    public.chmod(0o755)

    @contextlib.asynccontextmanager
    async def serve(loop: asyncio.AbstractEventLoop) -> AsyncIterator[ServedApi]:
        one = ServedApi(Mint(folder, **mint), public / "w.sock", loop)
        await one.mint.start()
        registration = Registration(
            store=one.mint.store,
            recorder=one.mint.recorder,
            clock=one.mint.clock,
            inventory=one.mint.inventory,
            interruption=one.mint.interruption,
            federates_with=federates_with,
        )
        await registration.start()
        one.api = WorkloadApi(
            trust_domain=one.mint.domain,
            attestation=ByUid(registration),
            svids=one.mint.svids,
            bundles=one.mint.bundles,
            clock=one.mint.clock,
            refused=lambda why, who: one.refused.append((why, who)),
            wit=one.mint.wit_signer is not None,
        )
        one.mint.bundles.on_changed(one.api.changes.tell)
        one.mint.interruption.on_revoked(lambda _: one.api.changes.tell())
        async with one.api.serving(one.socket) as one.front:
            yield one

    try:
        with in_a_thread(serve, name="workload-api") as one:
            yield one
    finally:
        shutil.rmtree(public, ignore_errors=True)


__all__ = [
    "AUTHOR",
    "DOMAIN",
    "OTHER_DOMAIN",
    "REPORTS",
    "TRIAGE",
    "ByUid",
    "Mint",
    "ServedApi",
    "served",
]
