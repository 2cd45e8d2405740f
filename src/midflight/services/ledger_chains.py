"""Following the chains of all writers through a stored ledger: the verifier's first half.

A chain is kept as runs of consecutive numbers in order of arrival; an honest chain is one run. From
the runs follow what was dropped, moved or copied in, and how little has to be blamed for it: the
longest part that is in order stays, what is out of order is named. Memory is a few words a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from midflight.domain.chain import GENESIS, Entry, is_intact, is_writer, record_id
from midflight.domain.problems import Problem, ProblemKind

_MAX_RUNS = 1_000


class _Run:
    """Consecutive numbers that arrived one behind the other."""

    __slots__ = ("first", "first_prev", "hash", "last", "position", "start", "suspect")

    def __init__(self, position: int, entry: Entry) -> None:
        self.first = self.last = entry.seq
        self.start = self.position = position  # of the first and of the last entry
        self.first_prev = entry.prev
        self.hash = entry.hash
        self.suspect: int | None = None  # position of the entry before an unexplained break


class Chain:
    """One writer's entries."""

    __slots__ = ("_writer", "claimed", "runs")

    def __init__(self, writer: str) -> None:
        self._writer = writer
        self.runs: list[_Run] = []
        # Numbers that only entries with a wrong hash say they have: they are not missing, and
        # neither can such an entry be believed what number it has.
        self.claimed: set[int] = set()

    def take(self, position: int, entry: Entry) -> Iterator[Problem]:
        """Follow an intact entry whose number was not there before."""
        run = self.runs[-1] if self.runs else None
        if run is None or entry.seq != run.last + 1:
            self.runs.append(_Run(position, entry))
            return
        linked = entry.prev == run.hash
        if run.suspect is not None:
            # Of the break before, one side is to blame: the one that fits no neighbour.
            guilty, at = (run.last - 1, run.suspect) if linked else (run.last, run.position)
            yield self._altered(guilty, at, "")
            run.suspect = None
        elif not linked:
            run.suspect = run.position
        run.last, run.position, run.hash = entry.seq, position, entry.hash

    def has(self, seq: int) -> bool:
        """Whether an intact entry of that number was taken."""
        if len(self.runs) == 1 and seq == self.runs[0].last + 1:
            return False
        return any(run.first <= seq <= run.last for run in self.runs)

    def finish(self, gaps: Gaps) -> Iterator[Problem]:
        """What the whole chain says, after the last entry."""
        for run in self.runs:
            if run.suspect is not None:
                either = record_id(self._writer, run.last)
                yield self._altered(run.last - 1, run.suspect, f" Or {either} was.")
        kept = _longest_in_order(self.runs)
        for run in self.runs:
            if run not in kept:
                yield self._moved(run)
        before, start, head = 0, 0, GENESIS
        for run in sorted(self.runs, key=lambda run: run.first):
            if run.first == before + 1 and run.first_prev != head:
                yield self._altered(max(run.first - 1, 1), run.start, "")
            missing = list(_without(before + 1, run.first - 1, self.claimed))
            places = gaps.between(start, run.start) if missing else []
            if len(places) != sum(last - first + 1 for first, last in missing):
                places = []
            for first, last in missing:
                yield self._dropped(first, last, places[: last - first + 1])
                places = places[last - first + 1 :]
            before, start, head = run.last, run.position, run.hash

    def _altered(self, seq: int, position: int, addition: str) -> Problem:
        record = record_id(self._writer, seq)
        return Problem(
            kind=ProblemKind.ALTERED,
            record=record,
            position=position,
            text=f"{record} was altered and its hash made again: its neighbours know another "
            f"hash. Entries of {self._writer} before it may be rewritten too.{addition}",
        )

    def _moved(self, run: _Run) -> Problem:
        first, last = record_id(self._writer, run.first), record_id(self._writer, run.last)
        several = run.last > run.first
        return Problem(
            kind=ProblemKind.REORDERED,
            record=first,
            position=run.start,
            last_record=last if several else "",
            last_position=run.position if several else None,
            text=f"{first}{f' to {last}' if several else ''} stands at position {run.start}, "
            "out of the order of its chain.",
        )

    def _dropped(self, first: int, last: int, places: list[int]) -> Problem:
        known = bool(places)
        start, end = record_id(self._writer, first), record_id(self._writer, last)
        several = last > first
        return Problem(
            kind=ProblemKind.DROPPED,
            record=start,
            position=places[0] if known else None,
            last_record=end if several else "",
            last_position=places[-1] if known and several else None,
            text=f"{start}{f' to {end} are' if several else ' is'} missing.",
        )


class Gaps:
    """Positions that no entry has."""

    def __init__(self) -> None:
        self._missing: dict[int, int] = {}  # first -> last
        self._named: set[int] = set()
        self._next = 1

    def take(self, position: int, entry: Entry) -> Iterator[Problem]:
        """Follow one position."""
        if position >= self._next:
            if position > self._next:
                self._missing[self._next] = position - 1
            self._next = position + 1
            return
        for first, last in self._missing.items():
            if first <= position <= last:
                del self._missing[first]
                if first < position:
                    self._missing[first] = position - 1
                if position < last:
                    self._missing[position + 1] = last
                yield _misplaced(ProblemKind.REORDERED, position, entry, "comes too late")
                return
        yield _misplaced(ProblemKind.DUPLICATED, position, entry, "is given out twice")

    def between(self, start: int, end: int) -> list[int]:
        """The missing positions in an open interval, at most a thousand; they count as named."""
        found: list[int] = []
        for first, last in self._missing.items():
            if start < first and last < end and len(found) < _MAX_RUNS:
                found += range(first, min(last, first + _MAX_RUNS) + 1)
        self._named.update(found)
        return sorted(found)

    def unnamed(self) -> Iterator[Problem]:
        """The missing positions that no chain accounts for: a chain's end, or a whole chain."""
        for first, last in sorted(self._missing.items()):
            if first not in self._named:
                several = last > first
                yield Problem(
                    kind=ProblemKind.DROPPED,
                    position=first,
                    last_position=last if several else None,
                    text=f"Position {first}{f' to {last} are' if several else ' is'} missing.",
                )


class Chains:
    """All writers."""

    def __init__(self, *, limit: int = 100_000) -> None:
        self._chains: dict[str, Chain] = {}
        self._gaps = Gaps()
        self._left = limit

    def __len__(self) -> int:
        return len(self._chains)

    def take(self, position: int, entry: Entry) -> tuple[list[Problem], bool]:
        """Follow one entry: what is wrong with it, and whether it is its number's first.

        Raises:
            OverflowError: the ledger is in more pieces than can be followed.
        """
        problems = list(self._gaps.take(position, entry))
        intact = is_intact(entry)
        if not intact:
            problems.append(_changed(position, entry))
            if not is_writer(entry.writer) or entry.seq < 1:
                return problems, False
        chain = self._chains.get(entry.writer)
        if chain is None:
            chain = self._chains[entry.writer] = Chain(entry.writer)
            self._left -= 1
        if chain.has(entry.seq) or (not intact and entry.seq in chain.claimed):
            if intact:
                problems.append(_copied(position, entry))
            return problems, False
        if not intact:
            chain.claimed.add(entry.seq)
            self._left -= 1
            return problems, True
        runs = len(chain.runs)
        problems += chain.take(position, entry)
        self._left -= len(chain.runs) - runs
        if self._left < 0 or len(chain.runs) > _MAX_RUNS:
            raise OverflowError
        return problems, entry.seq not in chain.claimed

    def finish(self) -> Iterator[Problem]:
        """What is known only behind the last entry."""
        for chain in self._chains.values():
            yield from chain.finish(self._gaps)
        yield from self._gaps.unnamed()


def _without(first: int, last: int, claimed: set[int]) -> Iterator[tuple[int, int]]:
    """The ranges that are left of first … last."""
    for number in sorted(number for number in claimed if first <= number <= last):
        if first < number:
            yield first, number - 1
        first = number + 1
    if first <= last:
        yield first, last


def _longest_in_order(runs: list[_Run]) -> list[_Run]:
    """The runs to believe: in order of arrival and of number, with the most entries."""
    if all(before.last < after.first for before, after in pairwise(runs)):
        return runs
    best: list[tuple[int, list[_Run]]] = []
    for run in runs:
        weight, chosen = 0, list[_Run]()
        for earlier, (total, path) in zip(runs, best, strict=False):
            if earlier.last < run.first and total > weight:
                weight, chosen = total, path
        best.append((weight + run.last - run.first + 1, [*chosen, run]))
    return max(best, key=lambda found: found[0])[1]


def _changed(position: int, entry: Entry) -> Problem:
    named = is_writer(entry.writer) and entry.seq > 0
    return Problem(
        kind=ProblemKind.ALTERED,
        record=entry.id if named else "",
        position=position,
        text=f"{entry.id if named else 'The entry'} at position {position} was altered: its hash "
        "is not the hash of its content.",
    )


def _copied(position: int, entry: Entry) -> Problem:
    return Problem(
        kind=ProblemKind.DUPLICATED,
        record=entry.id,
        position=position,
        text=f"{entry.id} is there a second time, at position {position}.",
    )


def _misplaced(kind: ProblemKind, position: int, entry: Entry, how: str) -> Problem:
    return Problem(
        kind=kind,
        record=entry.id,
        position=position,
        text=f"Position {position} {how}: {entry.id} has it.",
    )


__all__ = ["Chains"]
