"""Paths into results and arguments: the small part of JSONPath that traits are written in.

    $                  the whole result
    $.name             a member                     ['any name'] if it is not a plain word
    $.items[*].body    every element of an array
    $..name            a member of that name, at any depth

The spelling is that of RFC 9535; `[*]` takes elements of arrays only, since the keys of a map may
be anybody's words. A path of an argument is the same without the `$.`: `event.attendees[*]`.

A path is compiled once into a machine of at most `MAX_STEPS` + 1 states that are the bits of one
integer, so matching costs one look-up for each step of what is matched, whatever the pattern.
Above: the traits file, and whoever labels results.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator

from midflight.domain.errors import Malformed
from midflight.domain.value import Value

MAX_STEPS = 32
MAX_LENGTH = 1_024

Place = tuple[str | None, ...]
"""A concrete place in a document: a key for each object, None for each element of an array."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_STEP = re.compile(
    r"(?P<each>\[\*\])"
    r"|(?P<deep>\.\.)?(?:(?P<dot>\.)?(?P<word>[A-Za-z_][A-Za-z0-9_-]*)"
    r"|\['(?P<quoted>(?:[^'\\\x00-\x1f]|\\(?:['\\/bfnrt]|u[0-9A-Fa-f]{4}))*)'\])"
)
_HINT = "Write it like $.items[*].body, $..sender or $['odd name']."


class Step(Value):
    """One step of a pattern: a name, `[*]` if it is None, at any depth if `deep`."""

    name: str | None
    deep: bool = False


class JSONPath(Value):
    """A compiled path.

    Attributes:
        steps: what it says.
        takes: for each name (None for elements), the states that it leads on from, as bits.
        stays: the states that any step leaves where they are, as bits.
    """

    steps: tuple[Step, ...]
    takes: dict[str | None, int]
    stays: int

    def matches(self, place: Place) -> bool:
        """Whether a concrete place is one of those that the path names."""
        states = 1
        takes, stays = self.takes, self.stays
        for key in place:
            states = ((states & takes.get(key, 0)) << 1) | (states & stays)
            if not states:
                return False
        return bool(states >> len(self.steps))

    @property
    def place(self) -> Place:
        """The place that an argument's path names, without the elements it ends in.

        A role of a list is the role of each of its values: `to` and `to[*]` are one argument.
        """
        return bare(tuple(step.name for step in self.steps))

    def __str__(self) -> str:
        return "$" + "".join(map(_written, self.steps))


def result_path(text: str) -> JSONPath:
    """Compile a path into a result: `$` and steps.

    Raises:
        Malformed: no such path, or one with too many steps.
    """
    if not text.startswith("$"):
        raise Malformed(f"{_shown(text)} does not start with $.", hint=_HINT)
    return _compiled(text, 1)


def argument_path(text: str) -> JSONPath:
    """Compile the path of an argument: a name, and steps into it, each at its own depth.

    Raises:
        Malformed: no such path, or one with too many steps.
    """
    if not text or text.startswith(("$", ".", "[*]")):
        raise Malformed(
            f"{_shown(text)} does not start with the name of an argument.",
            hint="Write it like recipients[*], event.start or ['odd name'].",
        )
    path = _compiled(text, 0)
    if any(step.deep for step in path.steps):
        raise Malformed(
            f"{_shown(text)} names an argument at any depth.",
            hint="Say where it is, like event.attendees[*].email.",
        )
    return path


def bare(place: Place) -> Place:
    """A place without the elements it ends in."""
    end = len(place)
    while end and place[end - 1] is None:
        end -= 1
    return place[:end]


def result_text(place: Place) -> str:
    """How a concrete place in a result is written."""
    return "$" + "".join(_written(Step(name=key)) for key in place)


def argument_text(place: Place) -> str:
    """How a concrete place in the arguments is written; the first step is a name."""
    return "".join(_written(Step(name=key)) for key in place).removeprefix(".")


@functools.lru_cache(maxsize=4_096)
def _compiled(text: str, start: int) -> JSONPath:
    if len(text) > MAX_LENGTH:
        raise Malformed(f"A path is longer than {MAX_LENGTH:,} characters.", hint=_HINT)
    steps = tuple(_steps(text, start))
    if len(steps) > MAX_STEPS:
        raise Malformed(f"{_shown(text)} has more than {MAX_STEPS} steps.", hint=_HINT)
    takes: dict[str | None, int] = {}
    stays = 0
    for index, step in enumerate(steps):
        takes[step.name] = takes.get(step.name, 0) | 1 << index
        stays |= step.deep << index
    return JSONPath(steps=steps, takes=takes, stays=stays)


def _steps(text: str, start: int) -> Iterator[Step]:
    at = start
    while at < len(text):
        found = _STEP.match(text, at)
        # The first word of an argument has no dot before it; everywhere else one is needed.
        bare = found is not None and found["word"] and not (found["deep"] or found["dot"])
        both = found is not None and found["deep"] and found["dot"]
        if found is None or both or (bare and not (at == start == 0)):
            raise Malformed(f"{_shown(text)} is not a path (at character {at + 1}).", hint=_HINT)
        at = found.end()
        if found["each"]:
            yield Step(name=None)
        else:
            name = found["word"] or _unescaped(found["quoted"])
            yield Step(name=name, deep=bool(found["deep"]))


def _unescaped(quoted: str) -> str:
    # The escapes are JSON's, but for the quote that stands around them.
    escapes = re.sub(r"\\'|\"", lambda found: "'" if found[0] == "\\'" else '\\"', quoted)
    return json.loads(f'"{escapes}"')


def _written(step: Step) -> str:
    if step.name is None:
        return "[*]"
    if _WORD.match(step.name):
        return f"{'..' if step.deep else '.'}{step.name}"
    # In ASCII, so that a name that looks like another one does not when it is read.
    escaped = json.dumps(step.name)[1:-1].replace('\\"', '"').replace("'", "\\'")
    return f"{'..' if step.deep else ''}['{escaped}']"


def _shown(text: str) -> str:
    return ascii(text[:80])


__all__ = [
    "MAX_LENGTH",
    "MAX_STEPS",
    "JSONPath",
    "Place",
    "Step",
    "argument_path",
    "argument_text",
    "bare",
    "result_path",
    "result_text",
]
