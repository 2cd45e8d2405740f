"""Reading records back: by id, the last ones, or those of a run or kind. No store, no thread.

An outcome names its intent and not its run, so a filter by run remembers the intents it let pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import assert_never

from midflight.domain.chain import Damaged, Entry, decode
from midflight.domain.errors import Malformed
from midflight.domain.outline import outline
from midflight.domain.records import (
    Acknowledged,
    ApprovalAnswered,
    ApprovalAsked,
    ApprovalEnded,
    Changed,
    Facts,
    Found,
    Impact,
    Intent,
    IntentAdded,
    Issued,
    LabelRaised,
    LeaseMoved,
    Notified,
    Observed,
    Outcome,
    Record,
    Responded,
    Revoked,
    RunEnded,
    RunOpened,
    Started,
)
from midflight.domain.revocation import ScopeKind
from midflight.domain.value import Value


class Recorded(Value):
    """One stored record.

    `record` is None when what is stored is no record; `damage` then says why. `position` is 0
    for a record that is accepted and not yet on disk.
    """

    position: int
    id: str
    kind: str
    record: Record | None
    damage: str = ""


class RecordFilter:
    """Which records to show. Feed it in commit order.

    Args:
        run: only what belongs to this run; None for all.
        kinds: only these tags (`intent`, `outcome` …); empty for all.
    """

    def __init__(self, *, run: str | None = None, kinds: Collection[str] = ()) -> None:
        self._run = run
        self._kinds = frozenset(kinds)
        self._intents: set[str] = set()

    def admits(self, found: Recorded) -> bool:
        """Whether the record is asked for. What is damaged always is."""
        if found.record is None:
            return True
        if self._run is not None and not self._belongs(found.id, found.record, self._run):
            return False
        return not self._kinds or found.kind in self._kinds

    def _belongs(self, record_id: str, record: Record, run: str) -> bool:
        match record:
            case Intent():
                belongs = _is_of(record.facts, run)
                if belongs:
                    self._intents.add(record_id)
            case Outcome():
                belongs = (
                    _is_of(record.facts, run)
                    if record.intent is None
                    else record.intent in self._intents
                )
            case RunOpened():
                belongs = run in (record.run, record.parent)
            case (
                IntentAdded()
                | RunEnded()
                | LabelRaised()
                | ApprovalAsked()
                | ApprovalAnswered()
                | ApprovalEnded()
                | Issued()
                | LeaseMoved()
                | Notified()
                | Acknowledged()
            ):
                belongs = record.run == run
            case Revoked() | Impact():
                belongs = record.scope.kind is ScopeKind.RUN and record.scope.id == run
            case Observed():
                belongs = record.subject == run
            case Found() | Responded():
                belongs = _is_about(record, run)
            case Changed() | Started():
                belongs = False
            case _:
                assert_never(record)
        return belongs


def _is_about(record: Found | Responded, run: str) -> bool:
    if isinstance(record, Found):
        return record.finding.run == run
    return run in (record.response.run, record.response.scope.id)


def _is_of(facts: Facts | None, run: str) -> bool:
    return facts is not None and facts.run is not None and facts.run.id == run


def recorded(position: int, entry: Entry | Damaged) -> Recorded:
    """The record in an entry. Never raises."""
    if isinstance(entry, Damaged):
        return Recorded(position=position, id="", kind="", record=None, damage=entry.text)
    try:
        kind, record = outline(entry.body).kind, decode(entry.body)
    except Malformed as error:
        return Recorded(position=position, id=entry.id, kind="", record=None, damage=error.message)
    return Recorded(position=position, id=entry.id, kind=kind, record=record)


def select(
    entries: Iterable[tuple[int, Entry | Damaged]], wanted: RecordFilter
) -> Iterator[Recorded]:
    """The records of stored entries that a filter admits."""
    for position, entry in entries:
        found = recorded(position, entry)
        if wanted.admits(found):
            yield found


__all__ = ["RecordFilter", "Recorded", "recorded", "select"]
