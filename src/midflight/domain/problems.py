"""What an offline verifier may find wrong with a ledger, and its report."""

from __future__ import annotations

import enum

from midflight.domain.value import Value


class ProblemKind(enum.StrEnum):
    """Kinds of problems; scripts read them: append, never change."""

    ALTERED = "altered"
    DROPPED = "dropped"
    REORDERED = "reordered"
    DUPLICATED = "duplicated"
    REWRITTEN = "rewritten"
    CUT_TAIL = "cut_tail"
    BAD_CHECKPOINT = "bad_checkpoint"
    UNREADABLE = "unreadable"
    TWO_OUTCOMES = "two_outcomes"
    NO_INTENT = "no_intent"
    NO_OUTCOME = "no_outcome"
    AFTER_END = "after_end"


class Problem(Value):
    """One thing that is wrong.

    Attributes:
        kind: what happened.
        text: the finding in one sentence.
        record: id of the record it is about; empty when only positions are known.
        position: where that record stands, or stood; None when only its id is known.
        last_record, last_position: the other end, when it is about several in a row.
    """

    kind: ProblemKind
    text: str
    record: str = ""
    position: int | None = None
    last_record: str = ""
    last_position: int | None = None


class Report(Value):
    """What verification found.

    Attributes:
        problems: the first thousand, those of the chain before those of the records.
        more: how many others there are.
        entries, writers, intents, outcomes, checkpoints: how many were read.
        open: ids of the first hundred intents of writers that have not ended, still without an
            outcome: in flight, or awaiting the recovery of the next start. Not a failure.
        open_count: how many of those there are.
        signed_up_to: the last position under a checkpoint whose signature and root hold; 0 for
            none. Whoever can write the file can forge what lies behind it.
        published_up_to: the same for the checkpoint that was given from outside; None without
            one. Whoever holds the signing key too can forge what lies behind this one.
        root: Merkle root over all entries, in hex.
    """

    problems: tuple[Problem, ...]
    more: int
    entries: int
    writers: int
    intents: int
    outcomes: int
    checkpoints: int
    open: tuple[str, ...]
    open_count: int
    signed_up_to: int
    published_up_to: int | None
    root: str

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong, as far as the checkpoints reach."""
        return not self.problems


__all__ = ["Problem", "ProblemKind", "Report"]
