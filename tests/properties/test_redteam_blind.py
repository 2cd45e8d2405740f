"""What is for scoring never reaches the product: who wanted a call, and what was poisoned.

Two recordings that differ only in that must put the same questions, in the same words, with the
same facts. A spy stands where the engine is asked and where upstreams are called.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from redteam_kit import LIBRARY, TOOLS, World, case, read_card, step, tell

from midflight.apps.compose_replay import House, ReplayPlane, open_house
from midflight.apps.redteam.cases import read
from midflight.apps.redteam.manifest import read_manifest, traits_of
from midflight.apps.redteam.replay import replay
from midflight.domain.action import Action
from midflight.domain.decision import Decision
from midflight.domain.question import Question
from midflight.domain.run import Run

MARK = "only-the-scorer-may-know-4711"
STEPS = [
    read_card(),
    tell(),
    tell(injected=True),
    step("visit_shelf", address="x.example"),
    step("shred_card", number="7"),
]


class Spy:
    """Everything that a plane is told, asks its engine and sends, without chance ids."""

    def __init__(self, house: House) -> None:
        self.seen: list[Any] = []
        self._decide = house.witness.decide
        house.witness.decide = self.decide  # type: ignore[method-assign]
        for upstream in house.upstreams.values():
            call = upstream.call

            async def spied(action: Action, _call: Any = call, **more: Any) -> Any:
                self.seen.append(["sent", msgspec.to_builtins(action)])
                return await _call(action, **more)

            upstream.call = spied  # type: ignore[method-assign]

    def watch(self, plane: ReplayPlane) -> None:
        open_run, say = plane.open_run, plane.say

        async def opened(intent: str | None, **more: Any) -> Any:
            self.seen.append(["opened", intent, more])
            return await open_run(intent, **more)

        async def said(run: Run, text: str) -> None:
            self.seen.append(["said", text])
            await say(run, text)

        plane.open_run = opened  # type: ignore[method-assign]
        plane.say = said  # type: ignore[method-assign]

    def decide(self, question: Question) -> Decision:
        told = msgspec.to_builtins(question)
        told["run"] = {
            k: v for k, v in told["run"].items() if k not in ("id", "labels_source", "age_s")
        }
        told["at"] = 0
        told["workload"] = told["workload"]["id"]
        for argument in told["flow"]["arguments"]:
            argument["record"] = ""
        self.seen.append(["asked", told])
        return self._decide(question)


async def seen(world: World, row: dict[str, Any]) -> list[Any]:
    (recorded,) = read(world.write([row]))
    manifest = read_manifest(world.tools)
    traits = traits_of(manifest, [world.traits])
    async with open_house(manifest, policies=world.policies, traits=traits) as house:
        spy = Spy(house)
        async with house.plane().running() as plane:
            spy.watch(plane)
            # The same answers for both: what a person says is no secret to the product.
            await replay(plane, recorded.case, approver=lambda _: True)
    return json.loads(json.dumps(spy.seen, default=sorted))


@settings(max_examples=25)
@given(
    steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=5),
    wanted=st.lists(st.sampled_from(["user", "injection"]), min_size=5, max_size=5),
    poisoned=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_who_wanted_a_call_changes_nothing_that_the_product_sees(
    steps: list[dict[str, Any]], wanted: list[str], poisoned: list[bool]
) -> None:
    plain = case("a", *(one | {"from": "user", "poisoned": False} for one in steps))
    marked = case(
        MARK,
        *(
            one | {"from": who, "poisoned": bad, "comment": MARK}
            for one, who, bad in zip(steps, wanted, poisoned, strict=False)
        ),
        injection_task=MARK,
        injection_goal=MARK,
        attack=MARK,
        vectors=[MARK],
        env_facts={"contacts": [MARK]},
        user_task=MARK,
    )
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        one = asyncio.run(seen(world, plain))
        other = asyncio.run(seen(world, marked))
    assert len(one) >= len(steps)
    assert one == other
    assert MARK not in json.dumps(other)


def test_the_spy_sees_what_differs() -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        told = step("notify_reader", reader="mallory@example.net", words="It is there.")
        one = asyncio.run(seen(world, case("a", read_card(), told)))
        other = asyncio.run(seen(world, case("a", step("open_card", number="7"), told)))
    assert one != other
    assert {tool["name"] for tool in TOOLS} >= {
        entry[1]["name"] for entry in one if entry[0] == "sent"
    }
    assert LIBRARY in json.dumps(one)
