"""What the control API needs of the plane: the services whose verbs it offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from midflight.apps.compose_escalation import Escalating
    from midflight.apps.compose_oauth import OAuthParts
    from midflight.apps.compose_parts import Parts
    from midflight.apps.compose_people import ApproverParts
    from midflight.apps.compose_spiffe import Spiffe
    from midflight.apps.compose_ssf import SharedSignalParts
    from midflight.apps.compose_watching import Watching
    from midflight.apps.settings import Settings
    from midflight.services.approval_desk import ApprovalDesk
    from midflight.services.broker import Broker
    from midflight.services.canaries import Canaries
    from midflight.services.catalogue import Catalogue
    from midflight.services.counterparties import Counterparties
    from midflight.services.credentials import Credentials
    from midflight.services.delegation import Delegation
    from midflight.services.flow_marks import Marks
    from midflight.services.identity import Identity
    from midflight.services.injection import Injecting
    from midflight.services.interruption import Interruption
    from midflight.services.inventory import Inventory
    from midflight.services.join_tokens import JoinTokens
    from midflight.services.key_rings import KeyRings
    from midflight.services.launches import Launches
    from midflight.services.ledger import Ledger
    from midflight.services.monitor_history import MonitorHistory
    from midflight.services.monitors import Monitors
    from midflight.services.policy import Policies
    from midflight.services.ports.clock import Clock
    from midflight.services.ports.logins import Logins
    from midflight.services.ports.telemetry import Telemetry
    from midflight.services.registration import Registration
    from midflight.services.runs import Runs
    from midflight.services.sealed_secrets import SealedSecrets
    from midflight.services.sealing import Sealer
    from midflight.services.turns import Turns


class Plane(Protocol):
    """The part of `apps.compose.Plane` that operators reach."""

    @property
    def settings(self) -> Settings:
        """What it was started with."""
        ...

    @property
    def clock(self) -> Clock:
        """Time and chance."""
        ...

    @property
    def watching(self) -> Watching:
        """What watches, and who is told of it."""
        ...

    @property
    def telemetry(self) -> Telemetry:
        """Counters."""
        ...

    @property
    def parts(self) -> Parts:
        """The adapters, for what no service offers."""
        ...

    @property
    def approvers(self) -> ApproverParts:
        """Accounts of approvers."""
        ...

    @property
    def signals(self) -> SharedSignalParts:
        """Security events to others and from others."""
        ...

    @property
    def injecting(self) -> Injecting:
        """What places credentials into calls."""
        ...

    @property
    def broker(self) -> Broker:
        """Leases."""
        ...

    @property
    def credentials(self) -> Credentials:
        """Sources of leases."""
        ...

    @property
    def sealed_secrets(self) -> SealedSecrets:
        """Static secrets at rest."""
        ...

    @property
    def logins(self) -> Logins:
        """What people's logins at upstreams gave."""
        ...

    @property
    def sealer(self) -> Sealer:
        """Opens what records keep sealed."""
        ...

    @property
    def ledger(self) -> Ledger:
        """What is recorded."""
        ...

    @property
    def policies(self) -> Policies:
        """The active policy set and its verbs."""
        ...

    @property
    def monitors(self) -> Monitors:
        """What is counted."""
        ...

    @property
    def monitor_history(self) -> MonitorHistory:
        """What was counted before, and setting it back."""
        ...

    @property
    def observing(self) -> Policies:
        """The set for workloads in mode observe, and its verbs."""
        ...

    @property
    def canaries(self) -> Canaries:
        """What is planted to be found."""
        ...

    @property
    def inventory(self) -> Inventory:
        """Who is registered."""
        ...

    @property
    def identity(self) -> Identity:
        """The mint of workload tokens."""
        ...

    @property
    def spiffe(self) -> Spiffe:
        """SVIDs, trust bundles and their authority."""
        ...

    @property
    def keys(self) -> KeyRings:
        """The keys that sign."""
        ...

    @property
    def registration(self) -> Registration:
        """Who may be whom."""
        ...

    @property
    def join_tokens(self) -> JoinTokens:
        """What lets somebody in once."""
        ...

    @property
    def launches(self) -> Launches:
        """Which processes were started for runs."""
        ...

    @property
    def workload_endpoint(self) -> str:
        """Address of the Workload API (`unix:///…`), or empty where there is none."""
        ...

    @property
    def runs(self) -> Runs:
        """Opening and closing runs."""
        ...

    @property
    def delegation(self) -> Delegation:
        """Opening child runs."""
        ...

    @property
    def marks(self) -> Marks:
        """What untrusted runs have written."""
        ...

    @property
    def turns(self) -> Turns:
        """Later turns of the principal."""
        ...

    @property
    def interruption(self) -> Interruption:
        """Revoking and lifting."""
        ...

    @property
    def approval_desk(self) -> ApprovalDesk:
        """Answering what policies ask."""
        ...

    @property
    def escalating(self) -> Escalating:
        """Open questions, and break-glass."""
        ...

    @property
    def counterparties(self) -> Counterparties:
        """Whom owners know."""
        ...

    @property
    def oauth(self) -> OAuthParts:
        """The authorization server."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """Definitions and pins."""
        ...


__all__ = ["Plane"]
