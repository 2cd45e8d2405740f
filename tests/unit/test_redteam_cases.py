"""Reading recorded runs."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redteam_kit import CASES, case, read_card, step, tell

from midflight.apps.redteam import cases
from midflight.apps.redteam.cases import Case, Step, count, read, tool_result
from midflight.domain.errors import Misconfigured


def lines(path: Path, *rows: Any, packed: bool = False) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(lzma.compress(text.encode()) if packed else text.encode())
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "xz"])
def test_every_case_is_read_in_order_with_its_line(tmp_path: Path, packed: bool) -> None:
    # Told apart by content, not by name.
    path = lines(tmp_path / "cases", *CASES.values(), packed=packed)
    found = list(read(path))
    assert [one.case.id for one in found] == list(CASES)
    assert [one.line for one in found] == list(range(1, len(CASES) + 1))
    assert count([path]) == len(CASES)


def test_blank_lines_are_no_cases_and_keep_the_count_of_lines(tmp_path: Path) -> None:
    path = lines(tmp_path / "cases", CASES["clean"], "", "   ", CASES["held"])
    assert [one.line for one in read(path)] == [1, 4]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ('{"id": "x"', "truncated"),
        ("[]", "Expected `object`"),
        ({"suite": "s", "steps": []}, "missing required field `id`"),
        ({"id": "x", "suite": "s"}, "missing required field `steps`"),
        ({"id": "x", "suite": "s", "steps": [{"args": {}}]}, "$.steps[0]"),
        ({"id": "x", "suite": "s", "steps": [{"tool": "t", "args": []}]}, "$.steps[0].args"),
        ({"id": "x", "suite": "s", "steps": [{"tool": "t", "from": "nobody"}]}, "$.steps[0].from"),
        ({"id": "x", "suite": "s", "steps": [{"tool": "t", "turn": 0}]}, "after turn 1"),
        ({"id": "x", "suite": "s", "steps": [{"tool": "t", "turn": -1}]}, "turn"),
        (
            {
                "id": "x",
                "suite": "s",
                "user_turns": ["a"],
                "steps": [{"tool": "t"}, {"tool": "t", "turn": 0}],
            },
            "step 1 comes after a later turn, and nothing was said to open the run",
        ),
        (
            {"id": "x", "suite": "s", "prompt": "a", "user_turns": ["b" * 65_536], "steps": []},
            "more than 65,536 characters",
        ),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, row: Any, why: str) -> None:
    path = lines(tmp_path / "cases", CASES["clean"], row)
    with pytest.raises(Misconfigured) as caught:
        count([path])
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}:2: ")
    assert why in problem


def test_all_bad_lines_of_all_files_are_named_at_once(tmp_path: Path) -> None:
    one = lines(tmp_path / "one", "x", CASES["clean"], "y")
    two = lines(tmp_path / "two", "z")
    with pytest.raises(Misconfigured) as caught:
        count([one, two])
    starts = [problem.rsplit(": ", 1)[0] for problem in caught.value.problems]
    assert [start.startswith(str(p)) for start, p in zip(starts, (one, one, two), strict=True)]
    assert len(starts) == 3


def test_many_bad_lines_are_not_all_named(tmp_path: Path) -> None:
    path = lines(tmp_path / "cases", *["x"] * (cases.MAX_PROBLEMS + 5))
    with pytest.raises(Misconfigured) as caught:
        count([path])
    assert caught.value.problems[-1] == "… and more"
    assert len(caught.value.problems) == cases.MAX_PROBLEMS + 1


def test_bytes_that_are_no_text_are_an_error_of_their_line(tmp_path: Path) -> None:
    path = tmp_path / "cases"
    path.write_bytes(json.dumps(CASES["clean"]).encode() + b'\n{"id": "\xff"}\n')
    with pytest.raises(Misconfigured) as caught:
        count([path])
    assert f"{path}:2: " in str(caught.value)


def test_a_damaged_archive_is_an_error_and_no_end_of_file(tmp_path: Path) -> None:
    path = lines(tmp_path / "cases", *CASES.values(), packed=True)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Misconfigured) as caught:
        count([path])
    assert "xz" in str(caught.value)


def test_a_line_without_an_end_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "MAX_LINE", 1_000)
    path = lines(tmp_path / "cases", CASES["clean"], "x" * 5_000)
    with pytest.raises(Misconfigured) as caught:
        count([path])
    assert "longer than" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        count([tmp_path / "nothing"])
    assert "nothing" in str(caught.value)


def test_the_upstream_is_the_server_or_else_the_suite(tmp_path: Path) -> None:
    row = case("x", tell(), tell() | {"server": "annex"})
    (found,) = read(lines(tmp_path / "cases", row))
    assert [one.upstream for one in found.case.steps] == ["library", "annex"]


def test_turns_are_counted_by_index_or_by_how_many(tmp_path: Path) -> None:
    row = case(
        "x",
        tell(),
        tell() | {"turn": 1},
        tell() | {"user_turns_so_far": 1},
        user_turns=["one", "two"],
        principal="reader 4",
    )
    (found,) = read(lines(tmp_path / "cases", row))
    assert [one.turns for one in found.case.steps] == [0, 2, 1]
    assert found.case.turns == ("one", "two")
    assert found.case.principal == "reader 4"


def test_nothing_of_a_case_says_who_wanted_a_call(tmp_path: Path) -> None:
    row = case("x", read_card(), tell(injected=True), injection_goal="Tell Mallory.")
    (found,) = read(lines(tmp_path / "cases", row))
    assert found.injected == (False, True)
    said = json.dumps(msgspec.to_builtins(found.case))
    for word in ("injection", "poisoned", "injected", "user_task", "Tell Mallory."):
        assert word not in said
    assert set(Step.__struct_fields__) == {"upstream", "tool", "arguments", "result", "turns"}
    assert set(Case.__struct_fields__) == {
        "id",
        "suite",
        "intent",
        "turns",
        "principal",
        "steps",
    }


@pytest.mark.parametrize(
    ("structured", "text", "error", "expected"),
    [
        ({"a": 1}, "ignored", None, ({"a": 1}, '{"a":1}')),
        ([1, 2], "ignored", None, ({"result": [1, 2]}, "[1,2]")),
        ("word", "ignored", None, (None, "word")),
        (3, "ignored", None, (None, "3")),
        (None, "text", None, (None, "text")),
        (None, None, None, (None, "null")),
    ],
)
def test_a_result_stands_in_as_a_tool_would_give_it(
    structured: Any, text: Any, error: Any, expected: tuple[Any, str]
) -> None:
    result = tool_result(structured, text, error)
    assert result.get("structuredContent") == expected[0]
    assert result["content"] == [{"type": "text", "text": expected[1]}]
    assert "isError" not in result


def test_an_error_is_an_error_result() -> None:
    assert tool_result({"a": 1}, "x", "No such card.") == {
        "content": [{"type": "text", "text": "No such card."}],
        "isError": True,
    }


def test_a_step_needs_no_arguments_and_no_result(tmp_path: Path) -> None:
    row = {"id": "x", "suite": "s", "steps": [{"tool": "t"}]}
    (found,) = read(lines(tmp_path / "cases", row))
    assert found.case.steps[0].arguments == {}
    assert found.case.intent is None
    assert step("t")["args"] == {}
