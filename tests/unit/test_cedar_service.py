"""The service over the Cedar adapters: loading, activating, reloading, checking, explaining."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from identity_kit import Recorder
from policy_kit import ALLOW_ALL, MAIL, facts, question, tool

from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.compiler import CedarCompiler
from midflight.domain.decision import Challenge, Deny, DenyCode, Permit
from midflight.domain.errors import LedgerUnavailable, Misconfigured
from midflight.domain.identity import Author
from midflight.domain.question import Question
from midflight.domain.records import Changed, Facts, Observed
from midflight.services.policy import Policies, check_directory
from midflight.services.policy_cases import read_cases
from midflight.services.policy_files import MAX_BYTES, read_sources
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio

ALICE = Author(name="alice", proof="peer-uid:1000")
DENY_ALL = '@id("none") forbid (principal, action, resource);'


class Plane:
    def __init__(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "policies"
        self.directory.mkdir()
        self.history = tmp_path / "state" / "policies"
        self.engine = CedarEngine()
        self.recorder = Recorder()
        self.policies = self.again()

    def again(self) -> Policies:
        return Policies(
            switch=self.engine,
            compiler=CedarCompiler(),
            directory=self.directory,
            history=self.history,
            recorder=self.recorder,
            clock=FakeClock(),
        )

    def write(self, text: str, name: str = "a.cedar") -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def promise(self, folder: str, name: str, **case: Any) -> None:
        self.write(json.dumps(case), f"{folder}/{name}.json")


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    return Plane(tmp_path)


def facts_of(asked: Question) -> Facts:
    target = asked.target
    return Facts(
        kind=asked.kind.value,
        method="tools/call",
        upstream=target.upstream,
        name=target.name,
        pin=target.pin,
        pin_state=target.pin_state,
        traits=target.traits,
        workload=asked.workload,
        run=asked.run,
        source=asked.source,
    )


async def test_what_the_directory_holds_is_active_after_loading(plane: Plane) -> None:
    plane.write(ALLOW_ALL, "deep/er/a.cedar")
    plane.engine.register([MAIL])
    version = await plane.policies.load()
    assert version == plane.engine.version == plane.policies.version
    assert isinstance(plane.engine.decide(question()), Permit)
    assert plane.recorder.records == []


async def test_without_policies_the_plane_starts_and_denies(plane: Plane) -> None:
    plane.engine.register([MAIL])
    assert await plane.policies.load() == "none"
    decision = plane.engine.decide(question())
    assert isinstance(decision, Deny)
    assert decision.code is DenyCode.NO_POLICY


async def test_a_bad_set_does_not_start(plane: Plane) -> None:
    plane.write("permit (principal, action, resource);")
    with pytest.raises(Misconfigured, match="@id"):
        await plane.policies.load()
    assert plane.policies.version == "none"


async def test_an_operator_activates_a_change_and_it_is_recorded(plane: Plane) -> None:
    plane.write(ALLOW_ALL)
    before = await plane.policies.load()
    plane.write(DENY_ALL, "b.cedar")
    after = await plane.policies.activate(ALICE)
    assert after != before
    (record,) = plane.recorder.records
    assert isinstance(record, Changed)
    assert (record.what, record.author, record.proof) == (
        "policy.activate",
        "alice",
        "peer-uid:1000",
    )
    assert record.details["version"] == after
    assert record.details["before"] == before
    assert any("all" in warning for warning in record.details["warnings"])


async def test_every_problem_of_a_bad_set_is_told_and_the_old_one_stays(plane: Plane) -> None:
    plane.write(ALLOW_ALL)
    before = await plane.policies.load()
    plane.write('permit (principal, action, resource);\n@id("x") nonsense;', "b.cedar")
    with pytest.raises(Misconfigured) as caught:
        await plane.policies.activate(ALICE)
    assert [problem[:10] for problem in caught.value.problems] == ["b.cedar:1:", "b.cedar:2:"]
    assert plane.policies.version == before
    assert plane.recorder.records == []


async def test_a_set_that_does_not_validate_is_refused_with_file_and_line(plane: Plane) -> None:
    plane.write(ALLOW_ALL)
    await plane.policies.load()
    plane.write('\n\n@id("x") forbid (principal, action, resource) when { resource.raech == 1 };')
    with pytest.raises(Misconfigured) as caught:
        await plane.policies.activate(ALICE)
    assert caught.value.problems[0].startswith("a.cedar:3: [x]")


async def test_an_empty_directory_is_not_activated(plane: Plane) -> None:
    plane.write(ALLOW_ALL)
    before = await plane.policies.load()
    (plane.directory / "a.cedar").unlink()
    with pytest.raises(Misconfigured):
        await plane.policies.activate(ALICE)
    assert not await plane.policies.reload_if_changed()
    assert plane.policies.version == before
    assert plane.policies.problems


async def test_a_changed_file_is_followed_and_an_unchanged_one_is_not_read(plane: Plane) -> None:
    plane.write(ALLOW_ALL)
    await plane.policies.load()
    assert not await plane.policies.reload_if_changed()
    plane.write(DENY_ALL)
    assert await plane.policies.reload_if_changed()
    assert not await plane.policies.reload_if_changed()
    (record,) = plane.recorder.records
    assert (record.author, record.proof) == ("midflight", "policy-directory")


async def test_another_layout_of_the_same_set_changes_no_version(plane: Plane) -> None:
    plane.write(ALLOW_ALL)
    await plane.policies.load()
    plane.write("// moved\n" + ALLOW_ALL)
    assert not await plane.policies.reload_if_changed()
    assert plane.recorder.records == []


async def test_a_bad_change_is_recorded_once_and_the_old_set_stays(plane: Plane) -> None:
    plane.write(ALLOW_ALL)
    before = await plane.policies.load()
    plane.write("nonsense")
    assert not await plane.policies.reload_if_changed()
    assert not await plane.policies.reload_if_changed()
    (record,) = plane.recorder.records
    assert isinstance(record, Observed)
    assert record.what == "policy.refused"
    assert "a.cedar:1" in record.details["problems"][0]
    assert plane.policies.problems
    assert plane.policies.version == before
    plane.write(DENY_ALL)
    assert await plane.policies.reload_if_changed()
    assert plane.policies.problems == ()


async def test_a_ledger_that_takes_nothing_does_not_stop_the_look(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_record: object) -> None:
        raise LedgerUnavailable("full")

    plane.write(ALLOW_ALL)
    await plane.policies.load()
    monkeypatch.setattr(plane.recorder, "append", full)
    plane.write("nonsense")
    assert not await plane.policies.reload_if_changed()


async def test_a_broken_promise_to_deny_keeps_a_set_from_being_activated(plane: Plane) -> None:
    plane.write(ALLOW_ALL)
    plane.promise("DENY", "nobody-calls", question={})
    with pytest.raises(Misconfigured, match="DENY/nobody-calls"):
        await plane.policies.load()
    plane.write(DENY_ALL)
    plane.promise("ALLOW", "somebody-calls", question={})
    await plane.policies.activate(ALICE)
    assert any("ALLOW" in warning for warning in plane.recorder.records[0].details["warnings"])


async def test_a_tool_that_comes_later_and_does_not_fit_is_held_alone(plane: Plane) -> None:
    plane.write(
        ALLOW_ALL
        + '\n@id("to") forbid (principal, action in Action::"send", resource)'
        + ' when { context.args has to && context.args.to like "*evil*" };'
    )
    await plane.policies.load()
    odd = tool("odd", schema={"type": "object", "properties": {"to": {"type": "integer"}}})
    plane.engine.register([MAIL, odd])
    assert not await plane.policies.reload_if_changed()

    assert isinstance(plane.engine.decide(question()), Permit)
    held = plane.engine.decide(question(odd, {}))
    assert isinstance(held, Deny)
    assert "a.cedar:2: [to]" in held.reasons[0].text
    (record,) = plane.recorder.records
    assert (record.what, record.subject) == ("policy.tool_held", "office/odd")

    plane.engine.register([MAIL])
    await plane.policies.reload_if_changed()
    assert len(plane.recorder.records) == 1


async def test_a_policy_for_a_tool_that_went_away_does_not_take_the_plane_down(
    plane: Plane,
) -> None:
    plane.write(
        ALLOW_ALL
        + '@id("one") forbid (principal, action == Action::"call_tool::office/send_mail", resource)'
        + ' when { context.args.to == "evil" };'
    )
    plane.engine.register([MAIL])
    await plane.policies.load()
    other = tool("other")
    plane.engine.register([other])
    await plane.policies.reload_if_changed()
    assert isinstance(plane.engine.decide(question(other, {})), Permit)
    plane.engine.register([MAIL, other])
    await plane.policies.reload_if_changed()
    assert isinstance(plane.engine.decide(question(arguments={"to": "evil"})), Deny)


async def test_a_check_changes_nothing_and_says_everything(plane: Plane) -> None:
    plane.write(ALLOW_ALL)
    before = await plane.policies.load()
    plane.write(DENY_ALL)
    plane.promise("ALLOW", "it-is-allowed", question={})
    plane.promise("DENY", "it-is-asked", question={}, expect="challenge")
    plane.promise("DENY", "by-another", question={}, policy="another")
    plane.promise("DENY", "it-is-denied", question={}, expect="deny", policy="none")
    report = await plane.policies.check()
    assert not report.ok
    assert (report.policies, report.cases) == (1, 4)
    assert [error.split(":")[0] for error in report.errors] == [
        "DENY/by-another.json",
        "DENY/it-is-asked.json",
        "ALLOW/it-is-allowed.json",
    ]
    assert plane.policies.version == before


async def test_a_check_uses_the_tools_it_is_given(plane: Plane) -> None:
    plane.write(
        '@id("x") permit (principal, action == Action::"call_tool::office/send_mail", resource)'
        " when { context.args.to == 3 };"
    )
    assert (await plane.policies.check()).ok
    assert not (await plane.policies.check(plane.directory, [MAIL])).ok


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ALLOW/a.json", "{"),
        ("ALLOW/a.json", '{"question": {"knd": "call_tool"}}'),
        ("ALLOW/a.json", '{"question": {"run": {"labels": {"untrsted": true}}}}'),
        ("ALLOW/a.json", '{"question": {}, "expect": "deny"}'),
        ("DENY/a.json", '{"question": {}, "expect": "permit"}'),
        ("DENY/a.json", '{"question": {"target": {"traits": {"effect": "fly"}}}}'),
        ("DENY/a.json", '{"questoin": {}}'),
    ],
)
async def test_a_misspelt_promise_is_an_error(plane: Plane, name: str, text: str) -> None:
    plane.write(ALLOW_ALL)
    plane.write(text, name)
    report = await plane.policies.check()
    assert not report.ok
    assert report.errors[0].startswith(name)


async def test_a_promise_reads_as_a_sentence(plane: Plane) -> None:
    plane.promise("DENY", "nobody-calls-at-night", question={})
    (case,) = read_cases(plane.directory)
    assert case.sentence == "nobody calls at night"
    assert not case.allows


async def test_a_check_of_a_directory_that_is_not_there_says_so(tmp_path: Path) -> None:
    report = check_directory(CedarCompiler(), tmp_path / "nothing", ())
    assert not report.ok
    assert "no file that ends in .cedar" in report.errors[0]


async def test_files_that_are_no_text_are_named_every_one(plane: Plane) -> None:
    (plane.directory / "a.cedar").write_bytes(b"\xff")
    (plane.directory / "b.cedar").write_bytes(b"ok \xc3")
    with pytest.raises(Misconfigured) as caught:
        read_sources(plane.directory)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["a.cedar", "b.cedar"]


async def test_a_directory_that_is_too_large_is_refused(plane: Plane) -> None:
    (plane.directory / "a.cedar").write_bytes(b"/" * (MAX_BYTES + 1))
    with pytest.raises(Misconfigured, match="holds more"):
        read_sources(plane.directory)


async def test_copies_in_hidden_folders_do_not_count(plane: Plane) -> None:
    plane.write(ALLOW_ALL, "..2026_01_01/a.cedar")
    (plane.directory / "a.cedar").symlink_to(plane.directory / "..2026_01_01" / "a.cedar")
    plane.write("{", ".git/DENY/a.json")
    report = await plane.policies.check()
    assert report.ok
    assert report.policies == 1


# explain


async def test_a_decision_is_derived_again_under_the_version_that_made_it(plane: Plane) -> None:
    plane.write(ALLOW_ALL)
    plane.engine.register([MAIL])
    version = await plane.policies.load()
    asked = question(run=facts(untrusted=True))
    recorded = plane.engine.decide(asked)
    plane.write(
        ALLOW_ALL
        + """@id("u") forbid (principal, action, resource)
        when { context.run.untrusted } unless { context.approval.granted };"""
    )
    await plane.policies.activate(ALICE)

    found = await plane.policies.explain(
        facts_of(asked), asked.arguments, version=version, at=asked.at
    )

    assert found.then == recorded
    assert isinstance(found.now, Challenge)
    assert (found.version, found.active) == (version, plane.policies.version)
    assert found.note == ""


async def test_an_explanation_survives_a_restart_and_a_tool_that_is_gone(plane: Plane) -> None:
    plane.write(
        '@id("to") permit (principal, action in Action::"call_tool", resource)'
        ' when { context.args has to && context.args.to == "x" };'
    )
    plane.engine.register([MAIL])
    version = await plane.policies.load()
    asked = question(arguments={"to": "x"})
    recorded = plane.engine.decide(asked)
    plane.write(DENY_ALL)
    plane.engine = CedarEngine()
    plane.policies = plane.again()
    await plane.policies.load()
    found = await plane.policies.explain(
        facts_of(asked), asked.arguments, version=version, at=asked.at
    )
    assert found.then == recorded
    assert isinstance(found.now, Deny)


async def test_what_was_refused_before_policy_or_is_erased_or_unknown_is_said(plane: Plane) -> None:
    plane.write(ALLOW_ALL)
    plane.engine.register([MAIL])
    version = await plane.policies.load()
    facts_ = facts_of(question())
    early = msgspec.structs.replace(facts_, workload=None)
    found = await plane.policies.explain(early, {}, version=version, at=0)
    assert found.then is None
    assert "before policy" in found.note
    found = await plane.policies.explain(facts_, None, version=version, at=0)
    assert found.then is None
    assert "erased" in found.note
    for unknown in ("f" * 64, "none", "../../etc/passwd"):
        found = await plane.policies.explain(facts_, {"to": "a"}, version=unknown, at=0)
        assert found.then is None
        assert isinstance(found.now, Permit)
        assert "never active" in found.note


async def test_a_kept_set_that_was_altered_is_not_believed(plane: Plane) -> None:
    plane.write(DENY_ALL)
    plane.engine.register([MAIL])
    version = await plane.policies.load()
    kept = plane.history / "sets" / f"{version}.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.write_text(json.dumps([{"name": "a.cedar", "text": ALLOW_ALL}]), encoding="utf-8")
    found = await plane.policies.explain(facts_of(question()), {"to": "a"}, version=version, at=0)
    assert found.then is None
    assert "altered" in found.note
