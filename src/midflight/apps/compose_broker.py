"""Wiring of the broker: a part of `compose.py`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from midflight.adapters.credentials.decoy import DecoyBackend
from midflight.adapters.credentials.oauth import SubjectToken
from midflight.adapters.credentials.postgres import PostgresBackend
from midflight.adapters.credentials.references import References
from midflight.adapters.credentials.sealed import SealedBackend
from midflight.apps.compose_backends import backend_makers
from midflight.domain.lease import DECOY
from midflight.services.broker import Broker
from midflight.services.catalogue import Catalogue
from midflight.services.catalogue_lending import CatalogueLending
from midflight.services.credentials import Credentials
from midflight.services.injection import Injecting
from midflight.services.interruption import Interruption
from midflight.services.lease_asking import LeaseAsking
from midflight.services.lease_ending import LeaseEnding
from midflight.services.lease_reaper import LeaseReaper
from midflight.services.monitors import Monitors
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import KeyWrap, Signer
from midflight.services.ports.policy import PolicyEngine
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.secret_reader import BackendMaker
from midflight.services.ports.store import Store
from midflight.services.ports.telemetry import Telemetry
from midflight.services.sealed_logins import SealedLogins
from midflight.services.sealed_secrets import SealedSecrets

MAKERS: Mapping[str, BackendMaker] = {
    **backend_makers(),
    DECOY: DecoyBackend,
    "postgres": PostgresBackend,
    "sealed": SealedBackend,
}
"""Kinds of backends, by the name that operators use."""


class BrokerParts:
    """The broker and what it is made of, wired."""

    def __init__(
        self,
        *,
        store: Store,
        recorder: Recorder,
        wrap: KeyWrap,
        clock: Clock,
        telemetry: Telemetry,
        engine: PolicyEngine,
        interruption: Interruption,
        monitors: Monitors,
        makers: Mapping[str, BackendMaker] = MAKERS,
        client_signer: Signer | None = None,
        subject_token: SubjectToken | None = None,
        issuer: str = "",
    ) -> None:
        """Nothing is started.

        `client_signer` is Midflight's own key as a client of others, published under `issuer`;
        `subject_token` says who a lease's workload is, to those that exchange tokens.
        """
        self.logins = SealedLogins(store=store, wrap=wrap)
        if makers is MAKERS or client_signer is not None or subject_token is not None:
            asking_others = backend_makers(
                client_signer=client_signer,
                subject_token=subject_token,
                issuer=issuer,
                logins=self.logins,
            )
            makers = {**makers, **asking_others}
        holder = clock.token()
        self.sealed = SealedSecrets(store=store, wrap=wrap, clock=clock)
        self.credentials = Credentials(
            store=store,
            recorder=recorder,
            clock=clock,
            makers=makers,
            secrets=References(self.sealed.open),
        )
        ending = LeaseEnding(
            store=store,
            credentials=self.credentials,
            recorder=recorder,
            clock=clock,
            telemetry=telemetry,
        )
        self.reaper = LeaseReaper(
            store=store,
            credentials=self.credentials,
            ending=ending,
            recorder=recorder,
            clock=clock,
            telemetry=telemetry,
            holder=holder,
        )
        self.broker = Broker(
            store=store,
            credentials=self.credentials,
            asking=LeaseAsking(
                engine=engine, interruption=interruption, monitors=monitors, clock=clock
            ),
            ending=ending,
            reaper=self.reaper,
            clock=clock,
            holder=holder,
        )
        self._lending = partial(
            CatalogueLending,
            credentials=self.credentials,
            store=store,
            ending=ending,
            interruption=interruption,
            clock=clock,
            holder=holder,
        )

    def lending(
        self, injecting: Injecting, *, to: Catalogue, names: Mapping[str, str]
    ) -> CatalogueLending:
        """What lends to the requests of a catalogue; `names` are credentials by upstream."""
        made = self._lending(attach=injecting.attach, gone=injecting.gone, names=names)
        to.lend(made.lent)
        return made


__all__ = ["MAKERS", "BrokerParts"]
