"""The revocations in force in this process: a set with lifts and ends. No I/O.

The same set comes of a log however often its entries are read, and in whatever order a revocation
and its lift stand in it. Above: `interruption.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.services.ports.clock import Clock

_ROUNDING_S = 1e-3
"""Unix seconds as a float are exact to some 0.2 µs, and are subtracted here."""


class _Entry:
    __slots__ = ("ends", "revocation")

    def __init__(self, revocation: Revocation, clock: Clock) -> None:
        self.revocation = revocation
        # By the clock that nobody can set: a wall clock that is set ahead ends nothing early.
        self.ends = (
            None
            if revocation.until is None
            else clock.monotonic() + max(0.0, revocation.until - clock.now()) - _ROUNDING_S
        )


class RevocationSet:
    """See the module."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[tuple[ScopeKind, str], dict[str, _Entry]] = {}
        self._lifted: set[str] = set()

    def put(self, revocation: Revocation) -> bool:
        """Put an entry of the log into force. False if it changes nothing here."""
        key = (revocation.scope.kind, revocation.scope.id)
        if revocation.lifts is not None:
            if revocation.lifts in self._lifted:
                return False
            # Remembered, as the log may bring the revocation after its lift.
            self._lifted.add(revocation.lifts)
            entries = self._entries.get(key, {})
            entries.pop(revocation.lifts, None)
            if not entries:
                self._entries.pop(key, None)
            return True
        if revocation.id in self._lifted:
            return False
        entries = self._entries.setdefault(key, {})
        if revocation.id in entries:
            return False
        entries[revocation.id] = _Entry(revocation, self._clock)
        return True

    def held(self, scope: Scope, revocation_id: str) -> Revocation | None:
        """The entry of this id that was put in and not lifted, or None."""
        found = self._entries.get((scope.kind, scope.id), {}).get(revocation_id)
        return None if found is None else found.revocation

    def covering(self, scopes: Iterable[tuple[ScopeKind, str]]) -> Revocation | None:
        """The revocation that covers any of the scopes now, or None. O(1) each."""
        if not self._entries:
            return None
        for scope in scopes:
            for entry in self._entries.get(scope, {}).values():
                if self._is_in_force(entry):
                    return entry.revocation
        return None

    def listing(self) -> Sequence[Revocation]:
        """Those in force, oldest first."""
        found = [
            entry.revocation
            for entries in self._entries.values()
            for entry in entries.values()
            if self._is_in_force(entry)
        ]
        return sorted(found, key=lambda revocation: revocation.at)

    def _is_in_force(self, entry: _Entry) -> bool:
        """Until both clocks say that it is over: the wall's may be set, ours begins anew."""
        until = entry.revocation.until
        return (
            until is None
            or entry.ends is None
            or until > self._clock.now()
            or entry.ends > self._clock.monotonic()
        )


__all__ = ["RevocationSet"]
