"""Reading findings back from the ledger, newest first. No store: what was found is recorded.

Above: the control API. Below: `ledger.py`.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated

import msgspec

from midflight.domain.finding import Finding, Strength
from midflight.domain.records import Found
from midflight.domain.value import Value
from midflight.services.limits import MAX_READ, History

MAX_FINDINGS = 1_000


class Wanted(Value):
    """Which findings.

    Attributes:
        workload, run, detector: only of these; None for all.
        strength: only from this one on.
        since: Unix seconds from which on.
        count: so many of the last ones.
    """

    workload: str | None = None
    run: str | None = None
    detector: str | None = None
    strength: Strength = Strength.WEAK
    since: float = 0.0
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_FINDINGS)] = 100


class RecordedFinding(Value):
    """A finding and the id of its record."""

    record: str
    finding: Finding


class Findings(Value):
    """`complete`: every record since then was looked at, and nothing was left out."""

    complete: bool
    findings: tuple[RecordedFinding, ...]


async def findings(history: History, wanted: Wanted) -> Findings:
    """The last findings that are wanted, newest first.

    Raises:
        LedgerUnavailable: the ledger cannot be read.
    """
    after = max(0, await history.size() - MAX_READ)
    first: float | None = None
    kept: deque[RecordedFinding] = deque(maxlen=wanted.count)
    matched = 0
    async for found in history.query(after=after):
        record = found.record
        if record is None:
            continue
        first = record.at if first is None else first
        if isinstance(record, Found) and _is_wanted(record.finding, wanted):
            matched += 1
            kept.append(RecordedFinding(record=found.id, finding=record.finding))
    reached = not after or (first is not None and first < wanted.since)
    return Findings(complete=reached and matched <= wanted.count, findings=tuple(reversed(kept)))


def _is_wanted(finding: Finding, wanted: Wanted) -> bool:
    return (
        finding.at >= wanted.since
        and finding.strength >= wanted.strength
        and wanted.workload in {None, finding.workload}
        and wanted.run in {None, finding.run}
        and wanted.detector in {None, finding.detector}
    )


__all__ = ["MAX_FINDINGS", "Findings", "RecordedFinding", "Wanted", "findings"]
