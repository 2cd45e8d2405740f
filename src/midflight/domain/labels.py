"""Labels: marks on data that join and never go away by themselves.

Integrity: `trusted` > `untrusted`. Confidentiality: `public` < `internal` < `secret`, plus named
compartments. A run carries the join of everything it has seen, with the record that brought each
part. In this form a whole result carries one label; fields come with provenance.
"""

from __future__ import annotations

import enum

from midflight.domain.value import Value


class Confidentiality(enum.IntEnum):
    """How far data may go; larger is more confidential."""

    PUBLIC = 0
    INTERNAL = 1
    SECRET = 2


class Labels(Value):
    """A point of the label lattice.

    Attributes:
        untrusted: some of the data was written by somebody outside.
        confidentiality: the most confidential class seen.
        compartments: named compartments seen.
    """

    untrusted: bool = False
    confidentiality: Confidentiality = Confidentiality.PUBLIC
    compartments: frozenset[str] = frozenset()

    def join(self, other: Labels) -> Labels:
        """Least upper bound: associative, commutative, idempotent."""
        if self.covers(other):
            return self
        if other.covers(self):
            return other
        return Labels(
            untrusted=self.untrusted or other.untrusted,
            confidentiality=max(self.confidentiality, other.confidentiality),
            compartments=self.compartments | other.compartments,
        )

    def covers(self, other: Labels) -> bool:
        """Whether joining `other` would change nothing."""
        return (
            (self.untrusted or not other.untrusted)
            and self.confidentiality >= other.confidentiality
            and self.compartments >= other.compartments
        )

    def described(self) -> str:
        """For people: `untrusted secret customers`."""
        parts = ["untrusted" if self.untrusted else "trusted", self.confidentiality.name.lower()]
        return " ".join([*parts, *sorted(self.compartments)])


SUSPECTED = "suspected-injection"
"""The compartment of runs that have read what looks like instructions: a mark, and no data."""

BOTTOM = Labels()
UNTRUSTED = Labels(untrusted=True)

__all__ = ["BOTTOM", "SUSPECTED", "UNTRUSTED", "Confidentiality", "Labels"]
