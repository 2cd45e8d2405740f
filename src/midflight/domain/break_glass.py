"""Break-glass: a named person lets pass, for a time, what people would have been asked about.

    open ──► closed    a person, a revocation, or its time ended it
    reviewed           another person has looked at what passed; until then it is listed

It turns a challenge of one workload into a permit and nothing else: what policy denies, a pin, a
revocation, a canary and a limit hold. Pure: `services/break_glass.py` keeps it.
"""

from __future__ import annotations

import msgspec

from midflight.domain.errors import Conflict, Forbidden
from midflight.domain.value import Value

PREFIX = "brk_"


class BreakGlass(Value):
    """One opening.

    Attributes:
        id: `brk_` and 26 characters: what records of actions name as their approval.
        workload, owner: whom it is for, and who answered for it then.
        author, proof: who opened it, and how that was established.
        reason: why, in words.
        opened_at, ends_at: Unix seconds.
        boot, mono_end: which start of the machine, and where its monotonic clock ends it: setting
            the wall clock back prolongs nothing.
        uses: how many actions passed by it, as last written down.
        closed_at, closed_by, why: how it ended; 0 while it is open.
        reviewed_at, reviewed_by, note: who looked at it afterwards, and what he says.
    """

    id: str
    workload: str
    owner: str
    author: str
    proof: str
    reason: str
    opened_at: int
    ends_at: int
    boot: str
    mono_end: float
    uses: int = 0
    closed_at: int = 0
    closed_by: str = ""
    why: str = ""
    reviewed_at: int = 0
    reviewed_by: str = ""
    note: str = ""

    @property
    def is_reviewed(self) -> bool:
        """Whether somebody has looked at it."""
        return self.reviewed_at > 0

    def is_open(self, *, now: float, mono: float, boot: str) -> bool:
        """Whether it lets pass now: before its end on every clock that can say so."""
        if self.closed_at or not self.opened_at <= now < self.ends_at:
            return False
        # On another start of the machine the monotonic clock says nothing; the wall clock does.
        return self.boot != boot or mono < self.mono_end


def closed(entry: BreakGlass, *, at: int, by: str, why: str) -> BreakGlass:
    """After its end. One that has ended stays as it is."""
    if entry.closed_at:
        return entry
    return msgspec.structs.replace(entry, closed_at=max(1, at), closed_by=by, why=why)


def reviewed(entry: BreakGlass, *, at: int, by: str, proof: str, note: str) -> BreakGlass:
    """After somebody else has looked at it.

    Raises:
        Conflict: it is open, or reviewed; or there is no note.
        Forbidden: who opened it does not review it.
    """
    if not entry.closed_at:
        raise Conflict(
            f"{entry.id} is still open.", hint=f"midflight break-glass close {entry.id} first."
        )
    if entry.is_reviewed:
        raise Conflict(f"{entry.reviewed_by} has reviewed {entry.id} already.")
    if by == entry.author or proof == entry.proof:
        raise Forbidden(
            f"{by} opened {entry.id}, so somebody else reviews it.",
            hint="Ask another operator to look at what passed.",
        )
    if not note.strip():
        raise Conflict("A review says what was found.", hint="Add --note.")
    return msgspec.structs.replace(entry, reviewed_at=max(1, at), reviewed_by=by, note=note.strip())


__all__ = ["PREFIX", "BreakGlass", "closed", "reviewed"]
