"""Text that strangers wrote, made fit for a line that people read: one line, nothing hidden, short.

Not escaping, which each format does for itself (`adapters/notify`). Pure.
"""

from __future__ import annotations

import unicodedata

# Control, format (bidirectional, zero width), surrogates, private use, unassigned, separators of
# lines: none has a shape of its own, and some move what stands beside them (CVE-2021-42574).
_SHAPELESS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters without a shape that other categories hold (Unicode: Default_Ignorable_Code_Point).
_IGNORABLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    chr(point) for block in (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)) for point in block
)
# Mn and Me stand on the character before them: many of them cover the lines around it.
_MARKS = frozenset({"Mn", "Me"})
MAX_MARKS = 4
"""Marks on one character; more are in no orthography."""


def visible(text: str, *, lines: bool = False) -> str:
    """The text with each character that is hidden or obeyed somewhere written as its code point.

    With `lines`, line feeds stay.
    """
    if text.isascii() and text.isprintable():
        return text
    drawn: list[str] = []
    marks = MAX_MARKS  # so that the first of a text never sits on what stands before it
    for each in text:
        marks = marks + 1 if unicodedata.category(each) in _MARKS else 0
        is_shown = (lines and each == "\n") or (_shows(each) and marks <= MAX_MARKS)
        drawn.append(each if is_shown else _escape(each))
    return "".join(drawn)


def plain(text: str, limit: int) -> str:
    """One line of at most `limit` characters, all of them visible; every space is a plain one."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    # Cut first: escaping a megabyte to show a line of it would let strangers cost time.
    shown = "".join(
        " " if unicodedata.category(each) == "Zs" else each for each in visible(text[: limit + 1])
    )
    return shown if len(shown) <= limit else shown[: max(0, limit - 1)] + "…"


def _shows(character: str) -> bool:
    return unicodedata.category(character) not in _SHAPELESS and character not in _IGNORABLE


def _escape(character: str) -> str:
    point = ord(character)
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"


__all__ = ["MAX_MARKS", "plain", "visible"]
