"""What the standard set would have said to workloads that are only observed, counted from records.

Reads the ledger and nothing else, so it says what was recorded when it was decided. Bounded: the
last records are looked at, and whether that reached back far enough is said.
Above: the control API. Below: the ledger.
"""

from __future__ import annotations

from midflight.domain.records import Facts, Intent, Outcome
from midflight.domain.value import Value
from midflight.services.limits import History

MAX_READ = 100_000


class ShadowRow(Value):
    """Actions of one workload on one thing that would have had one answer for one reason.

    Attributes:
        said: what would have been decided: `permit`, `challenge` or `deny`.
        decided: what was: `permit`, or the code of the refusal.
        policies: ids of the policies that would have decided.
        count: how many.
        last, last_at: the last of them: its record, and when (Unix seconds).
    """

    workload: str
    upstream: str
    name: str
    said: str
    decided: str
    policies: tuple[str, ...]
    count: int
    last: str
    last_at: float


class ShadowSummary(Value):
    """`complete`: every record since `since` was looked at."""

    since: float
    complete: bool
    rows: tuple[ShadowRow, ...]


async def summarize(history: History, *, since: float, workload: str | None) -> ShadowSummary:
    """Count shadows that were recorded at or after `since` (Unix seconds), most frequent first."""
    size = await history.size()
    after = max(0, size - MAX_READ)
    first: float | None = None
    rows: dict[tuple[object, ...], ShadowRow] = {}
    async for found in history.query(kinds=("intent", "outcome"), after=after):
        record = found.record
        if not isinstance(record, Intent | Outcome):
            continue
        first = record.at if first is None else first
        row = _row(record, found.id)
        if row is None or record.at < since or workload not in (None, row.workload):
            continue
        key = (row.workload, row.upstream, row.name, row.said, row.decided, row.policies)
        before = rows.get(key)
        rows[key] = row if before is None else _more(before, row)
    order = sorted(
        rows.values(), key=lambda row: (row.said == "permit", -row.count, row.workload, row.name)
    )
    complete = after == 0 or (first is not None and first < since)
    return ShadowSummary(since=since, complete=complete, rows=tuple(order))


def _row(record: Intent | Outcome, record_id: str) -> ShadowRow | None:
    shadow, facts = record.shadow, record.facts
    if shadow is None or facts is None or facts.workload is None:
        return None
    refused = isinstance(record, Outcome)
    return ShadowRow(
        workload=facts.workload.id,
        upstream=facts.upstream,
        name=_name(facts),
        said=shadow.decided,
        decided=(record.code.value if record.code else "deny") if refused else "permit",
        policies=tuple(reason.policy for reason in shadow.reasons),
        count=1,
        last=record_id,
        last_at=record.at,
    )


def _name(facts: Facts) -> str:
    # Addresses and ids are endless: those of one kind are counted together.
    return facts.name if facts.kind in ("call_tool", "get_prompt") else f"*{facts.kind}"


def _more(before: ShadowRow, row: ShadowRow) -> ShadowRow:
    return ShadowRow(
        workload=row.workload,
        upstream=row.upstream,
        name=row.name,
        said=row.said,
        decided=row.decided,
        policies=row.policies,
        count=before.count + 1,
        last=row.last,
        last_at=row.last_at,
    )


__all__ = ["MAX_READ", "ShadowRow", "ShadowSummary", "summarize"]
