"""Declarations of monitors as operators write them: `[[monitor]]` tables in TOML.

    [[monitor]]
    name = "paid_per_day"
    kind = "sum"
    per = "workload"
    window = "1d"
    effects = ["pay"]
    role = "amount"
    places = 2

Strict, and all problems at once: an unknown key would silently count something else. Above:
`policy_files.py`, and the policy compiler, for which a declaration is part of the set.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, cast

from midflight.domain.action import ActionKind
from midflight.domain.errors import Malformed
from midflight.domain.monitor import MICROS, Counts, Monitor, MonitorKind, Per, Selection
from midflight.domain.paths import argument_path
from midflight.domain.traits import Effect, Reach, Role
from midflight.services.ports.policy_sets import PolicyProblem, PolicySource
from midflight.services.response_files import is_responding
from midflight.services.toml_tables import TableReader, duration, one_of, set_of, whole, words

SUFFIX = ".toml"
TABLE = "monitor"
MAX_MONITORS = 256
MAX_STEPS = 8
MAX_REMEMBER = 100_000
MAX_PLACES = 6

# Cedar grammar: IDENT without the words that are none.
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_RESERVED = frozenset({"true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"})
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*monitor[ \t]*\]\]", re.MULTILINE)
_SELECTING = ("effects", "kinds", "upstreams", "tools", "reach")
_KEYS: Mapping[MonitorKind, frozenset[str]] = {
    MonitorKind.COUNT: frozenset({"window", *_SELECTING}),
    MonitorKind.RATE: frozenset({"window", *_SELECTING}),
    MonitorKind.SUM: frozenset({"window", "argument", "role", "places", *_SELECTING}),
    MonitorKind.DISTINCT: frozenset({"window", "argument", "role", *_SELECTING}),
    MonitorKind.SEQUENCE: frozenset({"within", "step"}),
}
_COMMON = frozenset({"name", "kind", "per", "counts", "remember", "about"})
_KNOWN = _COMMON.union(*_KEYS.values())


def is_declaring(source: PolicySource) -> bool:
    """Whether a source holds declarations of monitors rather than policies."""
    return source.name.endswith(SUFFIX) and not is_responding(source)


def concerns_monitors(name: str, text: str) -> bool:
    """Whether a TOML file below the policy directory declares monitors, or means to.

    Others are somebody else's. What is no TOML may be either, so it is taken for one that does.
    """
    if name.rpartition("/")[2] == f"{TABLE}s{SUFFIX}":
        return True
    try:
        # A response that stands in another file than its own would be one that nobody reads.
        return not {TABLE, f"{TABLE}s", "response"}.isdisjoint(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return True


def parse_monitors(
    sources: Sequence[PolicySource], *, taken: Collection[str]
) -> tuple[tuple[Monitor, ...], list[PolicyProblem]]:
    """The declarations of some files, by name, and every problem of them.

    Args:
        sources: the files.
        taken: attributes of `context.run` that are there already.
    """
    monitors: dict[str, Monitor] = {}
    problems: list[PolicyProblem] = []
    for source in sources:
        for line, table, trouble in _tables(source):
            reader = TableReader(source.name, line, "a monitor")
            reader.problems.extend(trouble)
            monitor = None if table is None else _monitor(reader, table, taken)
            problems.extend(
                PolicyProblem(file=source.name, line=line, policy="", text=text)
                for text in reader.problems
            )
            if monitor is None or reader.problems:
                continue
            if (first := monitors.get(monitor.name)) is not None:
                text = f"monitor `{monitor.name}` is declared in {first.file}:{first.line} already"
                problems.append(PolicyProblem(file=source.name, line=line, policy="", text=text))
                continue
            monitors[monitor.name] = monitor
    if len(monitors) > MAX_MONITORS:
        text = f"there are {len(monitors)} monitors, and at most {MAX_MONITORS} are kept"
        problems.append(PolicyProblem(file=sources[-1].name, line=0, policy="", text=text))
    return tuple(monitors[name] for name in sorted(monitors)), problems


def _tables(
    source: PolicySource,
) -> Iterator[tuple[int, dict[str, Any] | None, list[str]]]:
    """(line, table, problems) for each declaration of a file."""
    try:
        document = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        # The message names line and column and does not repeat the text.
        yield 0, None, [f"is no TOML: {error}"]
        return
    others = [key for key in document if key != TABLE]
    if others:
        text = f"holds `{others[0]}`; a file of monitors holds [[{TABLE}]] tables and nothing else"
        yield 0, None, [text]
    tables = document.get(TABLE, [])
    if not isinstance(tables, list):
        yield 0, None, [f"`{TABLE}` is one table; write [[{TABLE}]], with two brackets"]
        return
    lines = [source.text.count("\n", 0, at.start()) + 1 for at in _HEADER.finditer(source.text)]
    for number, table in enumerate(cast("list[Any]", tables)):
        line = lines[number] if number < len(lines) else 0
        if isinstance(table, dict):
            yield line, cast("dict[str, Any]", table), []
        else:
            yield line, None, [f"`{TABLE}` holds what is no table"]


def _monitor(reader: TableReader, table: dict[str, Any], taken: Collection[str]) -> Monitor | None:
    name = reader.take(table, "name", _name, "")
    if "name" not in table:
        reader.say("has no `name`")
    elif name:
        reader.what = f"monitor `{name}`"
    if name in taken:
        reader.say("has the name of an attribute that every run has; choose another")
    kind = reader.take(table, "kind", one_of(MonitorKind), None)
    per = reader.take(table, "per", one_of(Per), None)
    for key, values in (("kind", MonitorKind), ("per", Per)):
        if key not in table:
            reader.say(f"has no `{key}` ({', '.join(values)})")
    if kind is None:
        reader.unknown(table, _KNOWN)
        return None
    reader.unknown(table, _COMMON | _KEYS[kind])
    clock = "within" if kind is MonitorKind.SEQUENCE else "window"
    window = reader.take(table, clock, duration, 0)
    if clock not in table and kind in (MonitorKind.RATE, MonitorKind.SEQUENCE):
        reader.say(f'has no `{clock}`, such as "10m"')
    in_steps = kind is MonitorKind.SEQUENCE
    steps = _steps(reader, table) if in_steps else (_selection(reader, table),)
    argument = reader.take(table, "argument", _path, "")
    role = reader.take(table, "role", one_of(Role), None)
    if kind in (MonitorKind.SUM, MonitorKind.DISTINCT) and ("argument" in table) == (
        "role" in table
    ):
        reader.say("needs either an `argument` (its path) or a `role` (such as amount, recipient)")
    monitor = Monitor(
        name=name,
        kind=kind,
        per=per or Per.RUN,
        steps=steps,
        window_us=window * MICROS,
        counts=reader.take(table, "counts", one_of(Counts), Counts.PERMITTED),
        argument=argument,
        role=role,
        places=reader.take(table, "places", whole(0, MAX_PLACES), 0),
        remember=reader.take(table, "remember", whole(1, MAX_REMEMBER), 10_000),
        about=reader.take(table, "about", words, ""),
        file=reader.file,
        line=reader.line,
    )
    return None if reader.problems else monitor


def _steps(reader: TableReader, table: dict[str, Any]) -> tuple[Selection, ...]:
    given = table.get("step")
    if not isinstance(given, list) or not 2 <= len(cast("list[Any]", given)) <= MAX_STEPS:
        reader.say(f"needs 2 to {MAX_STEPS} [[{TABLE}.step]] tables, in order")
        return ()
    steps: list[Selection] = []
    for step in cast("list[Any]", given):
        if not isinstance(step, dict):
            reader.say("has a `step` that is no table")
            continue
        found = cast("dict[str, Any]", step)
        reader.unknown(found, _SELECTING)
        if not found:
            reader.say(f"has a step that every action takes; name {', '.join(_SELECTING)}")
        steps.append(_selection(reader, found))
    return tuple(steps)


def _selection(reader: TableReader, table: dict[str, Any]) -> Selection:
    return Selection(
        effects=reader.take(table, "effects", set_of(one_of(Effect)), frozenset()),
        kinds=reader.take(table, "kinds", set_of(one_of(ActionKind)), frozenset()),
        upstreams=reader.take(table, "upstreams", set_of(words), frozenset()),
        tools=reader.take(table, "tools", set_of(words), frozenset()),
        reach=reader.take(table, "reach", one_of(Reach), None),
    )


# Readers of values: each gives the value or raises a `ValueError` that says what would fit.


def _name(value: Any) -> str:
    text = words(value)
    if _IDENTIFIER.match(text) is None or text in _RESERVED:
        raise ValueError(
            "is no name a policy can write: letters, digits and underscores, no digit first, at"
            " most 64, and no word of Cedar"
        )
    return text


def _path(value: Any) -> str:
    text = words(value)
    try:
        steps = argument_path(text).steps
    except Malformed as error:
        raise ValueError(f"is no path of an argument: {error}") from None
    if any(step.deep for step in steps):
        raise ValueError("says `..`; name every step, as in `payment.amount` or `items[*].price`")
    return text


__all__ = [
    "MAX_MONITORS",
    "SUFFIX",
    "concerns_monitors",
    "is_declaring",
    "parse_monitors",
]
