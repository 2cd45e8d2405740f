"""A traits document becomes reviews: every key known, every value of its kind, every problem told.

Pure over what TOML decoded. Below: `domain/reviews.py`. Above: `traits_file.py`, which knows lines.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from midflight.domain.errors import Malformed
from midflight.domain.labels import Confidentiality
from midflight.domain.paths import argument_path, result_path
from midflight.domain.reviews import Review, Reviews
from midflight.domain.traits import Argument, Effect, FieldKind, Reach, Role, Traits, Yield
from midflight.wire.toml import TomlPath

MAX_TOOLS = 10_000
MAX_ENTRIES = 1_000
"""Of one tool: arguments, and yields."""

Problems = list[tuple[TomlPath, str]]
E = TypeVar("E", bound=enum.StrEnum)
T = TypeVar("T")

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_UPSTREAM = re.compile(r"[a-z0-9-]{1,32}\Z")
_WORD = re.compile(r"[a-z0-9][a-z0-9:._-]{0,63}\Z")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}\Z")
_CLASSES = {level.name.lower(): level for level in Confidentiality}


def read_reviews(document: dict[str, Any], problems: Problems, *, of_format: int) -> Reviews:
    """The reviews in a document. What is wrong is added to `problems`; then the answer is void."""
    root = _Table(document, (), problems)
    given = root.take("format", int, "is the number of the file's form", None)
    if given is not None and given != of_format:
        root.say(f"is form {given}; this version reads {of_format}", "format")
    upstream = root.text("upstream", _UPSTREAM, "is not the name of an upstream")
    tools = root.table("tool")
    names = list(tools.rest) if tools is not None else []
    if len(names) > MAX_TOOLS:
        root.say(f"names more than {MAX_TOOLS:,} tools", "tool")
        names = []
    entries = [_review(tools, name) for name in names if tools is not None]
    root.end()
    return Reviews(upstream=upstream, tools=tuple(entry for entry in entries if entry is not None))


class _Table:
    """One table: what was taken out of it is known, what is left at the end is not."""

    def __init__(self, given: Mapping[str, Any], at: TomlPath, problems: Problems) -> None:
        self.rest = dict(given)
        self.at = at
        self.problems = problems

    def say(self, what: str, name: str | None = None) -> None:
        self.problems.append((self.at if name is None else (*self.at, name), what))

    def end(self) -> None:
        for name in self.rest:
            self.say("is not a key of this file; check the spelling", name)

    def take(self, name: str, kind: type[T], what: str, default: T | None) -> T | None:
        """A value of exactly this type; `default` if it is not there, None for one that must be."""
        if name not in self.rest:
            if default is None:
                self.say(f"has no {name}")
            return default
        value = self.rest.pop(name)
        if type(value) is not kind:  # a bool is an int to isinstance
            self.say(what, name)
            return default
        return cast("T", value)

    def flag(self, name: str, default: bool | None) -> bool:
        return bool(self.take(name, bool, "is not true or false", default))

    def choice(self, name: str, kind: type[E]) -> E:
        value = self.take(name, str, "is not text", None)
        return self.one_of(name, kind, value)

    def one_of(self, name: str, kind: type[E], value: str | None) -> E:
        first = next(iter(kind))
        if value is None:
            return first
        try:
            return kind(value)
        except ValueError:
            self.say(f"is none of {', '.join(kind)}", name)
            return first

    def text(self, name: str, form: re.Pattern[str], what: str, default: str | None = None) -> str:
        value = self.take(name, str, what, default)
        if value and form.match(value) is None:
            self.say(what, name)
        return value or ""

    def texts(self, name: str, form: re.Pattern[str], what: str) -> frozenset[str]:
        values = self.take(name, list, what, []) or []  # pyright: ignore[reportUnknownVariableType]
        found = [v for v in cast("list[object]", values) if type(v) is str and form.match(v)]
        if len(found) != len(cast("list[object]", values)):
            self.say(what, name)
        return frozenset(found)

    def table(self, name: str) -> _Table | None:
        value = self.take(name, dict, "is not a table", {})  # pyright: ignore[reportUnknownVariableType]
        if value is None:
            return None
        return _Table(cast("dict[str, Any]", value), (*self.at, name), self.problems)

    def tables(self, name: str) -> list[_Table]:
        value = self.take(name, list, "is not an array of tables", []) or []  # pyright: ignore[reportUnknownVariableType]
        found: list[_Table] = []
        for index, entry in enumerate(cast("list[object]", value)):
            if type(entry) is not dict:
                self.say("is not an array of tables", name)
                continue
            inside = cast("dict[str, Any]", entry)
            found.append(_Table(inside, (*self.at, name, index), self.problems))
        return found

    def path(self, name: str, compile_path: Callable[[str], object], text: str) -> str:
        """What a path comes to, so that two spellings of one place are one."""
        try:
            return str(compile_path(text))
        except Malformed as error:
            self.say(error.message, name)
            return ""


def _review(tools: _Table, name: str) -> Review | None:
    table = tools.table(name)
    if table is None:
        return None
    if not name:
        tools.say("names no tool", name)
    digest = table.text("digest", _DIGEST, "is not a digest of 64 hexadecimal digits")
    reviewed = table.flag("reviewed", None)
    traits = Traits(
        effect=table.choice("effect", Effect),
        reach=table.choice("reach", Reach),
        reviewed=reviewed,
        proposed=not reviewed,
        first_party=table.flag("first_party", False),
        persists=table.flag("persists", True),
        arguments=_arguments(table),
        yields=tuple(map(_yield, _few(table, "yields", table.tables("yields")))),
    )
    table.end()
    return Review(name=name, digest=digest, traits=traits)


def _arguments(tool: _Table) -> tuple[Argument, ...]:
    table = tool.table("arguments")
    if table is None:
        return ()
    found: list[Argument] = []
    places: set[str] = set()
    for path in _few(tool, "arguments", list(table.rest)):
        role = table.take(path, str, "is not text", None)
        place = table.path(path, _place, path)
        if place and place in places:
            table.say("names the same argument as another entry", path)
        places.add(place)
        found.append(Argument(path=path, role=table.one_of(path, Role, role)))
    return tuple(found)


def _place(text: str) -> object:
    return argument_path(text).place


def _few(table: _Table, name: str, entries: list[T]) -> list[T]:
    if len(entries) > MAX_ENTRIES:
        table.say(f"has more than {MAX_ENTRIES:,} entries", name)
        return []
    return entries


def _yield(table: _Table) -> Yield:
    path = table.take("path", str, "is not text", None) or ""
    if path:
        table.path("path", result_path, path)
    level = table.take("confidentiality", str, "is not text", "public") or "public"
    if level not in _CLASSES:
        table.say(f"is none of {', '.join(_CLASSES)}", "confidentiality")
    found = Yield(
        path=path,
        kind=table.choice("kind", FieldKind),
        confidentiality=_CLASSES.get(level, Confidentiality.SECRET),
        compartments=table.texts("compartments", _WORD, "is not a list of short lower-case words"),
        unless_field=table.take("unless_field", str, "is not text", "") or "",
        domains=table.texts("domains", _DOMAIN, "is not a list of domains such as example.org"),
    )
    # Half of a condition would never hold, or hold for everybody.
    if bool(found.unless_field) != bool(found.domains):
        table.say("has one of unless_field and domains; a condition needs both")
    table.end()
    return found


__all__ = ["MAX_ENTRIES", "MAX_TOOLS", "Problems", "read_reviews"]
