"""What a new writer does for those that ended without a word: end their open intents.

An intent without an outcome means that the action may have left and nobody knows how it ended. Its
outcome is `unknown`, exactly once: the outcomes and the note that the old writer is settled go
into the store in one transaction, so that a crash of the recovery itself changes nothing.
Only what came behind the old writer's last standing is read, however long the ledger is.
"""

from __future__ import annotations

from collections.abc import Iterable

from midflight.domain.chain import record_id
from midflight.domain.errors import Malformed
from midflight.domain.outline import INTENT, OUTCOME, SETTLED, outline
from midflight.domain.records import Observed, Outcome, Record, Terminal
from midflight.services.ports.ledger_store import LedgerStore, Standing

_CRASHED = "Midflight stopped before it knew how this action ended; it may have taken effect."
_CLOSED = "Midflight was closed before it knew how this action ended; it may have taken effect."


def open_intents(store: LedgerStore, standing: Standing) -> list[int]:
    """Sequence numbers of the intents of a writer that have no outcome, in order."""
    opened = dict.fromkeys(standing.open)
    prefix = f"{standing.writer}-"
    for entry in store.entries_of(standing.writer, after=standing.seq):
        try:
            found = outline(entry.body)
        except Malformed:
            continue  # the verifier names it; it is no intent that can be ended
        if found.kind == INTENT:
            opened[entry.seq] = None
        elif found.kind == OUTCOME and found.ends is not None and found.ends.startswith(prefix):
            number = found.ends.removeprefix(prefix)
            opened.pop(int(number) if number.isdecimal() else 0, None)
    return list(opened)


def recovery_records(store: LedgerStore, abandoned: Iterable[Standing], at: float) -> list[Record]:
    """The records that settle writers which ended without settling themselves."""
    records: list[Record] = []
    for standing in abandoned:
        unknown = open_intents(store, standing)
        records += unknown_outcomes(standing.writer, unknown, at, crashed=True)
        records.append(
            Observed(
                at=at,
                what=SETTLED,
                subject=standing.writer,
                details={"unknown": len(unknown)},
            )
        )
    return records


def unknown_outcomes(
    writer: str, open_: Iterable[int], at: float, *, crashed: bool
) -> list[Record]:
    """An outcome for each open intent of a writer."""
    return [
        Outcome(
            at=at,
            state=Terminal.UNKNOWN,
            intent=record_id(writer, seq),
            detail=_CRASHED if crashed else _CLOSED,
        )
        for seq in open_
    ]


__all__ = ["open_intents", "recovery_records", "unknown_outcomes"]
