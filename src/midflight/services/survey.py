"""What a scope reaches in this process: runs, leases, and what those runs have seen.

For impact records and for looking before one revokes; no decision is made by it. It reads memory
alone, so that a revocation can ask it between the denial and the cuts. Below: `runs.py`,
`broker.py`. Above: `interruption.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from midflight.domain.identity import trust_domain
from midflight.domain.labels import BOTTOM
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.run import Run
from midflight.services.interruption import Reached
from midflight.services.live_run import LiveRun


class KnownRuns(Protocol):
    """The runs of this process (`runs.py`)."""

    def known(self) -> Sequence[LiveRun]:
        """Every run that is open here."""
        ...

    def of(self, run_id: str) -> LiveRun | None:
        """One that is open here, or has ended here and is remembered."""
        ...


class HeldLeases(Protocol):
    """The leases of this process (`broker.py`)."""

    def within(self, scope: Scope) -> Sequence[str]:
        """Ids of those in a scope."""
        ...


class Surveyor:
    """See the module. `reached` is a `Survey`."""

    def __init__(self, *, runs: KnownRuns, leases: HeldLeases) -> None:
        self._runs = runs
        self._leases = leases

    def reached(self, scope: Scope, acted: Collection[str]) -> Reached:
        """Runs in the scope that are open here or among those that acted, leases, labels."""
        found = {live.run.id: live for live in self._runs.known() if is_within(live.run, scope)}
        for run_id in acted:
            live = self._runs.of(run_id)
            if live is not None:
                found[run_id] = live
        labels = BOTTOM
        for live in found.values():
            labels = labels.join(live.labels)
        return Reached(
            runs=tuple(sorted({*found, *acted})),
            leases=tuple(self._leases.within(scope)),
            labels=labels,
        )


def is_within(run: Run, scope: Scope) -> bool:
    """Whether a run is in a scope by what it is: its family, its workload, its trust domain.

    Owners, tools, upstreams, tokens and credentials are told by what it has done.
    """
    match scope.kind:
        case ScopeKind.EVERYTHING:
            return True
        case ScopeKind.RUN:
            return scope.id in (run.id, *run.ancestors)
        case ScopeKind.WORKLOAD:
            return run.workload == scope.id
        case ScopeKind.TRUST_DOMAIN:
            return trust_domain(run.workload) == scope.id
        case _:
            return False


__all__ = ["HeldLeases", "KnownRuns", "Surveyor", "is_within"]
