"""Placeholders: `{{lease:name}}` in an argument stands for a credential the workload never has.

This file finds them, and says where they may not be. What is judged, recorded and digested holds
the placeholder; only what is sent holds the credential (`services/injection.py`).

A placeholder is a whole argument, spelled exactly so. In part of a longer text, split over several,
spelled otherwise, escaped, or anywhere else than in an argument, it is misplaced: nothing would be
put in its place, and whoever wrote it expects or tries something that must not happen.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, cast
from urllib.parse import unquote

from midflight.domain.flow.text import skeleton
from midflight.domain.paths import Place, bare
from midflight.domain.value import JSON, JSONObject

_EXACT = re.compile(r"\{\{lease:([a-z0-9][a-z0-9-]{0,62})\}\}", re.ASCII)
_LIKE = re.compile(r"[{\[(<%$]{2}lease[:=.]|\{lease:")
_ESCAPED = re.compile(r"\\(?:u\{?0*([0-9a-fA-F]{2,4})\}?|x([0-9a-fA-F]{2}))")
# A letter of the word, or the percent sign or ampersand of an escape in an escape, as an escape.
_HIDDEN = re.compile(
    r"%(?:6[c15]|7[3b]|4[c15]|53|25)|&(?:#|amp)|\\(?:u\{?0*|x)(?:6[c15]|7[3b]|4[c15]|53|25|26|5c)"
)
_MAX_UNESCAPED = 3


class Placed:
    """The placeholders of one action. `names` are those that are whole arguments, in order."""

    __slots__ = ("misplaced", "names", "places")

    def __init__(self) -> None:
        self.names: list[str] = []
        self.places: list[Place] = []
        self.misplaced = False
        """Something that is, or looks like, a placeholder is where none may be."""


def placeholder(name: str) -> str:
    """The placeholder of a credential."""
    return f"{{{{lease:{name}}}}}"


def look(arguments: JSONObject, *beside: JSON) -> Placed | None:
    """The placeholders in the arguments, and whether there are any `beside` them or misspelled.

    None, quickly, where there is nothing that could be one.
    """
    values: list[str] = []
    keys: list[str] = []
    for each in (arguments, *beside):
        if each:
            _gather(each, values, keys)
    # Side by side, so that one in pieces is seen as well.
    if not _resembles("".join(values) + "\n" + "".join(keys)):
        return None
    placed = Placed()
    rest: list[str] = []
    for place, text in _leaves(arguments, ()):
        exact = _EXACT.fullmatch(text)
        if exact is None:
            rest.append(text)
        else:
            placed.names.append(exact[1])
            placed.places.append(bare(place))
            rest.append("\n")
    others: list[str] = []
    for each in beside:
        _gather(each, others, others)
    placed.misplaced = any(_resembles("".join(texts)) for texts in (rest, keys, others))
    return placed


def replaced(value: JSON, by: Callable[[str], str | None]) -> JSON:
    """A copy in which each whole argument that `by` knows is what it says."""
    if isinstance(value, str):
        found = by(value) if value.startswith("{{") else None
        return value if found is None else found
    if isinstance(value, dict):
        return {key: replaced(each, by) for key, each in value.items()}
    if isinstance(value, list):
        return [replaced(each, by) for each in value]
    return value


def _resembles(text: str) -> bool:
    """Whether a text is, or could be taken for, one that holds a placeholder."""
    if text.isascii():
        if "%" not in text and "&" not in text and "\\" not in text:
            if "{" not in text:
                return False
            lowered = text.lower()
            return "lease" in lowered and _LIKE.search("".join(lowered.split())) is not None
        if not _could_unfold(text):
            return False
    for _ in range(_MAX_UNESCAPED):
        if _LIKE.search(_folded(text)) is not None:
            return True
        unescaped = _ESCAPED.sub(
            lambda found: chr(int(found[1] or found[2], 16)), html.unescape(unquote(text))
        )
        if unescaped == text:
            return False
        text = unescaped
    return _LIKE.search(_folded(text)) is not None


def _could_unfold(text: str) -> bool:
    """Whether the word itself is there, or letters and braces of it are written as escapes."""
    lowered = text.lower()
    return "lease" in lowered or _HIDDEN.search(lowered) is not None


def _folded(text: str) -> str:
    """Letters that look alike are one, and what is not seen is not there."""
    if not text.isascii():
        text = "".join(
            each
            for each in unicodedata.normalize("NFKC", text)
            if unicodedata.category(each) not in {"Cf", "Mn", "Cc"}
        )
        text = skeleton(text)
    return "".join(text.lower().split())


def _gather(value: JSON, values: list[str], keys: list[str]) -> None:
    if isinstance(value, str):
        values.append(value)
    elif isinstance(value, dict):
        keys.extend(value)
        for each in value.values():
            if isinstance(each, str):
                values.append(each)
            elif each:
                _gather(each, values, keys)
    elif isinstance(value, list):
        for each in value:
            _gather(each, values, keys)


def _leaves(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, each in cast("JSONObject", value).items():
            yield from _leaves(each, (*place, key))
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from _leaves(each, (*place, None))


__all__ = ["Placed", "look", "placeholder", "replaced"]
