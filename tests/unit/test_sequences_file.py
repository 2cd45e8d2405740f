"""`sequences.toml`: what it may say, and how it says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from midflight.apps.cli.main import app
from midflight.apps.compose_detectors import FILE, sequence_rules
from midflight.domain.errors import Misconfigured
from midflight.domain.finding import Strength
from midflight.domain.sequence import Brings, Over
from midflight.domain.traits import Effect
from midflight.wire.sequences_file import MAX_RULES, MAX_STEPS, _Reader, parse

GOOD = """
[[sequence]]
id = "mine"
about = "read, then send"
strength = "weak"
over = "workload"
within = "90s"

[[sequence.step]]
names = ["read_*"]
times = 2

[[sequence.step]]
effects = ["send"]
seen = ["secret"]
"""


def problems(text: str) -> str:
    with pytest.raises(Misconfigured) as caught:
        parse(text, name="sequences.toml")
    return str(caught.value)


def test_a_rule_is_read() -> None:
    (rule,) = parse(GOOD, name="sequences.toml")
    assert (rule.id, rule.strength, rule.over, rule.within_s) == (
        "mine",
        Strength.WEAK,
        Over.WORKLOAD,
        90.0,
    )
    assert rule.steps[0].names == ("*/read_*",)
    assert rule.steps[1].effects == {Effect.SEND}
    assert rule.steps[1].seen == {Brings.SECRET}


def test_our_own_rules_load_and_an_operators_add_replace_and_take_out(tmp_path: Path) -> None:
    own = {rule.id for rule in sequence_rules(tmp_path)}
    assert {"recon-grant-effect", "stranger-secret-out", "secret-encoded-out"} <= own
    replaced = GOOD.replace('"mine"', '"secret-encoded-out"')
    off = '\n[[sequence]]\nid = "stranger-secret-out"\noff = true\n'
    (tmp_path / FILE).write_text(GOOD + replaced + off)
    rules = {rule.id: rule for rule in sequence_rules(tmp_path)}
    assert set(rules) == own - {"stranger-secret-out"} | {"mine"}
    assert rules["secret-encoded-out"].about == "read, then send"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "mine"', 'id = "Mine"', ":3: sequence[0].id: is not 1 to 64 lower-case"),
        ('strength = "weak"', 'strength = "fatal"', ":5: sequence[0].strength: is none of weak"),
        ('over = "workload"', 'over = "world"', ":6: sequence[0].over: is none of run"),
        ('within = "90s"', 'within = "8d"', ":7: sequence[0].within: is not a time"),
        ('within = "90s"', "within = 90", ":7: sequence[0].within: is not a time"),
        ("times = 2", "times = 0", "sequence[0].step[0].times: is not 1 to 32"),
        ("times = 2", "times = true", "sequence[0].step[0].times: is not 1 to 32"),
        ('effects = ["send"]', 'effects = ["sned"]', "step[1].effects: is no list of read"),
        ('effects = ["send"]', "effects = []", "step[1].effects: is no list of read"),
        ('seen = ["secret"]', "times = 2", "step[1].times: is for the first step only"),
        ('seen = ["secret"]', 'sen = ["secret"]', "step[1].sen: is nothing that can stand here"),
        ('names = ["read_*"]', "unapproved = true", "step[0]: would be any action"),
        ('names = ["read_*"]', 'names = "read"', "step[0].names: is not 1 to 32 patterns"),
        ('effects = ["send"]', 'brings = ["secret"]', "step[1].brings: is about results"),
        ('about = "read, then send"', 'about = "a\\u202eb"', "about: is not 1 to 200 printable"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, said: str) -> None:
    assert said in problems(GOOD.replace(old, new))


def test_all_problems_are_said_at_once() -> None:
    text = problems(GOOD.replace('"weak"', '"x"').replace('"workload"', '"y"'))
    assert "2 problems" in text


def test_too_few_and_too_many_steps_rules_and_bytes() -> None:
    one = GOOD[: GOOD.rindex("[[sequence.step]]")]
    assert f"is not 2 to {MAX_STEPS}" in problems(one)
    many = "".join(GOOD.replace('"mine"', f'"mine-{n}"') for n in range(MAX_RULES + 1))
    assert f"more than {MAX_RULES} rules" in problems(many)
    assert "larger than" in problems("#" * 300_000)
    assert "given twice" in problems(GOOD + GOOD)


@given(st.text(max_size=200))
def test_any_text_is_rules_or_a_clean_error(text: str) -> None:
    try:
        parse(text, name="sequences.toml")
    except Misconfigured:
        return


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["id", "step", "sequence", "names", "effects", "times", "over"]),
                inner,
            )
        ),
        max_leaves=12,
    )
)
def test_any_document_is_rules_or_problems(document: object) -> None:
    if isinstance(document, dict):
        _Reader().document(document, {})


def test_a_file_that_is_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(Misconfigured, match="cannot be read"):
        sequence_rules(tmp_path)


def test_midflight_check_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "all.cedar").write_text('@id("all")\npermit (principal, action, resource);\n')
    runner = CliRunner()
    (tmp_path / FILE).write_text(GOOD)
    good = runner.invoke(app, ["check", str(tmp_path)])
    assert good.exit_code == 0, good.stderr
    (tmp_path / FILE).write_text(GOOD.replace('"weak"', '"fatal"'))
    bad = runner.invoke(app, ["check", str(tmp_path)])
    assert bad.exit_code != 0
    assert "is none of weak, fair, strong" in bad.stderr
