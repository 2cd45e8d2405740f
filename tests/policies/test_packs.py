"""Every pack: valid, without dead policies, and each ALLOW and DENY file keeps its promise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from policy_kit import AGENT, question, tool
from policy_kit import facts as run_facts

import midflight
from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.compiler import CedarCompiler
from midflight.adapters.policy.parsing import CedarSet
from midflight.domain.decision import Challenge, Deny, Permit
from midflight.domain.provenance import Concern, FlowFacts
from midflight.domain.question import RunFacts, Source
from midflight.domain.traits import Effect
from midflight.services.policy import check_directory
from midflight.services.policy_cases import Case, read_cases, run_cases
from midflight.services.policy_files import read_sources

ROOT = Path(midflight.__file__).parent / "policies"
PACKS = sorted(path for path in ROOT.iterdir() if any(path.glob("*.cedar")))
CASES: Sequence[tuple[Path, Case]] = [(pack, case) for pack in PACKS for case in read_cases(pack)]


def read_pack(pack: Path) -> CedarSet:
    return CedarCompiler().parse(read_sources(pack))


def facts(**more: object) -> RunFacts:
    """A run of which the standard pack's monitors have seen nothing."""
    monitors = {monitor.name: 0 for monitor in read_pack(ROOT / "standard").monitors}
    return run_facts(monitors=monitors, **more)  # type: ignore[arg-type]


def standard(*targets: object) -> CedarEngine:
    return CedarEngine(read_pack(ROOT / "standard"), targets)  # type: ignore[arg-type]


def test_there_is_a_standard_pack_with_promises_of_both_kinds() -> None:
    assert ROOT / "standard" in PACKS
    for folder in ("ALLOW", "DENY"):
        assert len([c for _, c in CASES if c.name.startswith(folder)]) >= 10


@pytest.mark.parametrize("pack", PACKS, ids=lambda pack: pack.name)
def test_a_pack_is_valid_and_has_no_dead_policy(pack: Path) -> None:
    report = check_directory(CedarCompiler(), pack, ())
    assert report.errors == ()
    assert report.warnings == ()


@pytest.mark.parametrize(("pack", "case"), CASES, ids=lambda item: getattr(item, "name", ""))
def test_a_promise_is_kept(pack: Path, case: Case) -> None:
    assert run_cases(CedarEngine(read_pack(pack)), [case]) == []


@pytest.mark.parametrize("pack", PACKS, ids=lambda pack: pack.name)
def test_every_policy_says_why_and_every_question_whom_to_ask(pack: Path) -> None:
    for policy in read_pack(pack).policies.values():
        assert policy.id.startswith(f"{pack.name}/")
        assert policy.notes.reason, policy.id
        if policy.template.effect == "forbid":
            assert policy.notes.help, policy.id
        if policy.asks:
            assert policy.notes.approvers, policy.id
            assert policy.notes.expires_s, policy.id


@pytest.mark.parametrize("pack", PACKS, ids=lambda pack: pack.name)
def test_every_policy_is_tried_by_some_promise(pack: Path) -> None:
    """A policy without which all promises hold would be one that nothing tests."""
    whole = read_pack(pack)
    cases = read_cases(pack)
    idle = []
    for left_out in whole.policies:
        rest = CedarSet(
            (), [p for p in whole.policies.values() if p.id != left_out], whole.monitors
        )
        if not run_cases(CedarEngine(rest), cases):
            idle.append(left_out)
    assert idle == []


@pytest.mark.parametrize("pack", PACKS, ids=lambda pack: pack.name)
def test_the_readme_names_every_file(pack: Path) -> None:
    text = (pack / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w-]+\.cedar)`", text))
    assert named == {path.name for path in pack.glob("*.cedar")}


@pytest.mark.parametrize("effect", [e for e in Effect if e is not Effect.READ])
@pytest.mark.parametrize("reach", ["open", "closed"])
@pytest.mark.parametrize("concern", [c for c in Concern if c is not Concern.URL_ASSEMBLED])
def test_no_effect_with_a_concern_passes_unasked(
    effect: Effect, reach: str, concern: Concern
) -> None:
    target = tool("act", effect.value, reach=reach)
    asked = question(target, {}, run=facts(untrusted=True))
    decision = standard(target).decide(
        msgspec.structs.replace(asked, flow=FlowFacts(concerns=(concern,)))
    )
    assert isinstance(decision, Challenge)
    assert decision.approvers == ("owner",)


@pytest.mark.parametrize("effect", list(Effect))
@pytest.mark.parametrize("reach", ["open", "closed"])
def test_no_unreviewed_tool_passes_unasked(effect: Effect, reach: str) -> None:
    target = tool("act", effect.value, reach=reach, reviewed=False)
    decision = standard(target).decide(question(target, {}, run=facts()))
    assert isinstance(decision, (Challenge, Deny))


def test_what_a_challenge_could_give_stays_in_the_list_and_reads_go_on() -> None:
    tools = (
        tool("git_log", "read", upstream="git", reach="closed"),
        tool("git_commit", "write", upstream="git", reach="closed"),
        tool("fetch", "read", upstream="fetch"),
    )
    judge = standard(*tools)
    run = facts(untrusted=True)
    assert isinstance(judge.decide(question(tools[0], {}, run=run)), Permit)
    assert isinstance(judge.decide(question(tools[2], {}, run=run)), Permit)
    names = judge.visible(tools, workload=AGENT, run=run, source=Source(), at=0)
    assert names == {"git_log", "git_commit", "fetch"}
