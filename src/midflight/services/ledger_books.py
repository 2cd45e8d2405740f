"""Whether each intent has one outcome (I1), and nobody writes after its end.

The verifier's second half; the first is `ledger_chains`.
"""

from __future__ import annotations

from collections.abc import Iterator

from midflight.domain.chain import Entry, parse_record_id, record_id
from midflight.domain.errors import Malformed
from midflight.domain.outline import CLOSED, INTENT, OBSERVED, OUTCOME, SETTLED, outline
from midflight.domain.problems import Problem, ProblemKind

_MAX_STEP = 1 << 23


class Books:
    """Open intents by writer, and one bit for each number that was an intent."""

    def __init__(self) -> None:
        self.intents = 0
        self.outcomes = 0
        self._open: dict[str, dict[int, int]] = {}
        self._was_intent: dict[str, bytearray] = {}
        self._ended: dict[str, int] = {}

    def take(self, position: int, entry: Entry) -> Iterator[Problem]:
        """Enter one record."""
        try:
            found = outline(entry.body)
        except Malformed as error:
            yield _problem(ProblemKind.UNREADABLE, entry.id, position, error.message)
            return
        if entry.writer in self._ended:
            end = self._ended[entry.writer]
            text = f"{entry.id} was written after its writer had ended at position {end}."
            yield _problem(ProblemKind.AFTER_END, entry.id, position, text)
        if found.kind == INTENT:
            self.intents += 1
            self._open.setdefault(entry.writer, {})[entry.seq] = position
            self._mark(entry.writer, entry.seq)
        elif found.kind == OUTCOME:
            self.outcomes += 1
            if found.ends is not None:
                yield from self._end(position, entry.id, found.ends)
        elif found.kind == OBSERVED and (
            found.what == SETTLED or (found.what == CLOSED and found.subject == entry.writer)
        ):
            self._ended[found.subject] = position
            for seq, at in self._open.pop(found.subject, {}).items():
                record = record_id(found.subject, seq)
                text = f"The intent {record} has no outcome, and its writer has ended."
                yield _problem(ProblemKind.NO_OUTCOME, record, at, text)

    def open_intents(self) -> Iterator[str]:
        """Ids of the intents without an outcome whose writers have not ended."""
        for writer, numbers in self._open.items():
            for seq in numbers:
                yield record_id(writer, seq)

    def _end(self, position: int, record: str, intent: str) -> Iterator[Problem]:
        try:
            writer, seq = parse_record_id(intent)
        except Malformed:
            text = f"The outcome {record} names an intent by something that is no record id."
            yield _problem(ProblemKind.NO_INTENT, record, position, text)
            return
        if self._open.get(writer, {}).pop(seq, None) is not None:
            return
        if self._marked(writer, seq):
            text = f"{record} is a second outcome of the intent {intent}."
            yield _problem(ProblemKind.TWO_OUTCOMES, record, position, text)
        else:
            text = f"The outcome {record} names {intent}, which is no intent before it."
            yield _problem(ProblemKind.NO_INTENT, record, position, text)

    def _mark(self, writer: str, seq: int) -> None:
        bits = self._was_intent.setdefault(writer, bytearray())
        index = seq >> 3
        if index >= len(bits):
            if index - len(bits) > _MAX_STEP:
                return  # numbers that far apart are a forger's, and named as a gap already
            bits.extend(bytes(max(index + 1 - len(bits), 1_024)))
        bits[index] |= 1 << (seq & 7)

    def _marked(self, writer: str, seq: int) -> bool:
        bits = self._was_intent.get(writer, b"")
        return seq >> 3 < len(bits) and bool(bits[seq >> 3] >> (seq & 7) & 1)


def _problem(kind: ProblemKind, record: str, position: int, text: str) -> Problem:
    return Problem(kind=kind, record=record, position=position, text=text)


__all__ = ["Books"]
