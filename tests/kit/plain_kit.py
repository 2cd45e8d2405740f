"""Events in few words, and what a detector says of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from midflight.domain.decision import DenyCode
from midflight.domain.event import Event
from midflight.domain.finding import Sighting
from midflight.domain.labels import Confidentiality, Labels
from midflight.domain.records import Terminal
from midflight.services.detection import Detector

_NUMBERS = itertools.count(1)
SECRET = Confidentiality.SECRET


def labels(*compartments: str, untrusted: bool = False, secret: bool = False) -> Labels:
    return Labels(
        untrusted=untrusted,
        confidentiality=SECRET if secret else Confidentiality.PUBLIC,
        compartments=frozenset(compartments),
    )


def event(name: str = "look", **given: Any) -> Event:
    """A permitted call that is about to leave; `given` overrides."""
    number = next(_NUMBERS)
    base: dict[str, Any] = {
        "at": 1_800_000_000.0,
        "mono": 1_000.0,
        "record": f"rec_{number}",
        "state": None,
        "workload": "spiffe://test.midflight.internal/agents/one",
        "owner": "team-one",
        "run": "run_1",
        "upstream": "one",
        "name": name,
        "kind": "call_tool",
        "digest": f"digest {number}",
    }
    base.update(given)
    base.setdefault("family", base["run"])
    return Event(**base)


def refused(name: str = "look", **given: Any) -> Event:
    """A call that policy refused."""
    return event(
        name,
        **{"state": Terminal.DENIED, "code": DenyCode.POLICY, "policies": ("p",)} | given,
    )


def ended(name: str = "look", **given: Any) -> Event:
    """A call that was answered."""
    return event(name, **{"state": Terminal.DONE} | given)


def said(detector: Detector, events: Iterable[Event]) -> list[Sighting]:
    """All that it says, in order."""
    return [found for each in events if (found := detector.see(each)) is not None]


def after(detector: Detector, events: Iterable[Event], least: int) -> int:
    """How many events it takes until something at least so strong is said; 0 for never."""
    for number, each in enumerate(events, start=1):
        found = detector.see(each)
        if found is not None and found.strength >= least:
            return number
    return 0


class Told:
    """A `Tell` that keeps what it is told."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Sighting, dict[str, str]]] = []

    def __call__(self, detector: str, sighting: Sighting, **about: str) -> str:
        self.found.append((detector, sighting, about))
        return "rec"
