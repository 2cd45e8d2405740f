"""What is told of one record to whoever collects events: one value that every form is made of.

An action is told of once, when it has ended, with the facts of its intent. Sealed arguments and
results are never told. Texts are bounded: a collector must not lose an event for its length.
"""

from __future__ import annotations

from midflight.domain.finding import Strength
from midflight.domain.records import Facts, Found, Intent, Outcome, Record, Terminal
from midflight.domain.value import JSONObject, Value
from midflight.wire import json
from midflight.wire.export.bounding import MAX_ITEMS, bounded, clipped
from midflight.wire.export.sayings import Said, Severity, say

MAX_DETAILS = 32_768
"""Bytes of an event's details as JSON. What is larger is left out: some collectors take no more
than a datagram holds, and one event that cannot be sent would hold up all behind it."""


class Told(Value):
    """One event.

    Attributes:
        record, kind, position: id, tag and place in the ledger: who gets it twice knows it again.
        at: Unix seconds.
        title: what it is, the same for all of its kind: `Action refused`.
        message: a sentence about this one.
        severity: how bad it is.
        succeeded: whether it came to what was wanted; None where that is no question.
        code, reason: why not: the code of the refusal; policy ids and what they say.
        state, effect, method: of an action: how it ended, what it does, which MCP method.
        workload, owner, run, upstream, name: what it is about, as far as it is about that.
        author, proof, peer: who did it, how that was proved, from where.
        details: the rest, as safe JSON.
    """

    record: str
    kind: str
    position: int
    at: float
    title: str
    message: str
    severity: Severity = Severity.INFORMATIONAL
    succeeded: bool | None = None
    code: str = ""
    reason: str = ""
    policies: tuple[str, ...] = ()
    state: str = ""
    effect: str = ""
    method: str = ""
    workload: str = ""
    owner: str = ""
    run: str = ""
    upstream: str = ""
    name: str = ""
    author: str = ""
    proof: str = ""
    peer: str = ""
    subject: str = ""
    details: JSONObject = {}


class Place(Value):
    """Where a record stands: its id, its tag, its position."""

    record: str
    kind: str
    position: int


def tell(place: Place, record: Record, facts: Facts | None = None) -> Told | None:
    """What is told of a record; None for an intent, which is told of with its outcome.

    Args:
        place: where it stands.
        record: the record.
        facts: of an outcome that has an intent: those of the intent.
    """
    match record:
        case Intent():
            return None
        case Outcome():
            return _action(place, record, record.facts or facts)
        case Found():
            return _found(place, record)
        case _:
            return _told(place, record, say(record))


def tell_damage(place: Place, why: str, *, at: float) -> Told:
    """What is told of an entry that cannot be read."""
    return Told(
        record=place.record,
        kind="damaged",
        position=place.position,
        at=at,
        title="Ledger damaged",
        message=clipped(why),
        severity=Severity.CRITICAL,
        succeeded=False,
    )


_STATES: dict[Terminal, tuple[str, Severity, bool | None]] = {
    Terminal.DONE: ("Action done", Severity.INFORMATIONAL, True),
    Terminal.FAILED: ("Action failed", Severity.INFORMATIONAL, False),
    Terminal.DENIED: ("Action refused", Severity.LOW, False),
    Terminal.EXPIRED: ("Action expired", Severity.LOW, False),
    Terminal.INTERRUPTED: ("Action interrupted", Severity.HIGH, False),
    Terminal.CANCELLED: ("Action cancelled", Severity.INFORMATIONAL, False),
    Terminal.UNKNOWN: ("Action with unknown end", Severity.MEDIUM, None),
}

_STRENGTHS = {
    Strength.WEAK: Severity.LOW,
    Strength.FAIR: Severity.MEDIUM,
    Strength.STRONG: Severity.CRITICAL,
}


def _action(place: Place, record: Outcome, facts: Facts | None) -> Told:
    title, severity, succeeded = _STATES[record.state]
    name = "an action" if facts is None else f"{facts.upstream}/{facts.name}"
    policies = tuple(clipped(reason.policy) for reason in record.reasons[:MAX_ITEMS])
    reason = "; ".join(f"{each.policy}: {each.text}" for each in record.reasons) or record.detail
    details: JSONObject = {
        "digest": record.digest,
        "intent": record.intent,
        "policy_version": record.decided,
        "bytes_out": record.bytes_out,
        "bytes_in": record.bytes_in,
        "took_us": record.took_us,
        "revocation": record.revocation,
        "leases": list(record.leases[:MAX_ITEMS]),
        "shadow": bounded(record.shadow),
    }
    if facts is not None:
        run = facts.run
        details |= {
            "action": facts.kind,
            "pin": facts.pin,
            "pin_state": facts.pin_state.value,
            "reach": facts.traits.reach.value,
            "approved": facts.approved,
            "labels": "" if run is None else run.labels.described(),
            "concerns": [] if facts.flow is None else bounded(facts.flow.concerns),
        }
    return Told(
        record=place.record,
        kind=place.kind,
        position=place.position,
        at=record.at,
        title=title,
        message=clipped(f"{title}: {name}" + (f" ({reason})" if reason else "")),
        severity=severity,
        succeeded=succeeded,
        code="" if record.code is None else record.code.value,
        reason=clipped(reason),
        policies=policies,
        state=record.state.value,
        effect="" if facts is None else facts.traits.effect.value,
        method="" if facts is None else facts.method,
        workload="" if facts is None or facts.workload is None else facts.workload.id,
        owner="" if facts is None or facts.workload is None else facts.workload.owner,
        run="" if facts is None or facts.run is None else facts.run.id,
        upstream="" if facts is None else facts.upstream,
        name="" if facts is None else clipped(facts.name),
        proof="" if facts is None else facts.source.proof,
        peer="" if facts is None else facts.source.peer,
        details=_fitting(details),
    )


def _found(place: Place, record: Found) -> Told:
    finding = record.finding
    return Told(
        record=place.record,
        kind=place.kind,
        position=place.position,
        at=record.at,
        title=f"Finding: {finding.detector}",
        message=clipped(finding.seen + (f" (usual: {finding.usual})" if finding.usual else "")),
        severity=_STRENGTHS[finding.strength],
        workload=finding.workload,
        owner=finding.owner,
        run=finding.run,
        upstream=finding.upstream,
        name=clipped(finding.name),
        subject=finding.id,
        details={
            "detector": finding.detector,
            "strength": finding.strength.name.lower(),
            "after": finding.after,
            "records": list(finding.records),
        },
    )


_FIELDS = ("workload", "owner", "run", "upstream", "name", "author", "proof")


def _told(place: Place, record: Record, said: Said) -> Told:
    whole = bounded(record)
    assert isinstance(whole, dict)
    known = {name: whole.pop(name) for name in _FIELDS if isinstance(whole.get(name), str)}
    at = whole.pop("at", 0.0)
    return Told(
        record=place.record,
        kind=place.kind,
        position=place.position,
        at=float(at) if isinstance(at, int | float) else 0.0,
        title=said.title,
        message=clipped(said.message),
        severity=said.severity,
        succeeded=said.succeeded,
        subject=clipped(said.subject),
        workload=said.workload or str(known.get("workload", "")),
        owner=str(known.get("owner", "")),
        run=said.run or str(known.get("run", "")),
        upstream=str(known.get("upstream", "")),
        name=str(known.get("name", "")),
        author=str(known.get("author", "")),
        proof=str(known.get("proof", "")),
        details=_fitting(whole),
    )


def _fitting(details: JSONObject) -> JSONObject:
    """What is there of some details, or that they are too large."""
    found = {name: each for name, each in details.items() if each not in (None, "", [], {})}
    if len(json.encode(found)) <= MAX_DETAILS:
        return found
    return {"left_out": "the details are too large to be told; the ledger has them"}


__all__ = ["MAX_DETAILS", "Place", "Told", "tell", "tell_damage"]
