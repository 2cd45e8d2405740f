"""Declarations of monitors: read strictly, with every problem at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from midflight.adapters.policy.schema import CONTEXT
from midflight.domain.action import ActionKind
from midflight.domain.errors import Misconfigured
from midflight.domain.monitor import Counts, Monitor, MonitorKind, Per, Selection
from midflight.domain.traits import Effect, Reach, Role
from midflight.services.monitor_files import parse_monitors
from midflight.services.policy_files import read_sources
from midflight.services.ports.policy_sets import PolicySource

COUNT = '[[monitor]]\nname = "acts"\nkind = "count"\nper = "run"\n'


def declared(text: str) -> list[Monitor]:
    monitors, problems = parse_monitors([PolicySource(name="m.toml", text=text)], taken=())
    assert problems == []
    return list(monitors)


def problems_of(text: str) -> list[str]:
    sources = [PolicySource(name="m.toml", text=text)]
    _, problems = parse_monitors(sources, taken=CONTEXT["run"])
    return [str(problem) for problem in problems]


def test_a_declaration_is_read_with_all_it_says() -> None:
    [monitor] = declared("""
        [[monitor]]
        name = "paid"
        kind = "sum"
        per = "owner"
        window = "2h"
        counts = "attempted"
        role = "amount"
        places = 2
        remember = 50
        about = "Money."
        effects = ["pay", "send"]
        kinds = ["call_tool"]
        upstreams = ["bank"]
        tools = ["transfer"]
        reach = "open"
    """)
    assert monitor == Monitor(
        name="paid",
        kind=MonitorKind.SUM,
        per=Per.OWNER,
        steps=(
            Selection(
                effects=frozenset({Effect.PAY, Effect.SEND}),
                kinds=frozenset({ActionKind.CALL_TOOL}),
                upstreams=frozenset({"bank"}),
                tools=frozenset({"transfer"}),
                reach=Reach.OPEN,
            ),
        ),
        window_us=7_200_000_000,
        counts=Counts.ATTEMPTED,
        role=Role.AMOUNT,
        places=2,
        remember=50,
        about="Money.",
        file="m.toml",
        line=2,
    )


def test_a_sequence_has_steps_in_order() -> None:
    [monitor] = declared("""
[[monitor]]
name = "walk"
kind = "sequence"
per = "run"
within = "10m"
[[monitor.step]]
effects = ["read"]
[[monitor.step]]
effects = ["grant"]
""")
    assert [sorted(step.effects) for step in monitor.steps] == [["read"], ["grant"]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (COUNT + 'windw = "1m"', "`windw` is not known"),
        (COUNT + "within = '1m'", "`within` is not known"),
        (COUNT + "places = 2", "`places` is not known"),
        (COUNT.replace("acts", "steps"), "every run has"),
        (COUNT.replace("acts", "labels_source"), "every run has"),
        (COUNT.replace("acts", "has"), "no name a policy can write"),
        (COUNT.replace("acts", "1st"), "no name a policy can write"),
        (COUNT.replace("acts", "a-b"), "no name a policy can write"),
        (COUNT.replace("acts", "ä"), "no name a policy can write"),
        (COUNT.replace("acts", "a" * 65), "no name a policy can write"),
        (COUNT.replace('"acts"', "7"), "is no text"),
        (COUNT.replace('name = "acts"\n', ""), "has no `name`"),
        (COUNT.replace('kind = "count"\n', ""), "has no `kind`"),
        (COUNT.replace('per = "run"\n', ""), "has no `per`"),
        (COUNT.replace('"run"', '"team"'), "is none of run, workload, owner, upstream"),
        (COUNT.replace('"count"', '"total"'), "is none of count, rate, sum, distinct, sequence"),
        (COUNT.replace('"count"', '"rate"'), "has no `window`"),
        (COUNT.replace('"count"', '"sum"'), "an `argument` (its path) or a `role`"),
        (
            COUNT.replace('"count"', '"sum"') + 'argument = "a"\nrole = "amount"',
            "an `argument` (its path) or a `role`",
        ),
        (COUNT.replace('"count"', '"distinct"') + 'argument = "a..b"', "at any depth"),
        (COUNT.replace('"count"', '"distinct"') + 'argument = "a["', "is no path"),
        (COUNT.replace('"count"', '"sum"') + 'role = "amount"\nplaces = 7', "from 0 to 6"),
        (COUNT.replace('"count"', '"sum"') + 'role = "amount"\nplaces = true', "from 0 to 6"),
        (COUNT.replace('"count"', '"sequence"') + 'within = "1m"', "[[monitor.step]]"),
        (COUNT + 'window = "0s"', "is no time"),
        (COUNT + "window = 60", "is no time"),
        (COUNT + 'window = "91d"', "is no time"),
        (COUNT + "effects = []", "leave it out for all"),
        (COUNT + 'effects = ["paying"]', "is none of read"),
        (COUNT + "remember = 0", "from 1 to"),
        (COUNT + 'counts = "denied"', "is none of permitted, attempted"),
        (COUNT + COUNT, "is declared in m.toml:1 already"),
        (COUNT.replace("[[monitor]]", "[monitor]"), "two brackets"),
        (COUNT.replace("[[monitor]]", "[[monitors]]"), "holds `monitors`"),
        (COUNT + "[other]\nx = 1", "holds `other`"),
        ("monitor = [1]", "no table"),
        (COUNT + "name = ", "is no TOML"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    problems = problems_of(text)
    assert any(said in problem for problem in problems), problems


def test_every_problem_of_every_table_is_said_at_once_with_its_line() -> None:
    text = (
        COUNT.replace('"run"', '"team"')
        + 'windw = "1m"\nremember = 0\n\n'
        + COUNT.replace("acts", "steps")
    )
    problems = problems_of(text)
    assert [p.split(":")[1] for p in problems] == ["1", "1", "1", "8"]


def test_the_fingerprint_changes_with_what_is_counted_and_with_nothing_else() -> None:
    [monitor] = declared(COUNT)
    same = declared("# why\n" + COUNT + 'about = "x"\nremember = 7')
    assert [m.fingerprint for m in same] == [monitor.fingerprint]
    for more in (
        'window = "1m"',
        'effects = ["pay"]',
        'counts = "attempted"',
        'tools = ["a"]',
        'upstreams = ["a"]',
        'kinds = ["list"]',
        'reach = "open"',
    ):
        [other] = declared(COUNT + more)
        assert other.fingerprint != monitor.fingerprint, more
    [other] = declared(COUNT.replace("acts", "deeds"))
    assert other.fingerprint != monitor.fingerprint


def test_toml_of_somebody_else_is_no_part_of_a_set(tmp_path: Path) -> None:
    (tmp_path / "p.cedar").write_text("x")
    (tmp_path / "desk.toml").write_text('[tool.send]\neffect = "send"\n')
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "any.toml").write_text(COUNT)
    (tmp_path / "monitors.toml").write_text("")
    names = [source.name for source in read_sources(tmp_path)]
    assert names == ["p.cedar", "monitors.toml", "more/any.toml"]


@pytest.mark.parametrize("raw", [b"\xff", b"[[monitor"])
def test_toml_that_nobody_can_read_is_not_passed_over(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "any.toml").write_bytes(raw)
    try:
        sources = read_sources(tmp_path)
    except Misconfigured:
        return
    _, problems = parse_monitors(sources, taken=())
    assert problems
