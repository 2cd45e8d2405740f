"""A family of runs under the real standard pack, and findings about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from family_kit import Family, family

import midflight
from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.compiler import CedarCompiler
from midflight.adapters.policy.parsing import CedarSet
from midflight.domain.event import Event
from midflight.domain.finding import Finding, Sighting, Strength
from midflight.domain.records import Responded
from midflight.domain.response import Response
from midflight.domain.response_rules import ResponseRules
from midflight.services.policy_files import read_sources
from midflight.services.ports.policy_sets import PolicySource
from midflight.services.response_files import FILE, parse_responses
from midflight.testing import WORKLOAD

STANDARD = Path(midflight.__file__).parent / "policies" / "standard"


def standard() -> CedarSet:
    """The standard pack, as it is shipped."""
    return CedarCompiler().parse(read_sources(STANDARD))


def rules(text: str) -> ResponseRules:
    """What a `responses.toml` says, which must have no problem."""
    found, problems = parse_responses([PolicySource(name=FILE, text=text)])
    assert problems == []
    assert found is not None
    return found


class Pointing:
    """A detector that finds something in the calls of some tools, before they leave."""

    def __init__(self, name: str = "probing", **tools: Strength) -> None:
        self.name = name
        self.tools = tools

    def see(self, event: Event) -> Sighting | None:
        if event.state is not None or event.name not in self.tools:
            return None
        return Sighting(strength=self.tools[event.name], seen=f"a call of {event.name}")

    def run_ended(self, run: str) -> None:
        del run


async def held_family(responses: str = "", **parts: Any) -> Family:
    """A plane with the standard pack and these responses, or those of the pack."""
    pack = standard()
    plane = await family(**{"engine": CedarEngine(pack)} | parts)
    take(plane, pack, responses)
    return plane


async def after_crash(plane: Family, responses: str = "", **parts: Any) -> Family:
    """The plane after one: what was in memory is gone."""
    pack = standard()
    after = await plane.again(engine=CedarEngine(pack, plane.engine.targets), **parts)  # type: ignore[attr-defined]
    take(after, pack, responses)
    await after.catalogue.refresh("one")
    return after


def take(plane: Family, pack: CedarSet, responses: str) -> None:
    plane.monitors.declare(pack.monitors)
    used = rules(responses) if responses else pack.responses
    assert used is not None
    plane.responses.use(used)


def find(
    plane: Family,
    run: str = "",
    *,
    detector: str = "probing",
    strength: Strength = Strength.FAIR,
    workload: str = WORKLOAD,
) -> Finding:
    """Something is found, by a detector or by somebody else."""
    found = Finding(
        id=f"fnd_{plane.clock.token()}",
        at=plane.clock.now(),
        detector=detector,
        strength=strength,
        workload=workload,
        run=run,
        seen="something",
    )
    plane.detection.found(found)
    return found


def held(plane: Family) -> list[Response]:
    """What is in force."""
    return [each.response for each in plane.response_desk.listing()]


async def responded(plane: Family) -> list[Response]:
    """What is on record."""
    return [r.response for r in await plane.records() if isinstance(r, Responded)]
