"""A run: one governed execution of a workload for one stated purpose.

Midflight mints it; the caller can neither choose nor share it. Labels, step budget, leases and
revocation hang on it. This file owns the states of a run.
"""

from __future__ import annotations

import enum

from midflight.domain.narrowing import WHOLE, Narrowing
from midflight.domain.value import Value


class RunState(enum.StrEnum):
    """States of a run. Only `open` lets actions pass; every other state is final."""

    OPEN = "open"
    CLOSED = "closed"
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"
    REVOKED = "revoked"


# What may follow what. A test holds the picture in ARCHITECTURE.md against this table.
TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.OPEN: frozenset(
        {RunState.CLOSED, RunState.EXPIRED, RunState.EXHAUSTED, RunState.REVOKED}
    ),
    RunState.CLOSED: frozenset(),
    RunState.EXPIRED: frozenset(),
    RunState.EXHAUSTED: frozenset(),
    RunState.REVOKED: frozenset(),
}


class Run(Value):
    """A run as it was opened; what changes while it lives is state of `services/runs.py`.

    Attributes:
        id: minted by Midflight (`run_` and 26 characters).
        workload: SPIFFE ID of the workload it is for.
        intent: the principal's own words, sealed (`services/sealing.py`), so that the store alone
            does not tell them; None for an implicit run.
        opened_by: who opened it, with how that was proved.
        opened_at, expires_at: Unix seconds.
        idle_timeout: seconds without an action after which it expires.
        max_steps: how many actions it may take.
        salt: secret of the run that keeps digests from being guessed back; never in a record.
        implicit: opened by the first action of a plain client.
        parent: the run that delegated to this one, or None.
        ancestors: its parent, the parent's parent and so on: whatever ends one of them ends it.
        narrowed: what is left to it of what its parent may do.
        delegated: the words it was given by whoever delegated, sealed as `intent` is. They are
            data with the parent's labels, and no intent.
    """

    id: str
    workload: str
    intent: str | None
    opened_by: str
    opened_at: int
    expires_at: int
    idle_timeout: int
    max_steps: int
    salt: str
    implicit: bool = False
    parent: str | None = None
    ancestors: tuple[str, ...] = ()
    narrowed: Narrowing = WHOLE
    delegated: str | None = None

    @property
    def depth(self) -> int:
        """How many runs it descends from."""
        return len(self.ancestors)

    @property
    def lineage(self) -> tuple[str, ...]:
        """Its id and those above it: what ends one of them ends it."""
        return self.id, *self.ancestors

    def __repr__(self) -> str:
        return f"Run(id={self.id!r}, workload={self.workload!r})"


def may_follow(before: RunState, after: RunState) -> bool:
    """Whether a run in state `before` may go to `after`."""
    return after in TRANSITIONS[before]


__all__ = ["TRANSITIONS", "Run", "RunState", "may_follow"]
