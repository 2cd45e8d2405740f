"""Attestation put together: attestors by the settings, registration, join tokens, launches."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from midflight.adapters.attestation.docker import DockerAttestor
from midflight.adapters.attestation.file_digests import FileDigests
from midflight.adapters.attestation.k8s import K8sAttestor
from midflight.adapters.attestation.local_http import over_socket, over_tcp
from midflight.adapters.attestation.processes import LocalProcesses
from midflight.adapters.attestation.systemd import SystemdAttestor
from midflight.adapters.attestation.unix import UnixAttestor
from midflight.adapters.attestation.x509pop import X509Possession
from midflight.apps.settings_attestation import AttestationSettings, K8s
from midflight.domain.attestation import Attested, Entry, Process
from midflight.services.attestation import Attestation
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.join_tokens import JoinTokens
from midflight.services.joining import Joining
from midflight.services.launches import Launches
from midflight.services.ports.attestation import Attestor
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.ports.svid_mint import SvidMint
from midflight.services.registration import Registration
from midflight.services.runs import Runs
from midflight.services.sealing import Sealer


class Attesting:
    """The services of attestation, wired."""

    def __init__(
        self,
        settings: AttestationSettings,
        *,
        store: Store,
        recorder: Recorder,
        clock: Clock,
        inventory: Inventory,
        interruption: Interruption,
        runs: Runs,
        sealer: Sealer,
        audience: str,
        aside: Callable[[Coroutine[Any, Any, None]], None],
        mint: SvidMint | None = None,
        federates_with: Sequence[str] = (),
    ) -> None:
        """Nothing is started; `start` reads what is stored. `mint` makes SVIDs, if any.

        `federates_with` are the trust domains whose bundles workloads get without an entry of
        an operator that names them.
        """
        self.processes = processes = LocalProcesses()
        self.registration = Registration(
            store=store,
            recorder=recorder,
            clock=clock,
            inventory=inventory,
            interruption=interruption,
            federates_with=federates_with,
        )
        self.join_tokens = JoinTokens(
            store=store, recorder=recorder, clock=clock, inventory=inventory
        )
        self.launches = Launches(
            store=store,
            recorder=recorder,
            clock=clock,
            runs=runs,
            inventory=inventory,
            interruption=interruption,
            registration=self.registration,
            processes=processes,
            aside=aside,
        )
        self.attestation = Attestation(
            attestors=[*_attestors(settings), self.launches],
            processes=processes,
            timeout_s=float(settings.timeout),
        )

        pop = settings.x509pop
        self.joining = Joining(
            tokens=self.join_tokens,
            registration=self.registration,
            store=store,
            sealer=sealer,
            clock=clock,
            audience=audience,
            possession=None if pop is None else X509Possession(pop.ca),
            mint=mint,
        )

    async def start(self) -> None:
        """Read entries and launches."""
        await self.joining.start()
        await self.registration.start()
        await self.launches.start()

    # What the Workload API asks

    async def attest(self, process: Process) -> Attested:
        """What is established about a process that connected. `Unauthenticated` if nothing is."""
        return await self.attestation.attest(process)

    def entries(self, attested: Attested) -> Sequence[Entry]:
        """The entries in force that match, those of a run first. No I/O."""
        return self.registration.entries_for(attested)

    def on_changed(self, listener: Callable[[], None]) -> None:
        """Call `listener()` when `entries` may answer otherwise."""
        self.registration.on_changed(listener)

    async def run_ended(self, run: str) -> None:
        """End what was the run's."""
        await self.registration.run_ended(run)
        await self.launches.run_ended(run)

    async def sweep(self) -> None:
        """End what is over."""
        await self.registration.sweep()
        await self.launches.sweep()


def _attestors(settings: AttestationSettings) -> list[Attestor]:
    found: list[Attestor] = [
        UnixAttestor(FileDigests(settings.hash_limit)),
        SystemdAttestor(),
    ]
    if settings.docker is not None:
        connect = over_socket(str(settings.docker.socket))
        found.append(DockerAttestor(connect, env=settings.docker.env))
    if settings.k8s is not None:
        found.append(_k8s(settings.k8s))
    return found


def _k8s(settings: K8s) -> Attestor:
    tls = ssl.create_default_context(cafile=str(settings.ca)) if settings.ca is not None else None
    return K8sAttestor(
        over_tcp(settings.host, settings.port, tls=tls), token_file=settings.token_file
    )


__all__ = ["Attesting"]
