"""Manifest drift in mid-session: a tool that a run has used becomes another one under it.

The catalogue denies what has drifted; that a run has worked with it is what is found here, for each
open run that has. Which tools a run has used is kept from its events, at most `TOOLS` a run.
Above: the catalogue, which says when something has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from midflight.domain.action import ActionKind
from midflight.domain.event import Event
from midflight.domain.finding import Sighting, Strength
from midflight.domain.records import Terminal
from midflight.domain.tool import PinnedKind, PinState
from midflight.services.detectors.kept import RUNS, Kept
from midflight.services.findings import Tell

TOOLS = 128
"""Tools of one run that are remembered; the one used longest ago goes."""

StateOf: TypeAlias = Callable[[str, PinnedKind, str], PinState]
"""(upstream, kind, name) → whether it is served as it is pinned."""

_KINDS = {
    ActionKind.CALL_TOOL.value: PinnedKind.TOOL,
    ActionKind.GET_PROMPT.value: PinnedKind.PROMPT,
}
_Tool: TypeAlias = tuple[str, str, str]


class _Use:
    """How one run has used one tool."""

    __slots__ = ("actions", "owner", "record", "told", "workload")

    def __init__(self) -> None:
        self.actions = 0
        self.record = ""
        self.workload = ""
        self.owner = ""
        self.told = False


class Drift:
    """See the module."""

    name = "drift"

    def __init__(self) -> None:
        """`watch` tells it whom to tell."""
        self._runs: Kept[str, Kept[_Tool, _Use]] = Kept(lambda: Kept(_Use, bound=TOOLS), bound=RUNS)
        self._tell: Tell | None = None
        self._state_of: StateOf | None = None

    def watch(self, tell: Tell, state_of: StateOf) -> None:
        """Say through `tell` what is found."""
        self._tell, self._state_of = tell, state_of

    def see(self, event: Event) -> Sighting | None:
        """Remember what is used; finds nothing by itself."""
        if event.state is None or event.state is Terminal.DENIED or not event.run:
            return None
        if event.kind not in _KINDS:
            return None
        use = self._runs.of(event.run).of((event.kind, event.upstream, event.name))
        use.actions += 1
        use.record = event.record
        use.workload, use.owner = event.workload, event.owner
        return None

    def changed(self, upstream: str, kind: PinnedKind) -> None:
        """What `upstream` serves has changed, or a pin of it has."""
        if self._tell is None or self._state_of is None:
            return
        for run, tools in self._runs.items():
            for (kind_used, served_by, name), use in tools.items():
                if served_by != upstream or _KINDS[kind_used] is not kind:
                    continue
                state = self._state_of(upstream, kind, name)
                if state is PinState.PINNED:
                    use.told = False
                elif state is PinState.DRIFTED and not use.told:
                    use.told = True
                    self._tell(
                        self.name,
                        Sighting(
                            strength=Strength.FAIR,
                            usual="the definition that was pinned when the run used it",
                            seen=f"another definition of the same {kind.value}, "
                            f"after {use.actions} uses in this run",
                            after=use.actions,
                            records=(use.record,),
                        ),
                        workload=use.workload,
                        owner=use.owner,
                        run=run,
                        upstream=upstream,
                        name=name,
                    )

    def run_ended(self, run: str) -> None:
        """Forget it."""
        self._runs.drop(run)


__all__ = ["TOOLS", "Drift", "StateOf"]
