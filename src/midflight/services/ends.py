"""Ends of rights by whichever clock comes first: a wall clock that is set back prolongs none.

What is kept until a Unix time is anchored when it is made, or first seen, here; from then on its
time is the later of the wall's and of what the clock that nobody can set has added to the anchor.
After a start the anchor is as late as the last that is on record. Above: `approvals.py`,
`approver_accounts.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from midflight.services.ports.clock import Clock


class Ends:
    """See the module. One entry for each thing that has not ended yet."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        # Wall time less monotonic time where it was anchored, and its end in Unix seconds.
        self._anchors: dict[str, tuple[float, float]] = {}

    def now(self, key: str, *, ends_at: float, since: float = 0.0) -> float:
        """Unix seconds for a thing; anchored at the first call, at `since` if that is later."""
        if key in self._anchors:
            return self.known(key)
        now = max(self._clock.now(), since)
        if now < ends_at:
            self._anchors[key] = (now - self._clock.monotonic(), ends_at)
        return now

    def known(self, key: str) -> float:
        """Unix seconds for a thing, by the wall alone where it is not anchored."""
        wall, found = self._clock.now(), self._anchors.get(key)
        return wall if found is None else max(wall, found[0] + self._clock.monotonic())

    def over(self) -> Sequence[str]:
        """Whose end has come; they stay until they are forgotten."""
        wall, mono = self._clock.now(), self._clock.monotonic()
        return [
            key
            for key, (anchor, ends_at) in self._anchors.items()
            if max(wall, anchor + mono) >= ends_at
        ]

    def prune(self) -> None:
        """Forget what the wall clock alone ends by now."""
        wall = self._clock.now()
        self._anchors = {key: kept for key, kept in self._anchors.items() if wall < kept[1]}

    def forget(self, key: str) -> None:
        """It is ended where it is kept, so its time does not matter any more."""
        self._anchors.pop(key, None)


__all__ = ["Ends"]
