"""Operations on runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.errors import Malformed
from midflight.domain.narrowing import Narrowing
from midflight.domain.run import RunState
from midflight.domain.traits import Effect
from midflight.services.runs import RunStatus

# Long enough for a work order, short enough to be read by a person who explains a decision.
MAX_INTENT = 16_384


class NewRun(Input):
    """A run to open. `intent` is the principal's own words, or None where nobody said any."""

    workload: str
    intent: str | None = None
    ttl_s: int | None = None
    max_steps: int | None = None


class NewChild(Input):
    """A child run to open under run `id`; what is left out, the child has of its parent.

    `text` is what the child is told: data with the parent's labels, and no intent.
    """

    id: str
    workload: str
    text: str
    only: tuple[str, ...] | None = None
    effects: tuple[Effect, ...] | None = None
    ttl_s: int | None = None
    max_steps: int | None = None


class Turn(Input):
    """Something more that the principal says, in the principal's own words."""

    id: str
    text: str


class NamedRun(Input):
    """A run by id."""

    id: str


class EndedRun(Input):
    """A run to close, and why."""

    id: str
    reason: str = ""


class WantedRuns(Input):
    """Which runs to list."""

    workload: str | None = None
    state: RunState | None = None


class RunVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._runs = plane.runs
        self._turns = plane.turns
        self._delegation = plane.delegation
        self._upstreams = frozenset(entry.name for entry in plane.settings.upstream)
        self._inventory = plane.inventory

    async def list_runs(self, given: WantedRuns, operator: Operator) -> Sequence[RunStatus]:
        """Runs, newest first."""
        del operator
        return await self._runs.list_runs(workload=given.workload, state=given.state)

    async def show_run(self, given: NamedRun, operator: Operator) -> RunStatus:
        """One run."""
        del operator
        return await self._runs.show(given.id)

    async def open_run(self, given: NewRun, operator: Operator) -> RunStatus:
        """Mint a run."""
        intent = None if given.intent is None else _words(given.intent)
        workload = await self._inventory.get(given.workload)
        run = await self._runs.open_run(
            workload=workload,
            intent=intent,
            author=operator.author,
            ttl_s=given.ttl_s,
            max_steps=given.max_steps,
        )
        return await self._runs.show(run.id)

    async def delegate(self, given: NewChild, operator: Operator) -> RunStatus:
        """Open a child run."""
        child = await self._delegation.delegate(
            given.id,
            workload=given.workload,
            text=given.text,
            author=operator.author,
            narrowed=self._narrowing(given),
            ttl_s=given.ttl_s,
            max_steps=given.max_steps,
        )
        return await self._runs.show(child.id)

    async def say(self, given: Turn, operator: Operator) -> RunStatus:
        """Add to the intent."""
        await self._turns.say(given.id, _words(given.text), author=operator.author)
        return await self._runs.show(given.id)

    async def close_run(self, given: EndedRun, operator: Operator) -> RunStatus:
        """End an open run."""
        await self._runs.close_run(given.id, author=operator.author, reason=given.reason)
        return await self._runs.show(given.id)

    def _narrowing(self, given: NewChild) -> Narrowing:
        # An empty list could be meant as nothing or as everything, so it is neither.
        if given.only == () or given.effects == ():
            raise Malformed(
                "only and effects name something or are left out.",
                hint="What is left out, the child has of its parent.",
            )
        for entry in given.only or ():
            upstream, slash, tool = entry.partition("/")
            if upstream not in self._upstreams or (slash and not tool):
                raise Malformed(
                    f"{entry[:80]!r} names no upstream and no tool of one.",
                    hint="Write UPSTREAM or UPSTREAM/TOOL; midflight tool list shows them.",
                )
        return Narrowing(
            only=None if given.only is None else frozenset(given.only),
            effects=None if given.effects is None else frozenset(given.effects),
        )

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/runs",
                summary="Runs, newest first.",
                input=WantedRuns,
                answer=list[RunStatus],
                act=self.list_runs,
            ),
            Operation(
                method="GET",
                path="/v1/runs/{id}",
                summary="One run.",
                input=NamedRun,
                answer=RunStatus,
                act=self.show_run,
            ),
            Operation(
                method="POST",
                path="/v1/runs",
                summary="Open a run for a stated purpose.",
                input=NewRun,
                answer=RunStatus,
                act=self.open_run,
            ),
            Operation(
                method="POST",
                path="/v1/runs/{id}/delegate",
                summary="Open a child run, which has its parent's intent and less than its parent.",
                input=NewChild,
                answer=RunStatus,
                act=self.delegate,
            ),
            Operation(
                method="POST",
                path="/v1/runs/{id}/say",
                summary="Say more: a later turn of the principal, by whoever opened the run.",
                input=Turn,
                answer=RunStatus,
                act=self.say,
            ),
            Operation(
                method="POST",
                path="/v1/runs/{id}/close",
                summary="Close an open run.",
                input=EndedRun,
                answer=RunStatus,
                act=self.close_run,
            ),
        )


def _words(text: str) -> str:
    intent = text.strip()
    if not intent or len(intent) > MAX_INTENT:
        raise Malformed(
            f"An intent is 1 to {MAX_INTENT:,} characters.",
            hint="Say in the principal's own words what the run is for.",
        )
    return intent


__all__ = ["EndedRun", "NamedRun", "NewChild", "NewRun", "RunVerbs", "WantedRuns"]
