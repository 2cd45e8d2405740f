"""A run of the ledger as a case: one JSON line, in the form that `replay` reads. Pure.

The ledger keeps arguments (sealed) and no results, so `result` is empty: values that the agent took
from a result come from nowhere in a replay, and are held more often than they were. Whoever has the
results adds them, as `result` or `result_json` of their steps.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from midflight.domain.errors import Conflict, Malformed


def case_of(run: Mapping[str, Any], *, suite: str, injected: Collection[int]) -> dict[str, Any]:
    """The case.

    Args:
        run: as the control API gives it (`/v1/runs/{id}/calls`).
        suite: the collection it is for.
        injected: numbers of the calls, from 1, that an attacker wanted.

    Raises:
        Conflict: its arguments are erased, so there is nothing to replay; or it called nothing.
        Malformed: a number that no call has.
    """
    calls: list[Mapping[str, Any]] = run["calls"]
    if not calls:
        raise Conflict(f"Run {run['id']} called no tool, so there is nothing to replay.")
    erased = [call["record"] for call in calls if call["arguments"] is None]
    if erased:
        raise Conflict(
            f"The arguments of run {run['id']} are erased, so it cannot be replayed.",
            hint="What was erased is gone from every copy of the ledger.",
        )
    unknown = sorted(number for number in injected if not 1 <= number <= len(calls))
    if unknown:
        raise Malformed(
            f"Run {run['id']} has no call number {unknown[0]}.",
            hint=f"Its calls are numbered from 1 to {len(calls)}.",
        )
    return {
        "id": run["id"],
        "suite": suite,
        "prompt": run["intent"],
        "workload": run["workload"],
        "steps": [
            {
                "tool": call["tool"],
                "server": call["upstream"],
                "args": call["arguments"],
                "result": "",
                "error": call["failed"] or None,
                "from": "injection" if number in injected else "user",
                "record": call["record"],
                "answer": call["answer"],
            }
            for number, call in enumerate(calls, 1)
        ],
    }


__all__ = ["case_of"]
