"""Label escalation: what a run has seen jumps, and then it acts.

Labels grow by what comes back: words of strangers, secrets, compartments. Within a short time both
the words of a stranger and a secret, or several compartments at once, is how a run is turned: it is
noted when the first effect follows, and found when effects go on; again when they are twice as
many. Growth and effects are counted over a run and all that descend from it, so that no child run
begins anew. An effect counts if the run that acts has all of that in its own labels. What a person
has said yes to is no sign. Labels alone are policy's business.
"""

from __future__ import annotations

from collections import deque

from midflight.domain.event import Event
from midflight.domain.finding import Sighting, Strength
from midflight.domain.labels import BOTTOM, SUSPECTED, Confidentiality, Labels
from midflight.domain.traits import Effect, Reach
from midflight.services.detectors.kept import RUNS, Kept

JUMP_S = 300.0
"""Within how many seconds labels must have grown for it to be a jump."""
COMPARTMENTS = 3
"""New compartments within that time that are one."""
NOTED_AFTER, FOUND_AFTER = 1, 3
"""Effects on the outside that follow: a weak finding, and a fair one."""

_HARMLESS = frozenset({Effect.READ, Effect.INSTRUCT})
_LONG_AGO = -1e18


class _Growth:
    """How the labels of a family of runs grew, and what followed."""

    __slots__ = (
        "both",
        "compartments",
        "effects",
        "labels",
        "many",
        "next",
        "records",
        "secret",
        "untrusted",
    )

    def __init__(self) -> None:
        self.labels: Labels = BOTTOM
        self.untrusted = _LONG_AGO
        self.secret = _LONG_AGO
        self.compartments: deque[float] = deque(maxlen=COMPARTMENTS)
        self.both = False
        """A stranger's words and a secret came at once."""
        self.many = False
        """Several compartments did."""
        self.effects = 0
        self.next = FOUND_AFTER
        self.records: deque[str] = deque(maxlen=FOUND_AFTER + 1)


class Escalation:
    """See the module."""

    name = "escalation"

    def __init__(self) -> None:
        """No run has seen anything."""
        self._families: Kept[str, _Growth] = Kept(_Growth, bound=RUNS)

    def see(self, event: Event) -> Sighting | None:
        """Look at one event: what its run has seen by now, and whether it acts."""
        labels = event.labels
        if labels == BOTTOM or not event.run:
            return None
        family = self._families.of(event.family or event.run)
        if labels is not family.labels and not family.labels.covers(labels):
            _grow(family, labels, event)
        if event.state is not None or event.approved or not _has(family, labels):
            return None
        if event.effect in _HARMLESS or event.reach is not Reach.OPEN:
            return None
        family.effects += 1
        family.records.append(event.record)
        if family.effects >= family.next:
            family.next *= 2
            strength = Strength.FAIR
        elif family.effects == NOTED_AFTER:
            strength = Strength.WEAK
        else:
            return None
        return Sighting(
            strength=strength,
            seen=f"{family.effects} effect{'s'[: family.effects > 1]} after the run came to be "
            f"{labels.described()} within {int(JUMP_S) // 60} minutes",
            after=family.effects,
            records=tuple(family.records),
        )

    def run_ended(self, run: str) -> None:
        """Forget the family, if it was the first run of one."""
        self._families.drop(run)


def _has(family: _Growth, labels: Labels) -> bool:
    """Whether a run with these labels has itself what its family got at once."""
    if family.both and labels.untrusted and labels.confidentiality >= Confidentiality.SECRET:
        return True
    return family.many and len(labels.compartments - {SUSPECTED}) >= COMPARTMENTS


def _grow(family: _Growth, labels: Labels, event: Event) -> None:
    before, now = family.labels, event.mono
    family.labels = before.join(labels)
    if labels.untrusted and not before.untrusted:
        family.untrusted = now
    secret = Confidentiality.SECRET
    if labels.confidentiality >= secret and before.confidentiality < secret:
        family.secret = now
    for _ in labels.compartments - before.compartments - {SUSPECTED}:
        family.compartments.append(now)
    had = family.both or family.many
    if family.untrusted >= 0 and family.secret >= 0:
        family.both = abs(family.untrusted - family.secret) <= JUMP_S
    if len(family.compartments) == COMPARTMENTS and now - family.compartments[0] <= JUMP_S:
        family.many = True
    if (family.both or family.many) and not had:
        family.records.append(event.record)


__all__ = ["COMPARTMENTS", "FOUND_AFTER", "JUMP_S", "NOTED_AFTER", "Escalation"]
