"""Reading tables that operators write in TOML, strictly and with every problem at once.

Readers of values each give the value or raise a `ValueError` that says what would fit; a
`TableReader` takes fields with them and collects what is wrong. Above: `monitor_files.py`,
`response_files.py`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection
from typing import Any, TypeVar, cast

MAX_WINDOW_S = 90 * 86_400

E = TypeVar("E", bound=enum.StrEnum)
T = TypeVar("T")

_DURATION = re.compile(r"([1-9][0-9]{0,6})([smhd])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class TableReader:
    """Reads the fields of one table and collects what is wrong."""

    def __init__(self, file: str, line: int, what: str) -> None:
        """`what` is what problems call the table."""
        self.file = file
        self.line = line
        self.problems: list[str] = []
        self.what = what

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


def words(value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("is no text")
    return value


def duration(value: Any) -> int:
    """Seconds of `30s`, `10m`, `2h`, `1d`."""
    found = _DURATION.match(value) if isinstance(value, str) else None
    seconds = 0 if found is None else int(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds <= MAX_WINDOW_S:
        raise ValueError("is no time such as 30s, 10m, 2h or 1d (at most 90d)")
    return seconds


def whole(least: int, most: int) -> Callable[[Any], int]:
    """A whole number within bounds."""

    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"is no whole number from {least} to {most}")
        return value

    return read


def one_of(values: type[E]) -> Callable[[Any], E]:
    """One of an enumeration."""

    def read(value: Any) -> E:
        try:
            return values(value)
        except ValueError:
            raise ValueError(f"is none of {', '.join(values)}") from None

    return read


def set_of(read: Callable[[Any], T]) -> Callable[[Any], frozenset[T]]:
    """A list of such values, in no order."""

    def read_all(value: Any) -> frozenset[T]:
        if not isinstance(value, list) or not value:
            raise ValueError("is no list with something in it; leave it out for all")
        return frozenset(read(member) for member in cast("list[Any]", value))

    return read_all


__all__ = ["MAX_WINDOW_S", "TableReader", "duration", "one_of", "set_of", "whole", "words"]
