"""Later turns of the principal: what whoever opened a run says after it was opened.

Only the opener can add to an intent, and to a child's only who opened its parent, too; what an
agent relays as a user's words is data. The words are sealed and durable before they count.
Children that are open keep the intent they were given.
Below: `runs.py`, `flow.py`. Above: `apps/control/`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from midflight.domain.errors import Conflict, Forbidden
from midflight.domain.identity import Author
from midflight.domain.records import IntentAdded
from midflight.services.live_run import LiveRun
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.runs import Runs
from midflight.services.sealing import Sealer

MAX_WHOLE = 65_536
"""Characters of all turns together."""


class Turns:
    """See the module."""

    def __init__(
        self,
        *,
        runs: Runs,
        store: Store,
        sealer: Sealer,
        recorder: Recorder,
        clock: Clock,
        said: Callable[[str, str], None],
    ) -> None:
        """`said(run, text)` is told when the words count."""
        self._runs = runs
        self._store = store
        self._sealer = sealer
        self._recorder = recorder
        self._clock = clock
        self._said = said

    async def say(self, run_id: str, text: str, *, author: Author) -> LiveRun:
        """Add to the intent of an open run.

        Raises:
            NotFound, Conflict: there is no such run, it has ended, it has no intent to add to, or
                the intent would be longer than `MAX_WHOLE`.
            Forbidden: the author is not who opened it, and what it descends from.
            LedgerUnavailable, StoreUnavailable: the words do not count.
        """
        live = await self._runs.opened(run_id)
        # A child's intent is its parent's: who only delegated is not the principal of it.
        for each in (live, *live.ancestors()):
            if each.run.opened_by != f"{author.name} ({author.proof})":
                raise Forbidden(
                    f"{author.name} has not opened run {each.run.id}.",
                    hint=f"Only who opened it can say more: {each.run.opened_by}.",
                )
        if live.run.intent is None:
            raise Conflict(
                f"Run {run_id} was opened without an intent.",
                hint="Open a run with one: midflight run open --intent …",
            )
        await self._sealer.key_for(run_id)
        before = await self._sealer.open_text(run_id, live.run.intent) or ""
        whole = f"{before}\n\n{text}"
        if len(whole) > MAX_WHOLE:
            raise Conflict(
                f"The intent of run {run_id} would be longer than {MAX_WHOLE:,} characters.",
                hint="Close it and open another.",
            )
        ticket = self._recorder.append(
            IntentAdded(
                at=self._clock.now(),
                run=run_id,
                author=author.name,
                proof=author.proof,
                intent=self._sealer.seal(run_id, text),
            )
        )
        await ticket.durable()
        sealed = self._sealer.seal_text(run_id, whole)
        if not await self._store.set_intent(run_id, before=live.run.intent, after=sealed):
            raise Conflict(f"Run {run_id} has ended or was told more.", hint="Say it again.")
        live.run = msgspec.structs.replace(live.run, intent=sealed)
        self._said(run_id, text)
        return live


__all__ = ["MAX_WHOLE", "Turns"]
