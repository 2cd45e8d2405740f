"""What policy is asked: the action and every fact the decision is based on.

Facts come from Midflight's own state, never from the caller's claim. The same question to the same
policy version gives the same decision (I6), so a record that keeps the question can be replayed.
"""

from __future__ import annotations

from midflight.domain.action import ActionKind
from midflight.domain.identity import Workload
from midflight.domain.labels import BOTTOM, Labels
from midflight.domain.provenance import NO_FLOW, FlowFacts
from midflight.domain.tool import PinState
from midflight.domain.traits import Traits
from midflight.domain.value import Discreet, JSONObject, Value


class RunFacts(Value):
    """What is true of the run when the action is judged.

    `monitors` holds the value of each declared monitor, with this action and all in flight. `risk`
    (0 to 100), `response` (a `Level`) and `findings` (names of detectors) are its standing.
    """

    id: str
    has_intent: bool
    implicit: bool
    age_s: int
    steps: int
    labels: Labels = BOTTOM
    labels_source: str = ""
    monitors: dict[str, int] = {}
    risk: int = 0
    response: str = "none"
    findings: tuple[str, ...] = ()


class Source(Value):
    """Where the action came in: enforcement point (`mcp`), peer address, kind of proof."""

    point: str = "mcp"
    proof: str = "bearer"
    peer: str = ""


class Target(Value):
    """What is acted on: the upstream's operation, its pin and traits."""

    upstream: str
    name: str
    pin: str | None
    pin_state: PinState
    traits: Traits = Traits()
    # Input schema of the pinned definition, from which the Cedar context type is generated.
    schema: JSONObject | None = None


class Question(Discreet):
    """One request for a decision."""

    shown = ("kind", "run", "target", "source", "at")

    kind: ActionKind
    workload: Workload
    run: RunFacts
    target: Target
    arguments: JSONObject
    source: Source
    at: int
    approved: bool = False
    flow: FlowFacts = NO_FLOW


__all__ = ["Question", "RunFacts", "Source", "Target"]
