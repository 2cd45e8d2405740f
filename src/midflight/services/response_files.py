"""Responses as operators declare them: `responses.toml` beside the policies.

    [[response]]
    detector = "probing"     # left out: every detector that no other rule names
    strength = "fair"        # at least: weak, fair, strong
    respond = "challenge"    # note, risk, throttle, challenge, quarantine, revoke
    scope = "run"            # or workload
    for = "30m"

    [adding]                 # how findings of different detectors add up
    within = "10m"
    at_most = "quarantine"

    [limits]                 # how many whole workloads are stopped without a person
    workloads = 5
    percent = 10
    within = "1h"

Strict, and all problems at once: an unknown key would silently protect less. Above:
`policy_files.py`, and the policy compiler, for which this is part of the set.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from midflight.domain.finding import Strength
from midflight.domain.response import Level, Rate
from midflight.domain.response_rules import (
    HOUR,
    RATE,
    RISKS,
    Adding,
    Holds,
    Limits,
    ResponseRules,
    Rule,
)
from midflight.services.ports.policy_sets import PolicyProblem, PolicySource
from midflight.services.toml_tables import TableReader, duration, one_of, whole, words

FILE = "responses.toml"
TABLE = "response"
MAX_RULES = 256
MAX_FOR_S = 7 * 86_400
"""A response that holds for longer is a decision of people: a revocation, a mode, a team."""
MAX_WITHIN_S = 86_400

_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*response[ \t]*\]\]", re.MULTILINE)
_DETECTOR = re.compile(r"[a-z][a-z0-9-]{0,63}\Z")
_RATE = re.compile(r"([1-9][0-9]{0,3})/([smh])\Z")
_UNITS = {"s": 1, "m": 60, "h": HOUR}
_STRENGTHS = {strength.name.lower(): strength for strength in Strength}
_RULE = frozenset({"detector", "strength", "respond", "scope", "for", "risk", "rate", "about"})


def is_responding(source: PolicySource) -> bool:
    """Whether a source holds responses: it is called so."""
    return source.name.rpartition("/")[2] == FILE


def parse_responses(
    sources: Sequence[PolicySource],
) -> tuple[ResponseRules | None, list[PolicyProblem]]:
    """What the responses of a set are, and every problem of them; None if it declares none."""
    found = [source for source in sources if is_responding(source)]
    if not found:
        return None, []
    source = found[0]
    problems = [
        _problem(other, 0, f"is the second of its name: a set has one, and {source.name} is it")
        for other in found[1:]
    ]
    try:
        document = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        # The message names line and column and does not repeat the text.
        return None, [*problems, _problem(source, 0, f"is no TOML: {error}")]
    whole_file = TableReader(source.name, 0, FILE)
    whole_file.unknown(document, {TABLE, "adding", "limits"})
    rules = _rules(source, document.get(TABLE, []), problems)
    adding = _adding(_table(whole_file, document, "adding"), whole_file)
    limits = _limits(_table(whole_file, document, "limits"), whole_file)
    problems += [_problem(source, 0, text) for text in whole_file.problems]
    return ResponseRules(rules=rules, adding=adding, limits=limits), problems


def _rules(source: PolicySource, tables: Any, problems: list[PolicyProblem]) -> tuple[Rule, ...]:
    if not isinstance(tables, list):
        text = f"`{TABLE}` is one table; write [[{TABLE}]], with two brackets"
        problems.append(_problem(source, 0, text))
        return ()
    given = cast("list[Any]", tables)
    if len(given) > MAX_RULES:
        text = f"there are {len(given)} responses, and at most {MAX_RULES} are read"
        problems.append(_problem(source, 0, text))
    lines = [source.text.count("\n", 0, at.start()) + 1 for at in _HEADER.finditer(source.text)]
    rules: dict[tuple[str, Strength], Rule] = {}
    for number, table in enumerate(given[:MAX_RULES]):
        line = lines[number] if number < len(lines) else 0
        reader = TableReader(source.name, line, "a response")
        if not isinstance(table, dict):
            reader.say("is no table")
            rule = None
        else:
            rule = _rule(reader, cast("dict[str, Any]", table))
        if rule is not None:
            first = rules.setdefault((rule.detector, rule.strength), rule)
            if first is not rule:
                reader.say(f"is for the same findings as the one in line {first.line}")
        problems += [_problem(source, line, text) for text in reader.problems]
    return tuple(rules.values())


def _rule(reader: TableReader, table: dict[str, Any]) -> Rule | None:
    reader.unknown(table, _RULE)
    detector = reader.take(table, "detector", _detector, "")
    if detector:
        reader.what = f"response to `{detector}`"
    strength = reader.take(table, "strength", _strength, Strength.WEAK)
    level = reader.take(table, "respond", _level, None)
    if "respond" not in table:
        reader.say(f"has no `respond` ({', '.join(_levels())})")
    holds = reader.take(table, "scope", one_of(Holds), Holds.RUN)
    lasts = reader.take(table, "for", _at_most(MAX_FOR_S), HOUR)
    risk = reader.take(table, "risk", whole(0, 100), RISKS[strength])
    rate = reader.take(table, "rate", _rate, None)
    reader.take(table, "about", words, "")
    if level is None:
        return None
    if rate is not None and level is not Level.THROTTLE:
        reader.say(f"has a `rate`, which is of `throttle`, and responds with {level.value}")
    if level is Level.NOTE and "risk" in table:
        reader.say("has a `risk`, and a note raises none: respond with `risk`")
    if level is Level.THROTTLE and rate is None:
        rate = RATE
    if reader.problems:
        return None
    return Rule(
        detector=detector,
        strength=strength,
        respond=level,
        holds=holds,
        for_s=lasts,
        risk=0 if level is Level.NOTE else risk,
        rate=rate,
        line=reader.line,
    )


def _adding(table: dict[str, Any] | None, reader: TableReader) -> Adding:
    if table is None:
        return Adding()
    reader.what = "[adding]"
    usual = Adding()
    reader.unknown(table, {"within", "at_most", *_STRENGTHS})
    weights = [
        reader.take(table, name, whole(0, 10), usual.weight(strength))
        for name, strength in _STRENGTHS.items()
    ]
    return Adding(
        within_s=reader.take(table, "within", _at_most(MAX_WITHIN_S), usual.within_s),
        at_most=reader.take(table, "at_most", _level, usual.at_most),
        weights=(weights[0], weights[1], weights[2]),
    )


def _limits(table: dict[str, Any] | None, reader: TableReader) -> Limits:
    if table is None:
        return Limits()
    reader.what = "[limits]"
    usual = Limits()
    reader.unknown(table, {"workloads", "percent", "within"})
    return Limits(
        # None at all is a choice, too: whole workloads are then stopped by people alone.
        workloads=reader.take(table, "workloads", whole(0, 10_000), usual.workloads),
        percent=reader.take(table, "percent", whole(1, 100), usual.percent),
        within_s=reader.take(table, "within", _at_most(MAX_WITHIN_S), usual.within_s),
    )


def _table(reader: TableReader, document: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    table = document.get(key)
    if table is None or isinstance(table, dict):
        return cast("dict[str, Any] | None", table)
    reader.say(f"`{key}` is one table: [{key}]")
    return None


def _problem(source: PolicySource, line: int, text: str) -> PolicyProblem:
    return PolicyProblem(file=source.name, line=line, policy="", text=text)


# Readers of values, as in `toml_tables.py`.


def _detector(value: Any) -> str:
    text = words(value)
    if _DETECTOR.match(text) is None:
        raise ValueError("is no name of a detector: small letters, digits and dashes")
    return text


def _strength(value: Any) -> Strength:
    found = _STRENGTHS.get(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"is none of {', '.join(_STRENGTHS)}")
    return found


def _levels() -> list[str]:
    return [level.value for level in Level if level is not Level.NONE]


def _level(value: Any) -> Level:
    if value not in _levels():
        raise ValueError(f"is none of {', '.join(_levels())}")
    return Level(value)


def _rate(value: Any) -> Rate:
    found = _RATE.match(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("is no rate such as 10/m (s, m or h)")
    return Rate(count=int(found[1]), seconds=_UNITS[found[2]])


def _at_most(longest: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        seconds = duration(value)
        if seconds > longest:
            days = longest // 86_400
            raise ValueError(f"is longer than {days} day{'s' if days > 1 else ''}")
        return seconds

    return read


__all__ = ["FILE", "is_responding", "parse_responses"]
