"""Label escalation: what a run has seen jumps, and then it acts.

Labels grow by what comes back: words of strangers, secrets, compartments. Within a short time both
the words of a stranger and a secret, or several compartments at once, is how a run is turned: it is
noted when the first effect follows, and found when effects go on. What a person has said yes to is
no sign. Labels alone are policy's business.
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


class _Growth:
    """How the labels of one run grew."""

    __slots__ = ("compartments", "effects", "jumped", "labels", "records", "secret", "untrusted")

    def __init__(self) -> None:
        self.labels: Labels = BOTTOM
        self.untrusted = -1e18
        self.secret = -1e18
        self.compartments: deque[float] = deque(maxlen=COMPARTMENTS)
        self.jumped = False
        self.effects = 0
        self.records: deque[str] = deque(maxlen=FOUND_AFTER + 1)


class Escalation:
    """See the module."""

    name = "escalation"

    def __init__(self) -> None:
        """No run has seen anything."""
        self._runs: Kept[str, _Growth] = Kept(_Growth, bound=RUNS)

    def see(self, event: Event) -> Sighting | None:
        """Look at one event: what its run has seen by now, and whether it acts."""
        labels = event.labels
        if labels == BOTTOM or not event.run:
            return None
        run = self._runs.of(event.run)
        if labels is not run.labels and labels != run.labels:
            _grow(run, labels, event)
        if not run.jumped or event.state is not None or event.approved:
            return None
        if event.effect in _HARMLESS or event.reach is not Reach.OPEN:
            return None
        run.effects += 1
        run.records.append(event.record)
        if run.effects not in (NOTED_AFTER, FOUND_AFTER):
            return None
        return Sighting(
            strength=Strength.WEAK if run.effects < FOUND_AFTER else Strength.FAIR,
            seen=f"{run.effects} effect{'s'[: run.effects > 1]} after the run came to be "
            f"{run.labels.described()} within {int(JUMP_S) // 60} minutes",
            after=run.effects,
            records=tuple(run.records),
        )

    def run_ended(self, run: str) -> None:
        """Forget it."""
        self._runs.drop(run)


def _grow(run: _Growth, labels: Labels, event: Event) -> None:
    before, now = run.labels, event.mono
    run.labels = before.join(labels)
    if labels.untrusted and not before.untrusted:
        run.untrusted = now
    secret = Confidentiality.SECRET
    if labels.confidentiality >= secret and before.confidentiality < secret:
        run.secret = now
    for _ in labels.compartments - before.compartments - {SUSPECTED}:
        run.compartments.append(now)
    both = run.untrusted >= 0 and run.secret >= 0 and abs(run.untrusted - run.secret) <= JUMP_S
    many = len(run.compartments) == COMPARTMENTS and now - run.compartments[0] <= JUMP_S
    if (both or many) and not run.jumped:
        run.jumped = True
        run.records.append(event.record)


__all__ = ["COMPARTMENTS", "FOUND_AFTER", "JUMP_S", "NOTED_AFTER", "Escalation"]
