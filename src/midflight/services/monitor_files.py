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

import enum
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from midflight.domain.action import ActionKind
from midflight.domain.errors import Malformed
from midflight.domain.monitor import MICROS, Counts, Monitor, MonitorKind, Per, Selection
from midflight.domain.paths import argument_path
from midflight.domain.traits import Effect, Reach, Role
from midflight.services.ports.policy_sets import PolicyProblem, PolicySource

SUFFIX = ".toml"
TABLE = "monitor"
MAX_MONITORS = 256
MAX_WINDOW_S = 90 * 86_400
MAX_STEPS = 8
MAX_REMEMBER = 100_000
MAX_PLACES = 6

E = TypeVar("E", bound=enum.StrEnum)
T = TypeVar("T")

# Cedar grammar: IDENT without the words that are none.
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_RESERVED = frozenset({"true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"})
_DURATION = re.compile(r"([1-9][0-9]{0,6})([smhd])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
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
    return source.name.endswith(SUFFIX)


def concerns_monitors(name: str, text: str) -> bool:
    """Whether a TOML file below the policy directory declares monitors, or means to.

    Others are somebody else's. What is no TOML may be either, so it is taken for one that does.
    """
    if name.rpartition("/")[2] == f"{TABLE}s{SUFFIX}":
        return True
    try:
        return not {TABLE, f"{TABLE}s"}.isdisjoint(tomllib.loads(text))
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
            reader = _Reader(source.name, line)
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


class _Reader:
    """Reads the fields of one table and collects what is wrong."""

    def __init__(self, file: str, line: int) -> None:
        self.file = file
        self.line = line
        self.problems: list[str] = []
        self.what = "a monitor"

    def say(self, text: str) -> None:
        """Note a problem."""
        self.problems.append(f"{self.what}: {text}")

    def take(self, table: dict[str, Any], key: str, read: Callable[[Any], T], default: T) -> T:
        """One field, or `default` when it is not there or wrong."""
        if key not in table:
            return default
        try:
            return read(table[key])
        except ValueError as error:
            self.say(f"`{key}` {error}")
            return default

    def unknown(self, table: dict[str, Any], known: Collection[str]) -> None:
        """Note every key that nobody reads."""
        for key in table:
            if key not in known:
                self.say(f"`{key}` is not known; known are {', '.join(sorted(known))}")


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


def _monitor(reader: _Reader, table: dict[str, Any], taken: Collection[str]) -> Monitor | None:
    name = reader.take(table, "name", _name, "")
    if "name" not in table:
        reader.say("has no `name`")
    elif name:
        reader.what = f"monitor `{name}`"
    if name in taken:
        reader.say("has the name of an attribute that every run has; choose another")
    kind = reader.take(table, "kind", _one_of(MonitorKind), None)
    per = reader.take(table, "per", _one_of(Per), None)
    for key, values in (("kind", MonitorKind), ("per", Per)):
        if key not in table:
            reader.say(f"has no `{key}` ({', '.join(values)})")
    if kind is None:
        reader.unknown(table, _KNOWN)
        return None
    reader.unknown(table, _COMMON | _KEYS[kind])
    clock = "within" if kind is MonitorKind.SEQUENCE else "window"
    window = reader.take(table, clock, _duration, 0)
    if clock not in table and kind in (MonitorKind.RATE, MonitorKind.SEQUENCE):
        reader.say(f'has no `{clock}`, such as "10m"')
    in_steps = kind is MonitorKind.SEQUENCE
    steps = _steps(reader, table) if in_steps else (_selection(reader, table),)
    argument = reader.take(table, "argument", _path, "")
    role = reader.take(table, "role", _one_of(Role), None)
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
        counts=reader.take(table, "counts", _one_of(Counts), Counts.PERMITTED),
        argument=argument,
        role=role,
        places=reader.take(table, "places", _whole(0, MAX_PLACES), 0),
        remember=reader.take(table, "remember", _whole(1, MAX_REMEMBER), 10_000),
        about=reader.take(table, "about", _text, ""),
        file=reader.file,
        line=reader.line,
    )
    return None if reader.problems else monitor


def _steps(reader: _Reader, table: dict[str, Any]) -> tuple[Selection, ...]:
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


def _selection(reader: _Reader, table: dict[str, Any]) -> Selection:
    return Selection(
        effects=reader.take(table, "effects", _set_of(_one_of(Effect)), frozenset()),
        kinds=reader.take(table, "kinds", _set_of(_one_of(ActionKind)), frozenset()),
        upstreams=reader.take(table, "upstreams", _set_of(_text), frozenset()),
        tools=reader.take(table, "tools", _set_of(_text), frozenset()),
        reach=reader.take(table, "reach", _one_of(Reach), None),
    )


# Readers of values: each gives the value or raises a `ValueError` that says what would fit.


def _name(value: Any) -> str:
    text = _text(value)
    if _IDENTIFIER.match(text) is None or text in _RESERVED:
        raise ValueError(
            "is no name a policy can write: letters, digits and underscores, no digit first, at"
            " most 64, and no word of Cedar"
        )
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("is no text")
    return value


def _path(value: Any) -> str:
    text = _text(value)
    try:
        steps = argument_path(text).steps
    except Malformed as error:
        raise ValueError(f"is no path of an argument: {error}") from None
    if any(step.deep for step in steps):
        raise ValueError("says `..`; name every step, as in `payment.amount` or `items[*].price`")
    return text


def _duration(value: Any) -> int:
    found = _DURATION.match(value) if isinstance(value, str) else None
    seconds = 0 if found is None else int(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds <= MAX_WINDOW_S:
        raise ValueError("is no time such as 30s, 10m, 2h or 1d (at most 90d)")
    return seconds


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"is no whole number from {least} to {most}")
        return value

    return read


def _one_of(values: type[E]) -> Callable[[Any], E]:
    def read(value: Any) -> E:
        try:
            return values(value)
        except ValueError:
            raise ValueError(f"is none of {', '.join(values)}") from None

    return read


def _set_of(read: Callable[[Any], T]) -> Callable[[Any], frozenset[T]]:
    def read_all(value: Any) -> frozenset[T]:
        if not isinstance(value, list) or not value:
            raise ValueError("is no list with something in it; leave it out for all")
        return frozenset(read(member) for member in cast("list[Any]", value))

    return read_all


__all__ = [
    "MAX_MONITORS",
    "SUFFIX",
    "concerns_monitors",
    "is_declaring",
    "parse_monitors",
]
