"""TOML: which line says what, and text as TOML writes it.

Reading is the standard library's; it has no writer, and what is written here is little: words,
lists of words and tables. Above: the settings file and the traits files.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

TomlPath = tuple[str | int, ...]

MAX_STATEMENT_LINES = 1_000
"""A statement of more lines is not located: finding its end takes time that grows as the square."""

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def lines_of(text: str) -> dict[TomlPath, int]:
    """The line (from 1) on which each key of a valid TOML document is set.

    A statement is the shortest run of lines that is a document by itself, so multi-line strings
    and arrays need no parser of their own. What stands behind a statement of more than
    `MAX_STATEMENT_LINES` has no line.
    """
    found: dict[TomlPath, int] = {}
    table: TomlPath = ()
    counts: dict[TomlPath, int] = {}
    for number, statement in _statements(text):
        stripped = statement.strip()
        document = tomllib.loads(statement)
        if not document:
            continue
        if stripped.startswith("["):
            table = _header(document, array=stripped.startswith("[["), counts=counts)
            found.setdefault(table, number)
            continue
        for path in _leaves(document):
            for end in range(1, len(path) + 1):
                found.setdefault(table + path[:end], number)
    return found


def key(name: str) -> str:
    """A key: bare if it is a plain word, else quoted."""
    return name if _BARE.match(name) else quoted(name)


def quoted(text: str) -> str:
    """A basic string in ASCII, so that nothing in it is invisible or looks like another letter.

    Raises:
        ValueError: text with a lone surrogate, which TOML cannot hold.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a lone surrogate is no text")
    return '"' + "".join(map(_escaped, text)) + '"'


def array(texts: Iterable[str]) -> str:
    """An array of strings on one line."""
    return "[" + ", ".join(map(quoted, texts)) + "]"


def comment(text: str) -> str:
    """A comment on one line, whatever the text holds."""
    return "# " + "".join(
        found if found.isascii() and found.isprintable() else _escaped(found) for found in text
    )


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isascii() and character.isprintable():
        return character
    point = ord(character)
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"


def _statements(text: str) -> Iterator[tuple[int, str]]:
    pending: list[str] = []
    start = 1
    lines = text.replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if not pending:
            start = number
        pending.append(line)
        statement = "\n".join(pending)
        try:
            tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            if len(pending) > MAX_STATEMENT_LINES:
                return
            continue
        yield start, statement
        pending = []


def _header(document: dict[str, Any], *, array: bool, counts: dict[TomlPath, int]) -> TomlPath:
    names: list[str] = []
    node: Any = document
    while isinstance(node, dict) and node:
        name, node = next(iter(node.items()))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        names.append(str(name))  # pyright: ignore[reportUnknownArgumentType]
    path: TomlPath = ()
    for depth, name in enumerate(names):
        path = (*path, name)
        if array and depth == len(names) - 1:
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def _leaves(document: dict[str, Any]) -> Iterator[TomlPath]:
    for name, value in document.items():
        if isinstance(value, dict) and value:
            for rest in _leaves(value):  # pyright: ignore[reportUnknownArgumentType]
                yield (name, *rest)
        else:
            yield (name,)


__all__ = ["TomlPath", "array", "comment", "key", "lines_of", "quoted"]
