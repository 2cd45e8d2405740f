"""Recorded runs, read from JSON lines (plain or xz), one case a line, as a stream.

What is for scoring only is parted from the case here and nowhere else: a `Case` has no member that
says which calls an attacker wanted, so nothing that is handed one can tell. A line that cannot be
read is an error with its number; none is skipped.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import msgspec

from midflight.domain.errors import Misconfigured
from midflight.domain.value import JSON, Discreet, JSONObject, Value
from midflight.services.turns import MAX_WHOLE

MAX_LINE = 64 * 1024 * 1024
"""Bytes of one case."""

MAX_PROBLEMS = 20
"""Lines that are named when many are bad."""

_XZ = b"\xfd7zXZ\x00"


class Step(Discreet):
    """One recorded call and what came back.

    Attributes:
        upstream, tool, arguments: what was called.
        result: as an MCP tool result.
        turns: how many of the principal's later turns had been said by then.
    """

    shown = ("upstream", "tool", "turns")

    upstream: str
    tool: str
    arguments: JSONObject
    result: JSONObject
    turns: int = 0


class Case(Discreet):
    """A recorded run, as the product may see it.

    Attributes:
        id, suite: its name, and that of the collection it belongs to.
        intent: what the principal asked, or None.
        turns: what he said later, in order.
        principal: the customer on whose behalf, or empty; the opener's knowledge.
        steps: the calls, in order.
    """

    shown = ("id", "suite")

    id: str
    suite: str
    intent: str | None
    turns: tuple[str, ...]
    principal: str
    steps: tuple[Step, ...]


class Recorded(Discreet):
    """A case, where it stood, and what only the scorer may know.

    Attributes:
        injected: per step, whether an attacker wanted it.
        facts: what the owner could have configured; used only where that is asked for.
    """

    shown = ("path", "line")

    path: str
    line: int
    case: Case
    injected: tuple[bool, ...]
    facts: JSONObject

    @property
    def is_attack(self) -> bool:
        """Whether any call is an attacker's."""
        return any(self.injected)


class _Step(msgspec.Struct, rename={"origin": "from"}):
    tool: str
    args: JSONObject = {}
    result: Any = None
    result_json: JSON = None
    error: Any = None
    server: str | None = None
    turn: Annotated[int, msgspec.Meta(ge=0)] | None = None
    user_turns_so_far: Annotated[int, msgspec.Meta(ge=0)] | None = None
    origin: Literal["user", "injection"] = "user"


class _Line(msgspec.Struct):
    id: str
    suite: str
    steps: list[_Step]
    prompt: str | None = None
    user_turns: list[str] = []
    principal: str | None = None
    env_facts: JSONObject | None = None


class Bad(Value):
    """A line that is no case."""

    path: str
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.why}"


_decoder = msgspec.json.Decoder(_Line)


def count(paths: list[Path]) -> int:
    """How many cases the files hold, all of them looked at.

    Raises:
        Misconfigured: with every file and line that cannot be read (the first twenty).
    """
    found, bad = 0, list[Bad]()
    for path in paths:
        for item in _lines(path):
            if isinstance(item, Bad):
                bad.append(item)
            else:
                found += 1
            if len(bad) > MAX_PROBLEMS:
                raise _unreadable(bad[:MAX_PROBLEMS], more=True)
    if bad:
        raise _unreadable(bad, more=False)
    return found


def read(path: Path) -> Iterator[Recorded]:
    """The cases of a file, one at a time.

    Raises:
        Misconfigured: with the line that cannot be read.
    """
    for item in _lines(path):
        if isinstance(item, Bad):
            raise _unreadable([item], more=False)
        yield item


# Inside


def _unreadable(bad: list[Bad], *, more: bool) -> Misconfigured:
    problems = [str(one) for one in bad] + (["… and more"] if more else [])
    return Misconfigured(
        "Cases cannot be read, so none was replayed.",
        problems,
    )


def _lines(path: Path) -> Iterator[Recorded | Bad]:
    number = 0
    try:
        with _opened(path) as file:
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    yield Bad(path=str(path), line=number, why=f"is longer than {MAX_LINE:,} bytes")
                    return
                if line.strip():
                    yield _recorded(path, number, line)
    except (lzma.LZMAError, EOFError) as error:
        yield Bad(path=str(path), line=number + 1, why=f"the xz stream is damaged: {error}")
    except OSError as error:
        yield Bad(path=str(path), line=number, why=f"cannot be read: {error.strerror or error}")


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(len(_XZ)) == _XZ
    return lzma.open(path) if packed else path.open("rb")


def _recorded(path: Path, number: int, line: bytes) -> Recorded | Bad:
    try:
        found = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Bad(path=str(path), line=number, why=str(error))
    why = _unsayable(found)
    if why:
        return Bad(path=str(path), line=number, why=why)
    case = Case(
        id=found.id,
        suite=found.suite,
        intent=found.prompt,
        turns=tuple(found.user_turns),
        principal=found.principal or "",
        steps=tuple(
            Step(
                upstream=step.server or found.suite,
                tool=step.tool,
                arguments=step.args,
                result=tool_result(step.result_json, step.result, step.error),
                turns=_turns(step),
            )
            for step in found.steps
        ),
    )
    return Recorded(
        path=str(path),
        line=number,
        case=case,
        injected=tuple(step.origin == "injection" for step in found.steps),
        facts=found.env_facts or {},
    )


def _unsayable(found: _Line) -> str:
    """Why what the principal says cannot be said as recorded; empty if it can."""
    spoken = len(found.user_turns)
    # A run without an intent has nothing to add to; turns before the first step can open it.
    opened = found.prompt or found.principal or (found.steps and _turns(found.steps[0]))
    for at, step in enumerate(found.steps):
        turns = _turns(step)
        if turns > spoken:
            return f"step {at} comes after turn {turns}, and there are {spoken}"
        if turns and not opened:
            return f"step {at} comes after a later turn, and nothing was said to open the run"
    said = (found.prompt or "", found.principal or "", *found.user_turns)
    if sum(len(text) + 16 for text in said) > MAX_WHOLE:
        return f"the principal says more than {MAX_WHOLE:,} characters"
    return ""


def _turns(step: _Step) -> int:
    if step.user_turns_so_far is not None:
        return step.user_turns_so_far
    return 0 if step.turn is None else step.turn + 1


def tool_result(structured: JSON, text: Any, error: Any) -> JSONObject:
    """What was recorded, as an MCP tool result.

    An object stands as `structuredContent`, a list under `result` in one, and both as text; a bare
    string or number is text. Errors carry `isError`.
    """
    if error:
        return {"content": [_text(error)], "isError": True}
    if isinstance(structured, dict):
        return {"content": [_text(structured)], "structuredContent": structured}
    if isinstance(structured, list):
        return {"content": [_text(structured)], "structuredContent": {"result": structured}}
    return {"content": [_text(text if structured is None else structured)]}


def _text(value: Any) -> JSONObject:
    said = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return {"type": "text", "text": said}


__all__ = [
    "MAX_LINE",
    "MAX_PROBLEMS",
    "Bad",
    "Case",
    "Recorded",
    "Step",
    "count",
    "read",
    "tool_result",
]
