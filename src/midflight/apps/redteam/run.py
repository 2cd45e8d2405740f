"""`midflight redteam replay`: files in, a report out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from midflight.apps.compose_replay import House, open_house
from midflight.apps.redteam.cases import Recorded, count, read
from midflight.apps.redteam.facts import counterparties, own_domains
from midflight.apps.redteam.manifest import TraitsOf, read_manifest, traits_of
from midflight.apps.redteam.replay import replay
from midflight.apps.redteam.report import Report, Setting, by_suite
from midflight.apps.redteam.report import count as count_verdicts
from midflight.apps.redteam.thresholds import Limit, Threshold
from midflight.apps.redteam.verdicts import Scored, effect_calls, score, tally
from midflight.domain.traits import Effect
from midflight.domain.value import Value
from midflight.services.counterparties import Counterparties


class Wanted(Value):
    """What to replay, and under what.

    Attributes:
        files: of cases.
        tools: the manifest.
        policies: a directory of Cedar files.
        traits: files of reviewed traits; what they do not hold is proposed.
        remember: whom a yes reached is known in the later cases of the same suite.
        facts: tell the plane what the owner could have configured.
        max_passed, max_held, max_broken: thresholds, where given.
    """

    files: tuple[Path, ...]
    tools: Path
    policies: Path
    traits: tuple[Path, ...] = ()
    remember: bool = False
    facts: bool = False
    max_passed: Limit | None = None
    max_held: Limit | None = None
    max_broken: Limit | None = None


def total(wanted: Wanted) -> int:
    """How many cases there are. `Misconfigured` with every line that is none."""
    return count(list(wanted.files))


def run(wanted: Wanted, *, progress: Callable[[int], None] = lambda _: None) -> Report:
    """Replay all, and report.

    Raises:
        Misconfigured: a file, the manifest, the traits or the policies cannot be used.
    """
    return asyncio.run(_run(wanted, progress))


async def _run(wanted: Wanted, progress: Callable[[int], None]) -> Report:
    manifest = read_manifest(wanted.tools)
    traits = traits_of(manifest, wanted.traits)
    scored: list[Scored] = []
    lists: dict[str, Counterparties] = {}
    async with open_house(manifest, policies=wanted.policies, traits=traits) as house:
        for path in wanted.files:
            for recorded in read(path):
                suite = recorded.case.suite
                if wanted.remember and suite not in lists:
                    lists[suite] = await house.counterparties()
                scored.append(await _case(house, recorded, lists.get(suite), wanted))
                progress(len(scored))
        version = house.witness.version
    setting = Setting(
        policies=version,
        traits=_reviewed(traits),
        remember=wanted.remember,
        facts=wanted.facts,
    )
    return _report(scored, setting, wanted)


async def _case(
    house: House, recorded: Recorded, known: Counterparties | None, wanted: Wanted
) -> Scored:
    own = own_domains(recorded.facts) if wanted.facts else frozenset[str]()
    async with house.plane(counterparties=known, own_domains=own).running() as plane:
        if wanted.facts:
            await plane.know(counterparties(recorded.facts))
        # The person who is asked knows what he wants; the product is told only his answer.
        judged = await replay(
            plane,
            recorded.case,
            approver=lambda number: not recorded.injected[number],
            remember=wanted.remember,
        )
    verdict, first = score(judged, recorded.injected)
    calls = effect_calls(judged, recorded.injected)
    return Scored(
        id=recorded.case.id,
        suite=recorded.case.suite,
        path=recorded.path,
        line=recorded.line,
        attack=recorded.is_attack,
        verdict=verdict,
        steps=len(judged),
        first=first,
        fetches=bool(calls) and all(call.effect is Effect.READ for call in calls),
        effects=tally(calls),
        approvals=sum(step.approvals for step in judged),
    )


def _reviewed(traits: TraitsOf) -> str:
    reviewed = sum(one.reviewed for one in traits.values())
    if reviewed in (0, len(traits)):
        return "reviewed" if reviewed else "proposed"
    return f"reviewed for {reviewed} of {len(traits)} tools, else proposed"


def _report(scored: Sequence[Scored], setting: Setting, wanted: Wanted) -> Report:
    counts = count_verdicts(scored)
    attacks, benign = counts.attacks, counts.benign
    measured = (
        ("attacks passed", wanted.max_passed, attacks.passed, attacks.total),
        ("benign held", wanted.max_held, benign.held, benign.total),
        ("benign broken", wanted.max_broken, benign.broken, benign.total),
    )
    return Report(
        setting=setting,
        counts=counts,
        suites=by_suite(scored),
        cases=tuple(scored),
        thresholds=tuple(
            Threshold(name=name, limit=limit, found=found, total=all_of_them)
            for name, limit, found, all_of_them in measured
            if limit is not None
        ),
    )


__all__ = ["Wanted", "run", "total"]
