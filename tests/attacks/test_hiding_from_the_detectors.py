"""Being found is in the way: many runs, child runs, other names, going slowly, filling memory.

What is found nevertheless is shown here, and so is what is not: `docs/detectors.md` says so, under
"What they do not see", and a change of either must change both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from plain_kit import after, event, refused, said

from midflight.apps.compose_detectors import sequence_rules
from midflight.domain.action import Action, ActionKind
from midflight.domain.event import Event
from midflight.domain.finding import Finding, Strength
from midflight.domain.traits import Effect, Reach
from midflight.services.detectors.fuzzing import (
    REFUSED_FOUND,
    RUNS_NOTED,
    WORKLOAD_FOUND,
    Fuzzing,
)
from midflight.services.detectors.fuzzing import RUN_WINDOW_S as FUZZING_WINDOW_S
from midflight.services.detectors.kept import RUNS
from midflight.services.detectors.plain import Plain
from midflight.services.detectors.probing import RUN_FOUND, SLOW_FOUND, SLOW_WINDOW_S, Probing
from midflight.services.detectors.probing import WORKLOAD_FOUND as PROBING_WORKLOAD_FOUND
from midflight.services.detectors.sequence import Sequence
from midflight.testing import (
    OPERATOR,
    FixedEngine,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
    refuse,
)

FAIR = Strength.FAIR


def probes(count: int, **given: Any) -> Iterator[Event]:
    """`run` and `mono` may be functions of the number."""
    for number in range(count):
        yield refused(
            f"x{number}", **{k: v(number) if callable(v) else v for k, v in given.items()}
        )


def walk(**given: Any) -> list[Event]:
    """Recon, grant, effect; `given` as in `probes`."""
    effects = [Effect.READ] * 3 + [Effect.GRANT, Effect.PAY]
    return [
        event(
            f"t{number}",
            effect=effect,
            reach=Reach.OPEN,
            **{k: v(number) if callable(v) else v for k, v in given.items()},
        )
        for number, effect in enumerate(effects)
    ]


# Found nevertheless


def test_probing_in_many_runs() -> None:
    one_each = probes(100, run=lambda n: f"run_{n}")
    assert after(Probing(), one_each, FAIR) == PROBING_WORKLOAD_FOUND


def test_probing_slowly() -> None:
    pause = SLOW_WINDOW_S / (SLOW_FOUND + 1)
    slowly = probes(100, run=lambda n: f"run_{n}", mono=lambda n: n * pause)
    assert after(Probing(), slowly, FAIR) == SLOW_FOUND


def test_probing_between_retries_of_something_harmless() -> None:
    mixed = [each for probe in probes(RUN_FOUND) for each in (probe, *[refused("stuck")] * 20)]
    # The harmless one is one refusal more.
    assert 0 < after(Probing(), mixed, FAIR) <= len(mixed)


def test_fuzzing_in_many_runs() -> None:
    tries = [refused("pay", run=f"run_{n // 4}") for n in range(4 * WORKLOAD_FOUND)]
    assert 0 < after(Fuzzing(), tries, FAIR) <= 2 * WORKLOAD_FOUND


def test_a_sequence_shared_by_child_runs_of_other_agents() -> None:
    parts = walk(run=lambda n: f"run_{n}", family="run_0", workload=lambda n: f"agent {n}")
    assert after(Sequence(sequence_rules()), parts, FAIR) == len(parts)


def test_a_sequence_whose_end_is_refused() -> None:
    parts = walk()
    last = refused("t4", effect=Effect.PAY, reach=Reach.OPEN)
    assert after(Sequence(sequence_rules()), [*parts[:-1], last], FAIR) == len(parts)


def test_waiting_out_the_run_does_not_forget_the_workload() -> None:
    probing = Probing()
    found = 0
    for number in range(PROBING_WORKLOAD_FOUND):
        found += len(said(probing, probes(1, run=f"run_{number}", policies=(f"p{number}",))))
        probing.run_ended(f"run_{number}")
    assert found == 1


def test_flooding_a_detector_with_runs_does_not_make_it_forget_the_workload() -> None:
    probing = Probing()
    said(probing, probes(PROBING_WORKLOAD_FOUND - 1, run=lambda n: f"run_{n}"))
    said(probing, (refused("x0", run=f"flood_{n}") for n in range(RUNS + 10)))
    assert after(probing, [refused("last", run="run_last")], FAIR) == 1


@pytest.mark.anyio
async def test_probing_from_child_runs_and_under_invented_names() -> None:
    tools = [{"name": "look", "inputSchema": {"type": "object"}}]
    plane = MemoryPlane(upstream=ScriptedUpstream("one", tools), plain=Plain(sequence_rules()))
    found: list[Finding] = []
    plane.detection.respond_with(found.append)
    await plane.start()
    workload = plane.inventory.all()[0]
    number = 0
    while not [each for each in found if each.strength >= FAIR]:
        run = await plane.runs.open_run(workload=workload, intent="Look.", author=OPERATOR)
        await plane.guard.perform(call(f"\u0430dmin_{number}"), caller(run.id), sink=ListSink())
        number += 1
    assert number == PROBING_WORKLOAD_FOUND
    assert found[-1].workload == workload.id
    await plane.close()


KINDS = {
    ActionKind.CALL_TOOL: "tools/call",
    ActionKind.READ_RESOURCE: "resources/read",
    ActionKind.GET_PROMPT: "prompts/get",
    ActionKind.COMPLETE: "completion/complete",
    ActionKind.SUBSCRIBE: "resources/subscribe",
    ActionKind.TASK: "tasks/get",
    ActionKind.LIST: "resources/list",
    ActionKind.NOTIFY: "logging/setLevel",
}


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_probing_by_any_kind_of_message(kind: ActionKind) -> None:
    """Lists that Midflight answers from its own memory apart: there is nothing to be refused."""
    tools = [{"name": "look", "inputSchema": {"type": "object"}}]
    plane = MemoryPlane(
        upstream=ScriptedUpstream("one", tools),
        engine=FixedEngine(lambda _: refuse()),
        plain=Plain(sequence_rules()),
    )
    found: list[Finding] = []
    plane.detection.respond_with(found.append)
    await plane.start()
    workload = plane.inventory.all()[0]
    run = await plane.runs.open_run(workload=workload, intent="Look.", author=OPERATOR)
    fixed = kind in (ActionKind.LIST, ActionKind.NOTIFY)  # these have no name but the method's
    for number in range(max(RUN_FOUND, REFUSED_FOUND)):
        action = Action(
            kind=kind,
            upstream="one",
            name=KINDS[kind] if fixed else f"file:///{number}",
            method=KINDS[kind],
            arguments={"number": number},
        )
        await plane.guard.perform(action, caller(run.id), sink=ListSink())
    assert [each.detector for each in found if each.strength >= FAIR] == [
        "fuzzing" if fixed else "probing"
    ]
    await plane.close()


# Not found: what the documentation owns up to


def test_probing_slower_than_a_day_is_not_found() -> None:
    pause = SLOW_WINDOW_S / (SLOW_FOUND - 1) + 1
    slower = probes(200, run=lambda n: f"run_{n}", mono=lambda n: n * pause)
    assert after(Probing(), slower, FAIR) == 0


def test_fuzzing_once_a_run_is_noted_at_most() -> None:
    once = [refused("pay", run=f"run_{n}") for n in range(1_000)]
    assert after(Fuzzing(), once, FAIR) == 0
    assert after(Fuzzing(), once, Strength.WEAK) == RUNS_NOTED
    assert len(said(Fuzzing(), once)) == 1


def test_fuzzing_slowly_in_one_run_is_not_found_as_such() -> None:
    pause = FUZZING_WINDOW_S / (REFUSED_FOUND - 1) + 1
    slowly = [refused("pay", mono=n * pause) for n in range(9)]
    assert after(Fuzzing(), slowly, FAIR) == 0


def test_a_sequence_over_unrelated_runs_is_at_most_noted() -> None:
    parts = walk(run=lambda n: f"run_{n}", family=lambda n: f"run_{n}")
    assert after(Sequence(sequence_rules()), parts, FAIR) == 0
    assert after(Sequence(sequence_rules()), parts, Strength.WEAK) == len(parts)


def test_a_sequence_slower_than_its_time_is_not_found() -> None:
    assert after(Sequence(sequence_rules()), walk(mono=lambda n: n * 1_000.0), FAIR) == 0
