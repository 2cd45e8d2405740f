"""Which registration entries somebody's selectors match: an index, so that asking is cheap.

Each entry stands under one of its strong selectors, the one with the fewest entries; asking costs
one look per selector that was found, and the entries that stand there. An entry of weak selectors
alone stands nowhere. Not here: whether its workload may act (`registration.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from midflight.domain.attestation import Entry, Selector


class EntryIndex:
    """Entries by a strong selector."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._under: dict[Selector, dict[str, Entry]] = {}
        self._place: dict[str, Selector] = {}
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Take an entry in, in place of the one of its id."""
        self.remove(entry.id)
        strong = sorted(selector for selector in entry.selectors if not selector.weak)
        if not strong:
            return
        place = min(strong, key=lambda selector: len(self._under.get(selector, ())))
        self._under.setdefault(place, {})[entry.id] = entry
        self._place[entry.id] = place

    def remove(self, entry_id: str) -> None:
        """Forget an entry, if it is there."""
        place = self._place.pop(entry_id, None)
        if place is None:
            return
        entries = self._under[place]
        del entries[entry_id]
        if not entries:
            del self._under[place]

    def matching(self, found: frozenset[Selector]) -> list[Entry]:
        """The entries all of whose selectors were found, by id."""
        hit = [
            entry
            for selector in found
            for entry in self._under.get(selector, {}).values()
            if entry.matches(found)
        ]
        return sorted(hit, key=lambda entry: entry.id)


__all__ = ["EntryIndex"]
