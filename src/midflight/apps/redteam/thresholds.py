"""Limits that a team sets for its own releases: a count (`3`) or a share (`0.5%`). Pure."""

from __future__ import annotations

import math
import re

from midflight.domain.errors import Malformed
from midflight.domain.value import Value

_FORM = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(%?)\Z")


class Limit(Value):
    """At most so many, or at most such a share (0 to 1) of them."""

    amount: float
    is_share: bool

    def __str__(self) -> str:
        return f"{self.amount * 100:g}%" if self.is_share else f"{self.amount:g}"


class Threshold(Value):
    """A limit and what was measured. A share of nothing is zero."""

    name: str
    limit: Limit
    found: int
    total: int

    @property
    def met(self) -> bool:
        """Whether the limit is kept."""
        if self.limit.is_share:
            # Compared as counts: a share such as 0.5% has no exact float.
            return self.found <= self.limit.amount * self.total + 1e-9
        return self.found <= self.limit.amount

    def __str__(self) -> str:
        share = f" ({self.found / self.total:.2%})" if self.total else ""
        return f"{self.name}: {self.found} of {self.total}{share}, at most {self.limit}"


def parse_limit(text: str) -> Limit:
    """`3` or `0.5%`.

    Raises:
        Malformed: it is neither.
    """
    found = _FORM.match(text.strip())
    if found is None:
        raise Malformed(f"{text!r} is no limit.", hint="Give a count (3) or a share (0.5%).")
    amount, percent = float(found[1]), bool(found[2])
    if percent and amount > 100:
        raise Malformed(f"{text!r} is more than all.", hint="A share is at most 100%.")
    if not percent and not math.isclose(amount, round(amount)):
        raise Malformed(f"{text!r} is no count.", hint="A share is written with a %: 0.5%.")
    return Limit(amount=amount / 100 if percent else amount, is_share=percent)


__all__ = ["Limit", "Threshold", "parse_limit"]
