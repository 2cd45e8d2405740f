"""A run of the ledger as a case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from midflight.apps.redteam.cases import read
from midflight.apps.redteam.record import case_of
from midflight.domain.errors import Conflict, Malformed


def run(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"id": "run_1", "workload": "spiffe://x/a", "intent": "Lend.", "calls": list(calls)}


def call(tool: str = "open_card", **more: Any) -> dict[str, Any]:
    return {
        "record": "r-1",
        "upstream": "library",
        "tool": tool,
        "arguments": {"number": "7"},
        "answer": "permit",
        "failed": "",
    } | more


def test_it_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "case.jsonl"
    found = run(call(), call("notify_reader", failed="No such reader."))
    path.write_text(json.dumps(case_of(found, suite="ours", injected={2})) + "\n")
    (recorded,) = read(path)
    assert recorded.injected == (False, True)
    assert recorded.case.intent == "Lend."
    assert recorded.case.suite == "ours"
    first, second = recorded.case.steps
    assert (first.upstream, first.tool, first.arguments) == (
        "library",
        "open_card",
        {"number": "7"},
    )
    assert first.result == {"content": [{"type": "text", "text": ""}]}
    assert second.result["isError"] is True


def test_a_run_whose_arguments_are_erased_cannot_be_replayed() -> None:
    with pytest.raises(Conflict, match="erased"):
        case_of(run(call(), call(arguments=None)), suite="s", injected=())


def test_a_run_that_called_nothing_cannot_be_replayed() -> None:
    with pytest.raises(Conflict, match="called no tool"):
        case_of(run(), suite="s", injected=())


@pytest.mark.parametrize("number", [0, 2, -1])
def test_a_call_that_there_is_not_is_refused(number: int) -> None:
    with pytest.raises(Malformed, match=f"no call number {number}"):
        case_of(run(call()), suite="s", injected=[number])
