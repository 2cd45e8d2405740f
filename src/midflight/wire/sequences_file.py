"""`sequences.toml`: sequence rules as operators write them.

    [[sequence]]
    id = "recon-grant-effect"
    about = "looked around, got a right, and used it"
    strength = "fair"
    over = "family"
    within = "1h"

    [[sequence.step]]
    effects = ["read"]
    times = 3

Strict, and all problems at once with their lines: a misspelt condition would be a wider rule.
Below: `toml.py`, `domain/sequence.py`.
"""

from __future__ import annotations

import enum
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from midflight.domain.errors import Misconfigured
from midflight.domain.finding import Strength
from midflight.domain.sequence import Brings, Over, Rule, Step
from midflight.domain.traits import Effect, Reach
from midflight.wire.toml import TomlPath, lines_of

MAX_BYTES = 262_144
MAX_RULES = 64
MAX_STEPS = 8
MAX_TIMES = 32
MAX_NAMES = 32
MAX_WITHIN_S = 7 * 86_400

E = TypeVar("E", bound=enum.StrEnum)

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_RULE = {"id", "about", "strength", "over", "within", "off", "step"}
_STEP = {"effects", "reach", "names", "refused", "brings", "seen", "unapproved", "times"}
_STRENGTHS = {each.name.lower(): each for each in Strength}


def parse(text: str, *, name: str, base: Sequence[Rule] = ()) -> tuple[Rule, ...]:
    """The rules of a file over those of `base`, which it adds to or replaces by id.

    Args:
        text: of the file.
        name: how errors call it.
        base: rules that hold beside it.

    Raises:
        Misconfigured: with every problem, each with its line.
    """
    if len(text) > MAX_BYTES:
        raise Misconfigured(f"{name} is larger than {MAX_BYTES:,} characters.")
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        why = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it nests too deep"
        raise Misconfigured(f"{name} is not TOML: {why}.") from None
    reader = _Reader()
    rules = reader.document(document, {rule.id: rule for rule in base})
    if reader.problems:
        lines = lines_of(text)
        told = [f"{_place(at, lines, name)}: {what}" for at, what in reader.problems]
        raise Misconfigured(
            f"{name} has {len(told)} problem{'s' if len(told) > 1 else ''}:",
            told,
            hint="Nothing of it is used. docs/detectors.md says what can stand there.",
        )
    return tuple(rules.values())


class _Reader:
    """Reads one document and gathers its problems."""

    def __init__(self) -> None:
        self.problems: list[tuple[TomlPath, str]] = []

    def document(self, document: Mapping[str, Any], rules: dict[str, Rule]) -> dict[str, Rule]:
        self._only(document, {"sequence"}, ())
        tables = document.get("sequence", [])
        if not _is_tables(tables):
            self._bad(("sequence",), "is no list of [[sequence]] tables")
            return rules
        given: set[str] = set()
        for number, table in enumerate(tables):
            at: TomlPath = ("sequence", number)
            named = table.get("id")
            if isinstance(named, str) and named in given:
                self._bad((*at, "id"), f"{named} is given twice")
            rule = self._rule(table, at)
            if isinstance(named, str):
                given.add(named)
                rules.pop(named, None)
            if rule is not None:
                rules[rule.id] = rule
        if len(rules) > MAX_RULES:
            self._bad(("sequence",), f"there are more than {MAX_RULES} rules")
        return rules

    def _rule(self, table: Mapping[str, Any], at: TomlPath) -> Rule | None:
        before = len(self.problems)
        self._only(table, _RULE, at)
        named = table.get("id")
        if not isinstance(named, str) or _ID.match(named) is None:
            self._bad((*at, "id"), "is not 1 to 64 lower-case letters, digits and dashes")
            named = ""
        if self._boolean(table, "off", at):
            return None
        about = table.get("about")
        if not isinstance(about, str) or not 0 < len(about) <= 200 or not about.isprintable():
            self._bad((*at, "about"), "is not 1 to 200 printable characters")
            about = ""
        strength = _STRENGTHS.get(str(table.get("strength", "fair")))
        if strength is None:
            self._bad((*at, "strength"), f"is none of {', '.join(_STRENGTHS)}")
            strength = Strength.WEAK
        over = self._one(Over, table, "over", at) or Over.FAMILY
        within = self._seconds(table.get("within", "1h"), (*at, "within"))
        steps = self._steps(table.get("step"), (*at, "step"))
        if len(self.problems) > before:
            return None
        return Rule(
            id=named, about=about, strength=strength, over=over, within_s=within, steps=steps
        )

    def _steps(self, tables: Any, at: TomlPath) -> tuple[Step, ...]:
        if not _is_tables(tables) or not 2 <= len(tables) <= MAX_STEPS:
            self._bad(at, f"is not 2 to {MAX_STEPS} [[sequence.step]] tables")
            return ()
        return tuple(self._step(table, (*at, number)) for number, table in enumerate(tables))

    def _step(self, table: Mapping[str, Any], at: TomlPath) -> Step:
        self._only(table, _STEP, at)
        if not table.keys() & (_STEP - {"times", "unapproved"}):
            self._bad(at, "would be any action; give a condition")
        times = table.get("times", 1)
        if type(times) is not int or not 1 <= times <= MAX_TIMES:
            self._bad((*at, "times"), f"is not 1 to {MAX_TIMES}")
            times = 1
        if times > 1 and at[-1] != 0:
            self._bad((*at, "times"), "is for the first step only")
        brings = self._several(Brings, table, "brings", at)
        if brings and table.keys() & {"refused", "seen", "unapproved"}:
            self._bad((*at, "brings"), "is about results; refused, seen, unapproved are not")
        names: list[str] = table.get("names", [])
        if not _is_texts(names) or len(names) > MAX_NAMES or ("names" in table and not names):
            self._bad((*at, "names"), f"is not 1 to {MAX_NAMES} patterns")
            names = []
        return Step(
            effects=self._several(Effect, table, "effects", at),
            reach=self._one(Reach, table, "reach", at),
            # `upstream/name`; a pattern without a slash is about the name.
            names=tuple(each if "/" in each else f"*/{each}" for each in names),
            refused=self._boolean(table, "refused", at) if "refused" in table else None,
            brings=brings,
            seen=self._several(Brings, table, "seen", at),
            unapproved=self._boolean(table, "unapproved", at),
            times=times,
        )

    def _only(self, table: Mapping[str, Any], known: set[str], at: TomlPath) -> None:
        for key in table.keys() - known:
            self._bad((*at, key), "is nothing that can stand here; check the spelling")

    def _boolean(self, table: Mapping[str, Any], key: str, at: TomlPath) -> bool:
        value = table.get(key, False)
        if type(value) is not bool:
            self._bad((*at, key), "is neither true nor false")
            return False
        return value

    def _one(self, kind: type[E], table: Mapping[str, Any], key: str, at: TomlPath) -> E | None:
        if key not in table:
            return None
        try:
            return kind(table[key])
        except ValueError:
            self._bad((*at, key), f"is none of {', '.join(kind)}")
            return None

    def _several(
        self, kind: type[E], table: Mapping[str, Any], key: str, at: TomlPath
    ) -> frozenset[E]:
        values = table.get(key, [])
        known = {each.value for each in kind}
        if not _is_texts(values) or set(values) - known or (key in table and not values):
            self._bad((*at, key), f"is no list of {', '.join(kind)}")
            return frozenset()
        return frozenset(kind(each) for each in values)

    def _seconds(self, value: Any, at: TomlPath) -> float:
        found = _DURATION.match(value) if isinstance(value, str) else None
        seconds = int(found[1]) * _SECONDS[found[2]] if found is not None else 0
        if not 0 < seconds <= MAX_WITHIN_S:
            self._bad(at, "is not a time like 30m, 1h or 7d, at most 7 days")
        return float(seconds)

    def _bad(self, at: TomlPath, what: str) -> None:
        self.problems.append((at, what))


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) for each in cast("list[Any]", value)
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, str) and 0 < len(each) <= 200 for each in cast("list[Any]", value)
    )


def _place(path: TomlPath, lines: Mapping[TomlPath, int], name: str) -> str:
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return f"{name}:{lines[path[:end]]}: {dotted.removeprefix('.')}"
    return f"{name}: {dotted.removeprefix('.')}"


__all__ = ["MAX_RULES", "MAX_STEPS", "MAX_TIMES", "MAX_WITHIN_S", "parse"]
