"""Results that carry instructions: a label on the run and a weak finding, and nothing else.

Rules of somebody else's look at what strangers wrote (`ports/injection_text.py`). They see part of
what is there and sometimes what is not, so nothing is blocked by them: the run gets the compartment
`suspected-injection`, which a policy may ask about, and a weak finding is recorded once a run and
upstream. In a thread, within bounds of size, in small pieces, since a long match keeps all other
threads waiting; a result waits for `PATIENCE_S` at most, and then its label follows it.
Above: `guard_observing.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

from midflight.domain.finding import Sighting, Strength
from midflight.domain.labels import SUSPECTED, Labels
from midflight.domain.value import JSON
from midflight.services.detectors.kept import RUNS, Kept
from midflight.services.live_run import LiveRun
from midflight.services.ports.injection_text import InjectionText
from midflight.services.ports.telemetry import Telemetry
from midflight.services.runs import Runs
from midflight.services.telling import Tell

DETECTOR = "injection-text"
PATIENCE_S = 0.25
PIECE, OVERLAP = 4_096, 256
"""Characters that are looked at in one go, and of the piece before that come again."""
MAX_TEXT = 65_536
"""Characters of one result that are looked at; what is behind them is not."""
MAX_AT_ONCE = 4
"""Results that are looked at at a time; more are not looked at."""
MAX_OF_ONE = 2
"""Of one upstream: what is slow to look through must not keep the words of others unseen."""

_MARK = Labels(compartments=frozenset({SUSPECTED}))


class Suspicion:
    """See the module. One event loop."""

    def __init__(
        self,
        rules: InjectionText,
        *,
        tell: Tell,
        runs: Runs,
        telemetry: Telemetry,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`patience_s`: how long a result waits."""
        self._rules = rules
        self._tell = tell
        self._runs = runs
        self._telemetry = telemetry
        self._patience_s = patience_s
        self._looking: dict[asyncio.Task[None], str] = {}
        self._told: Kept[str, set[str]] = Kept(set, bound=RUNS)

    async def look(
        self, live: LiveRun, said: JSON, *, upstream: str, name: str, record: str
    ) -> None:
        """Look at what a run is about to read. Never raises for what it finds or fails at."""
        pieces = list(_pieces(said))
        if not pieces:
            return
        of_one = sum(each == upstream for each in self._looking.values())
        if len(self._looking) >= MAX_AT_ONCE or of_one >= MAX_OF_ONE:
            self._telemetry.count("suspicion_skipped")
            return
        task = asyncio.get_running_loop().create_task(
            self._look(live, pieces, upstream=upstream, name=name, record=record)
        )
        self._looking[task] = upstream
        task.add_done_callback(self._looking.pop)
        await asyncio.wait({task}, timeout=self._patience_s)

    async def close(self) -> None:
        """Wait for what is being looked at."""
        await asyncio.gather(*self._looking)

    async def _look(
        self, live: LiveRun, pieces: list[str], *, upstream: str, name: str, record: str
    ) -> None:
        try:
            kinds = await asyncio.to_thread(self._kinds, pieces)
            if not kinds:
                return
            self._say(live, kinds, upstream=upstream, name=name, record=record)
            await self._runs.join_labels(live, _MARK, source=record)
        except Exception:  # noqa: BLE001 -- a sign that cannot be had is none, and blocks nothing
            self._telemetry.count("suspicion_failures")

    def _kinds(self, pieces: list[str]) -> list[str]:
        return sorted({kind for piece in pieces for kind in self._rules.kinds(piece)})

    def _say(
        self, live: LiveRun, kinds: list[str], *, upstream: str, name: str, record: str
    ) -> None:
        told = self._told.of(live.run.id)
        if upstream in told or len(told) >= MAX_AT_ONCE:
            return
        told.add(upstream)
        # Kinds are the library's words, not the text's.
        what = ", ".join(kind[:40] for kind in kinds[:4])
        self._tell(
            DETECTOR,
            Sighting(
                strength=Strength.WEAK,
                seen=f"a result that looks like instructions ({what})",
                after=1,
                records=(record,) if record else (),
            ),
            workload=live.run.workload,
            run=live.run.id,
            upstream=upstream,
            name=name,
        )


def _pieces(said: JSON) -> Iterator[str]:
    left = MAX_TEXT
    for text in _strings(said):
        part = text[:left]
        left -= len(part)
        for start in range(0, len(part), PIECE - OVERLAP):
            piece = part[start : start + PIECE]
            # What is shorter says nothing; nor does the overlap alone.
            if len(piece) > (OVERLAP if start else _SHORT):
                yield piece
        if left <= 0:
            return


_SHORT = 12


def _strings(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            waiting.extend(cast("dict[str, Any]", each).values())
        elif isinstance(each, list):
            waiting.extend(cast("list[Any]", each))


__all__ = [
    "DETECTOR",
    "MAX_AT_ONCE",
    "MAX_OF_ONE",
    "MAX_TEXT",
    "OVERLAP",
    "PATIENCE_S",
    "PIECE",
    "Suspicion",
]
