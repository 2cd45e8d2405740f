"""What is said of a record beside its own members: a title, a sentence, how bad it is."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from midflight.domain.records import (
    ApprovalAnswered,
    ApprovalAsked,
    ApprovalEnded,
    Changed,
    Impact,
    Issued,
    LeaseMoved,
    Observed,
    Record,
    Revoked,
    Started,
)
from midflight.domain.value import Value


class Severity(enum.IntEnum):
    """How bad it is, as OCSF numbers it (`severity_id`)."""

    INFORMATIONAL = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5


class Said(Value):
    """What is said of a record beside its own members."""

    title: str
    message: str
    severity: Severity = Severity.INFORMATIONAL
    succeeded: bool | None = None
    workload: str = ""
    run: str = ""
    subject: str = ""


def _say_revoked(record: Revoked) -> Said:
    return Said(
        title="Revocation lifted" if record.lifts else "Revoked",
        message=f"{record.scope}: {record.reason}",
        severity=Severity.MEDIUM if record.lifts else Severity.HIGH,
        succeeded=True,
        subject=record.lifts or record.revocation,
    )


def _say_impact(record: Impact) -> Said:
    return Said(
        title="Interrupted",
        message=f"{record.scope}: {len(record.cut)} actions were cut, {record.completed} had"
        " completed before.",
        severity=Severity.HIGH if record.cut else Severity.MEDIUM,
        succeeded=True,
        subject=record.revocation,
    )


def _say_started(record: Started) -> Said:
    return Said(
        title="Started",
        message=f"Midflight {record.version} started, policy {record.policy[:12]}.",
    )


def _say_asked(record: ApprovalAsked) -> Said:
    return Said(
        title="Approval asked",
        message=f"{record.upstream}/{record.name} waits for {', '.join(record.approvers)}.",
        severity=Severity.LOW,
        subject=record.approval,
    )


def _say_answered(record: ApprovalAnswered) -> Said:
    said = "approved" if record.yes else "refused"
    return Said(
        title=f"Approval {said}",
        message=f"{record.author} {said} {record.approval}.",
        severity=Severity.LOW,
        succeeded=record.yes,
        subject=record.approval,
    )


def _say_ended(record: ApprovalEnded) -> Said:
    return Said(
        title="Approval ended",
        message=f"{record.approval} is {record.state}: {record.reason}",
        severity=Severity.LOW,
        succeeded=False,
        subject=record.approval,
    )


def _say_issued(record: Issued) -> Said:
    return Said(
        title="Identity issued",
        message=f"{record.what} for {record.subject}",
        succeeded=True,
        workload=record.subject,
        run=record.run or "",
        subject=record.id,
    )


def _say_lease(record: LeaseMoved) -> Said:
    return Said(
        title="Lease stuck" if record.stuck else "Lease moved",
        message=f"A lease of {record.credential} is {record.state}.",
        severity=Severity.HIGH if record.stuck else Severity.INFORMATIONAL,
        succeeded=not record.stuck,
        subject=record.lease,
    )


def _say_changed(record: Changed) -> Said:
    return Said(
        title="Changed by an operator",
        message=record.what,
        succeeded=True,
        subject=record.what,
    )


def _say_observed(record: Observed) -> Said:
    return Said(
        title="Observed",
        message=f"{record.what}: {record.subject}",
        severity=Severity.LOW,
        subject=record.subject,
    )


def _say_kind(record: Record) -> Said:
    title = str(record.__struct_config__.tag).replace("_", " ").capitalize()
    return Said(title=title, message=title)


_BY_KIND: dict[type[Record], Callable[[Any], Said]] = {
    Revoked: _say_revoked,
    Impact: _say_impact,
    Started: _say_started,
    ApprovalAsked: _say_asked,
    ApprovalAnswered: _say_answered,
    ApprovalEnded: _say_ended,
    Issued: _say_issued,
    LeaseMoved: _say_lease,
    Changed: _say_changed,
    Observed: _say_observed,
}


def say(record: Record) -> Said:
    """What is said of a record; of one without a sentence of its own, its kind."""
    return _BY_KIND.get(type(record), _say_kind)(record)


__all__ = ["Said", "Severity", "say"]
