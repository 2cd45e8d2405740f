"""The control API over a plane: operators, verbs and checks put together."""

from __future__ import annotations

from collections.abc import Callable, Collection

from midflight.apps.control.api import ControlApi
from midflight.apps.control.approvals import ApprovalVerbs
from midflight.apps.control.approvers import ApproverVerbs
from midflight.apps.control.break_glass import BreakGlassVerbs
from midflight.apps.control.canaries import CanaryVerbs
from midflight.apps.control.clients import ClientVerbs
from midflight.apps.control.counterparties import CounterpartyVerbs
from midflight.apps.control.credential_logins import LoginVerbs
from midflight.apps.control.credentials import CredentialVerbs
from midflight.apps.control.detection import DetectionVerbs
from midflight.apps.control.explaining import ExplainVerbs
from midflight.apps.control.exports import ExportVerbs
from midflight.apps.control.keys import KeyVerbs
from midflight.apps.control.launches import LaunchVerbs
from midflight.apps.control.leases import LeaseVerbs
from midflight.apps.control.ledger import LedgerVerbs
from midflight.apps.control.marks import MarkVerbs
from midflight.apps.control.monitors import MonitorVerbs
from midflight.apps.control.notices import NoticeVerbs
from midflight.apps.control.operators import Operators
from midflight.apps.control.plane import Plane
from midflight.apps.control.policies import PolicyVerbs
from midflight.apps.control.recording import RecordingVerbs
from midflight.apps.control.refusals import Refusals
from midflight.apps.control.registrations import RegistrationVerbs
from midflight.apps.control.responses import ResponseVerbs
from midflight.apps.control.revocations import RevocationVerbs
from midflight.apps.control.runs import RunVerbs
from midflight.apps.control.spiffe import SpiffeVerbs
from midflight.apps.control.ssf import SharedSignalVerbs
from midflight.apps.control.standing import StandingVerbs
from midflight.apps.control.tools import ToolVerbs
from midflight.apps.control.traits import TraitsVerbs
from midflight.apps.control.workloads import WorkloadVerbs
from midflight.apps.server.origin import OriginPolicy


def control_app(
    plane: Plane, *, managed_pids: Callable[[], Collection[int]] = frozenset
) -> ControlApi:
    """The ASGI app for the control socket and for loopback TCP.

    `managed_pids` names processes that Midflight started and that are not its descendants;
    descendants of this process are refused in any case.
    """
    settings = plane.settings
    operators = Operators(
        names=settings.control.operators,
        clock=plane.clock,
        workload_of=plane.inventory.by_uid,
        managed_pids=lambda: {*managed_pids(), *plane.launches.pids()},
        launcher_pids=plane.launches.launchers,
    )
    verbs = (
        StandingVerbs(plane, operators),
        WorkloadVerbs(
            plane, is_operator=operators.is_operator, token_ttl_s=settings.identity.token_ttl
        ),
        SpiffeVerbs(plane),
        RunVerbs(plane),
        RegistrationVerbs(plane),
        LaunchVerbs(plane),
        ToolVerbs(plane, upstreams=[entry.name for entry in settings.upstream]),
        TraitsVerbs(plane),
        RevocationVerbs(plane),
        ResponseVerbs(plane),
        ApprovalVerbs(plane),
        ApproverVerbs(plane),
        NoticeVerbs(plane),
        BreakGlassVerbs(plane),
        CounterpartyVerbs(plane),
        MarkVerbs(plane),
        PolicyVerbs(plane),
        MonitorVerbs(plane),
        DetectionVerbs(plane),
        SharedSignalVerbs(plane),
        CanaryVerbs(plane, upstreams=[entry.name for entry in settings.upstream]),
        KeyVerbs(plane),
        CredentialVerbs(plane, upstreams=[entry.name for entry in settings.upstream]),
        LoginVerbs(plane),
        LeaseVerbs(plane),
        ClientVerbs(plane),
        LedgerVerbs(plane),
        ExportVerbs(plane),
        ExplainVerbs(plane),
        RecordingVerbs(plane),
    )
    return ControlApi(
        operations=[operation for group in verbs for operation in group.operations()],
        operators=operators,
        refusals=Refusals(recorder=plane.ledger, telemetry=plane.telemetry, clock=plane.clock),
        origins=OriginPolicy(),
    )


__all__ = ["control_app"]
