"""What is told of each record that a sink is given."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.services.ports.export import Exportable
from midflight.wire.export.telling import Place, Told, tell, tell_damage


def told(batch: Sequence[Exportable], *, now: float) -> list[Told]:
    """What is told of each; damage, which has no time of its own, at `now`."""
    found: list[Told] = []
    for each in batch:
        place = Place(record=each.record, kind=each.kind, position=each.position)
        if each.value is None:
            found.append(tell_damage(place, each.damage, at=now))
        elif (one := tell(place, each.value, each.facts)) is not None:
            found.append(one)
    return found


__all__ = ["told"]
