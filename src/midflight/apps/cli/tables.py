"""Tables that fit a terminal: columns hold their longest words, so that no id is broken in two.

Lines of text from cells that are safe to print; nothing is printed here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

NONE = "-"
"""What stands in a cell that is empty."""
# Columns of a terminal that the last one of a table has at least.
_LAST = 24


def fitted(
    columns: Sequence[str], cells: Sequence[Sequence[str]], *, room: int
) -> list[str] | None:
    """The lines of a table, its head first; None if it does not fit beside each other.

    In the last column alone a word may be longer than it: the terminal wraps it, which breaks no
    copy. Where there is too little room, columns that are empty in every row are left out.
    """
    texts = [[name.upper(), *column] for name, *column in zip(columns, *cells, strict=True)]
    widths = _widths(texts, room)
    if widths is None:
        texts = [column for column in texts if set(column[1:]) != {NONE}]
        widths = _widths(texts, room)
    if widths is None:
        return None
    lines: list[str] = []
    for line in zip(*texts, strict=True):
        wrapped = [_wrapped(text, width) for text, width in zip(line, widths, strict=True)]
        for parts in zip_longest(*wrapped, fillvalue=""):
            padded = (
                text + " " * (width - _width(text))
                for text, width in zip(parts, widths, strict=True)
            )
            lines.append("  ".join(padded).rstrip())
    return lines


def _widths(texts: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """How wide each column is; None if not even their longest words fit beside each other."""
    wanted = [max(map(_width, column)) for column in texts]
    # Heads stay on one line; of the rest each word does.
    widths = [
        max(_width(w) for w in (column[0], *(w for text in column[1:] for w in text.split())))
        for column in texts
    ]
    if not widths:
        return None
    widths[-1] = min(widths[-1], _LAST)
    spare = room - sum(widths) - 2 * (len(widths) - 1)
    if spare < 0:
        return None
    # Those first that need the least to be whole.
    for index in sorted(range(len(widths)), key=lambda index: wanted[index] - widths[index]):
        more = min(spare, wanted[index] - widths[index])
        widths[index] += more
        spare -= more
    return widths


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and _width(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _width(text: str) -> int:
    """How many columns of a terminal it takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


__all__ = ["NONE", "fitted"]
