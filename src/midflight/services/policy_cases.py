"""ALLOW and DENY files: what a pack promises, as questions with their answers.

A pack may hold folders `ALLOW` and `DENY` of JSON files, each named as a sentence. Each file asks
one question, with defaults for what it leaves out, and says which answer is expected:

    {"expect": "challenge", "policy": "standard/effects-untrusted",
     "question": {"kind": "call_tool", "run": {"labels": {"untrusted": true}}, …}}

Every ALLOW must be a Permit; every DENY a Deny or a Challenge, the one in `expect` if it is there.
Monitors that a file does not set in `run.monitors` are at 0.
Above: `policy.py`. Below: `domain/question.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from midflight.domain.action import ActionKind
from midflight.domain.decision import Challenge, Decision, Deny, Permit
from midflight.domain.errors import Misconfigured
from midflight.domain.identity import Workload
from midflight.domain.labels import Labels
from midflight.domain.provenance import FlowFacts
from midflight.domain.question import Question, RunFacts, Source, Target
from midflight.domain.tool import PinState
from midflight.domain.traits import Traits
from midflight.domain.value import JSONObject, Value
from midflight.services.monitor_files import is_declaring, parse_monitors
from midflight.services.policy_files import files_of, read_sources
from midflight.services.ports.policy import PolicyEngine

# Monday, 6 January 2025, 12:00 UTC: an ordinary working hour.
_NOON = 1_736_164_800


class Expected(enum.StrEnum):
    """The answer a file promises."""

    PERMIT = "permit"
    DENY = "deny"
    CHALLENGE = "challenge"


# The question's values again, with defaults, and with unknown keys refused: a misspelt fact would
# silently test something else.


class _Labels(Labels, forbid_unknown_fields=True):
    pass


class _Traits(Traits, forbid_unknown_fields=True):
    pass


class _Workload(Workload, forbid_unknown_fields=True):
    id: str = "spiffe://example.org/agents/one"
    owner: str = "owner@example.org"
    escalation: str = "team@example.org"
    review_by: int = 4_102_444_800


class _Run(RunFacts, forbid_unknown_fields=True):
    id: str = "run_example"
    has_intent: bool = True
    implicit: bool = False
    age_s: int = 60
    steps: int = 3
    labels: _Labels = _Labels()


class _Flow(FlowFacts, forbid_unknown_fields=True):
    pass


class _Source(Source, forbid_unknown_fields=True):
    pass


class _Target(Target, forbid_unknown_fields=True):
    upstream: str = "example"
    name: str = "tool"
    pin: str | None = "0" * 64
    pin_state: PinState = PinState.PINNED
    traits: _Traits = _Traits()


class _Question(Question, forbid_unknown_fields=True):
    kind: ActionKind = ActionKind.CALL_TOOL
    workload: _Workload = _Workload()
    run: _Run = _Run()
    target: _Target = _Target()
    arguments: JSONObject = {}
    source: _Source = _Source()
    at: int = _NOON
    flow: _Flow = _Flow()


class _File(Value, forbid_unknown_fields=True):
    question: _Question
    expect: Expected | None = None
    policy: str | None = None


class Case(Value):
    """One file: its path below the pack, the question, the answers that keep the promise."""

    name: str
    question: Question
    expected: frozenset[Expected]
    policy: str | None

    @property
    def allows(self) -> bool:
        """Whether it promises a permit."""
        return Expected.PERMIT in self.expected

    @property
    def sentence(self) -> str:
        """The file's name, read as a sentence."""
        return Path(self.name).stem.replace("-", " ")


class Broken(Value):
    """A promise that a set does not keep, and what it answers instead."""

    case: Case
    decision: Decision

    def __str__(self) -> str:
        wanted = " or ".join(sorted(self.case.expected))
        because = ", ".join(reason.policy for reason in self.decision.reasons) or "nothing"
        text = f"{self.case.name}: is {answer(self.decision)} because of {because}, not {wanted}"
        return text + (f" by {self.case.policy}" if self.case.policy else "")


def read_cases(directory: Path) -> Sequence[Case]:
    """All ALLOW and DENY files below a directory. `Misconfigured` with every one that is wrong."""
    declaring = [source for source in read_sources(directory) if is_declaring(source)]
    monitors = {monitor.name: 0 for monitor in parse_monitors(declaring, taken=())[0]}
    cases: list[Case] = []
    problems: list[str] = []
    for path in files_of(directory, ".json"):
        folder = path.parent.name
        if folder not in ("ALLOW", "DENY"):
            continue
        name = path.relative_to(directory).as_posix()
        try:
            file = msgspec.json.decode(path.read_bytes(), type=_File)
            cases.append(_case(name, folder, file, monitors))
        except (OSError, ValueError) as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise Misconfigured("ALLOW and DENY files cannot be read.", problems)
    return cases


def run_cases(engine: PolicyEngine, cases: Sequence[Case]) -> Sequence[Broken]:
    """Ask every question; the promises that are not kept."""
    broken: list[Broken] = []
    for case in cases:
        engine.register([case.question.target])
        decision = engine.decide(case.question)
        named = case.policy is None or any(r.policy == case.policy for r in decision.reasons)
        if answer(decision) not in case.expected or not named:
            broken.append(Broken(case=case, decision=decision))
    return broken


def answer(decision: Decision) -> Expected:
    """Which of the three answers a decision is."""
    match decision:
        case Permit():
            return Expected.PERMIT
        case Deny():
            return Expected.DENY
        case Challenge():
            return Expected.CHALLENGE


def _case(name: str, folder: str, file: _File, monitors: Mapping[str, int]) -> Case:
    if folder == "ALLOW":
        expected = frozenset({Expected.PERMIT})
    else:
        expected = frozenset({Expected.DENY, Expected.CHALLENGE})
    if file.expect is not None:
        if file.expect not in expected:
            raise ValueError(f"expects {file.expect.value} in {folder}")
        expected = frozenset({file.expect})
    question = file.question
    undeclared = sorted(question.run.monitors.keys() - monitors.keys())
    if undeclared:
        raise ValueError(f"sets a monitor that no file declares: {', '.join(undeclared)}")
    run = msgspec.structs.replace(question.run, monitors={**monitors, **question.run.monitors})
    question = msgspec.structs.replace(question, run=run)
    return Case(name=name, question=question, expected=expected, policy=file.policy)


__all__ = ["Broken", "Case", "Expected", "answer", "read_cases", "run_cases"]
