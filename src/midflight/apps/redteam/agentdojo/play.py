"""Plays calls on an environment of the benchmark and writes down what they returned."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

from midflight.apps.redteam.agentdojo.repairs import Call, Repair

Step = dict[str, Any]
USER, INJECTION = "user", "injection"


class Play:
    """One run: an environment, the calls made on it, and the steps that were recorded."""

    def __init__(
        self, environment: Any, runtime: Any, *, text: Callable[[Any], str], marks: tuple[str, ...]
    ) -> None:
        """`text` writes a result as the benchmark does; `marks` are the attacker's words."""
        self.before = copy.deepcopy(environment)
        self.environment = environment
        self.steps: list[Step] = []
        self._runtime = runtime
        self._text = text
        self._marks = tuple(_flat(mark) for mark in marks)

    def call(self, call: Call, origin: str) -> Any:
        """Make a call, record it, and return what it returned."""
        name, arguments = call
        result, error = self._runtime.run_function(self.environment, name, arguments)
        shown = self._shown(result)
        self.steps.append(
            {
                "tool": name,
                "args": _json(arguments),
                "result": shown,
                "result_json": _json(result),
                "error": error,
                "from": origin,
                "poisoned": any(mark in _flat(_words(_json(result))) for mark in self._marks),
            }
        )
        # What the benchmark returns is a part of the environment, and later calls change that.
        return copy.deepcopy(result)

    def play(self, calls: list[Call], origin: str) -> None:
        """Make calls in order."""
        for call in calls:
            self.call(call, origin)

    def inject(self, task: Any, repair: Repair | None) -> None:
        """Make the calls of an injection task, repaired where it has a defect."""
        if repair is not None and repair.calls is not None:
            calls = repair.calls(task, self.before)
            try:
                wanted = next(calls)
                while True:
                    wanted = calls.send(self.call(wanted, INJECTION))
            except StopIteration:
                return
        if repair is not None and repair.reads is not None:
            self.call(repair.reads, INJECTION)
        self.play(calls_of(task, self.environment), INJECTION)

    def _shown(self, result: Any) -> str:
        try:
            return self._text(result)
        except Exception:  # noqa: BLE001 -- its YAML writer fails on some of its own types, each in its own way
            return str(result)


def calls_of(task: Any, environment: Any) -> list[Call]:
    """The ground truth of a task."""
    truth = task.ground_truth(copy.deepcopy(environment))
    return [(call.function, dict(call.args)) for call in truth]


def trace_of(steps: list[Step], make: Callable[..., Any]) -> list[Any]:
    """Steps as the benchmark's own calls, for its checks."""
    return [make(function=step["tool"], args=step["args"]) for step in steps]


def _json(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {name: _json(inner) for name, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_json(inner) for inner in cast("list[Any]", value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value).items()
        return " ".join(f"{name} {_words(inner)}" for name, inner in named)
    if isinstance(value, list):
        return " ".join(map(_words, cast("list[Any]", value)))
    return str(value)


def _flat(text: str) -> str:
    # YAML folds the line breaks of what is filled in.
    return " ".join(text.split())


__all__ = ["INJECTION", "USER", "Play", "Step", "calls_of", "trace_of"]
