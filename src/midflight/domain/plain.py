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


def plain(text: str, limit: int) -> str:
    """One line of at most `limit` characters; what has no shape is written as its code point."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    # Cut first: escaping a megabyte to show a line of it would let strangers cost time.
    shown = "".join(_shown(each) for each in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: max(0, limit - 1)] + "…"


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if category in _SHAPELESS or character in _IGNORABLE:
        return f"\\u{ord(character):04x}"
    return " " if category == "Zs" else character


__all__ = ["plain"]
