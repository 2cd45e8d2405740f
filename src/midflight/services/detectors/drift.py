"""Manifest drift in mid-session: a tool that a run has used becomes another one under it.

The catalogue denies what has drifted; that a run has worked with it is what is found here, for each
open run that has. Which tools a run has used is kept from its events, at most `TOOLS` a run.
Above: the catalogue, which says when something has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from midflight.domain.action import ActionKind
from midflight.domain.event import Event
from midflight.domain.finding import Sighting, Strength
from midflight.domain.records import Terminal
from midflight.domain.sequence import When
from midflight.domain.tool import PinnedKind
from midflight.services.detectors.kept import KeptOfRuns
from midflight.services.telling import Tell

TOOLS = 128
"""Tools of one run that are remembered; the one used longest ago goes."""
USES = 100_000
"""Tools of all runs together."""

DEFINITIONS = 4
"""Other definitions of one tool that one run is told of."""

Drifted: TypeAlias = Callable[[str, PinnedKind], Mapping[str, str]]
"""(upstream, kind) → what is served otherwise than it is pinned: the digest by name."""

_DENIED = Terminal.DENIED
_KINDS = {
    ActionKind.CALL_TOOL.value: PinnedKind.TOOL,
    ActionKind.GET_PROMPT.value: PinnedKind.PROMPT,
}
_Tool: TypeAlias = tuple[PinnedKind, str, str]


class _Use:
    """How one run has used one tool."""

    __slots__ = ("actions", "owner", "record", "told", "workload")

    def __init__(self) -> None:
        self.actions = 0
        self.record = ""
        self.workload = ""
        self.owner = ""
        self.told: tuple[str, ...] = ()
        """Digests of other definitions that were told of."""


class Drift:
    """See the module."""

    name = "drift"
    looks_at = frozenset({When.ENDED})

    def __init__(self) -> None:
        """`watch` tells it whom to tell."""
        self._uses: KeptOfRuns[_Tool, _Use] = KeptOfRuns(_Use, each=TOOLS, bound=USES)
        self._tell: Tell | None = None
        self._drifted: Drifted | None = None

    def watch(self, tell: Tell, drifted: Drifted) -> None:
        """Say through `tell` what is found."""
        self._tell, self._drifted = tell, drifted

    def see(self, event: Event) -> Sighting | None:
        """Remember what is used; finds nothing by itself."""
        if event.state is None or event.state is _DENIED or not event.run:
            return None
        kind = _KINDS.get(event.kind)
        if kind is None:
            return None
        use = self._uses.of(event.run, (kind, event.upstream, event.name))
        use.actions += 1
        use.record = event.record
        use.workload, use.owner = event.workload, event.owner
        return None

    def changed(self, upstream: str, kind: PinnedKind) -> None:
        """What `upstream` serves has changed, or a pin of it has."""
        if self._tell is None or self._drifted is None:
            return
        failed: Exception | None = None
        for name, digest in self._drifted(upstream, kind).items():
            tool = (kind, upstream, name)
            for run, use in self._uses.having(tool):
                if digest in use.told or len(use.told) >= DEFINITIONS:
                    continue
                use.told = (*use.told, digest)
                try:
                    self._say(self._tell, tool, use, run)
                except Exception as error:  # noqa: BLE001 -- the other runs are told of all the same
                    failed = error
        if failed is not None:
            raise failed

    def _say(self, tell: Tell, tool: _Tool, use: _Use, run: str) -> None:
        kind, upstream, name = tool
        tell(
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
        self._uses.drop(run)


__all__ = ["DEFINITIONS", "TOOLS", "USES", "Drift", "Drifted"]
