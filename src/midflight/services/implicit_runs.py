"""Implicit runs: what a plain client acts in that has a token for no run.

Such a run has no intent, and it inherits what the last ones have seen. An end that somebody meant
has no successor. It is not the registry of runs: `runs.py` mints, ends and keeps them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from midflight.domain.decision import Challenge, Decision, Deny, Permit
from midflight.domain.identity import Author, Caller, Workload
from midflight.domain.labels import BOTTOM, Labels
from midflight.domain.revocation import Revocation
from midflight.domain.run import RunState
from midflight.services.live_run import LiveRun
from midflight.services.ports.clock import Clock
from midflight.services.ports.store import Store, StoredRun
from midflight.services.refusing import exhausted, not_open
from midflight.services.run_bounds import Bounds


class ImplicitRuns:
    """The implicit runs of this process, one a workload and process of a caller."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        bounds: Bounds,
        entitled: Callable[[Workload, str, str], Decision],
        revocation: Callable[[str], Revocation | None],
        mint: Callable[..., Awaitable[LiveRun]],
        is_over: Callable[[LiveRun], bool],
        expire: Callable[[LiveRun], Awaitable[bool]],
    ) -> None:
        """Made by `Runs`, which lends `mint`, `is_over` and `expire`."""
        self._store = store
        self._clock = clock
        self._bounds = bounds
        self._entitled = entitled
        self._revocation = revocation
        self._mint = mint
        self._is_over = is_over
        self._expire = expire
        self._runs: dict[tuple[str, str], LiveRun] = {}
        self._opening: dict[tuple[str, str], asyncio.Lock] = {}

    async def find(  # noqa: PLR0911 -- one return a reason
        self, caller: Caller, workload: Workload
    ) -> LiveRun | Deny:
        """The implicit run of the caller, opened if there is none, or why there is none."""
        if not self._bounds.implicit:
            return not_open("Implicit runs are switched off, and this token names no run.")
        key = (workload.id, caller.process)
        live = self._runs.get(key)
        if live is not None and live.state is RunState.OPEN and not self._is_over(live):
            live.last_seen = self._clock.monotonic()
            return live
        async with self._opening.setdefault(key, asyncio.Lock()):
            live = self._runs.get(key)
            if live is not None and live.state is RunState.OPEN:
                if not self._is_over(live):
                    return live
                await self._expire(live)
            decision = self._entitled(workload, "midflight:implicit", caller.proof)
            match decision:
                case Deny():
                    return decision
                case Challenge():
                    return not_open("Policy lets nobody open an implicit run unasked.")
                case Permit():
                    pass
            before = await self._store.list_runs(workload=workload.id)
            stopped = self._stopped(before, live)
            if stopped is not None:
                return stopped
            labels, source = _inherited(before)
            live = await self._mint(
                workload=workload.id,
                intent=None,
                author=Author(name="midflight:implicit", proof=caller.proof),
                ttl_s=self._bounds.ttl_s,
                max_steps=self._bounds.max_steps,
                labels=labels,
                labels_source=source,
                implicit=True,
            )
            self._runs[key] = live
            return live

    def _stopped(self, before: Sequence[StoredRun], known: LiveRun | None) -> Deny | None:
        """Why no implicit run may follow those (newest first; `known` of this process), or None.

        A fresh one would undo what ended the last: a revocation would stop its agent for the time
        of one action, and a budget would be one of a moment.
        """
        last = next((stored for stored in before if stored.run.implicit), known)
        if last is None:
            return None
        if known is not None and known.run.id == last.run.id:
            last = known  # the store may not have heard of its end yet
        if last.state is RunState.EXHAUSTED and (
            self._clock.now() < last.run.expires_at or (known is not None and known.flying)
        ):
            return exhausted(last.run)
        revocation = self._revocation(last.run.id)
        if revocation is None or any(
            not stored.run.implicit
            and stored.run.parent is None
            and stored.run.opened_at > revocation.at
            for stored in before
        ):
            return None
        return not_open(f"Run {last.run.id} was revoked, and no operator has opened one since.")


def _inherited(before: Sequence[StoredRun]) -> tuple[Labels, str]:
    """Labels that an implicit run begins with after those (newest first), and their source.

    Without attestation it may be the same process that acted in any of them, so it has seen what
    they have: in the last implicit run, which inherited in its turn, and in all open since then.
    """
    labels, source = BOTTOM, ""
    last = next((stored.run.opened_at for stored in before if stored.run.implicit), 0)
    for stored in before:
        if stored.run.expires_at >= last and not labels.covers(stored.labels):
            labels = labels.join(stored.labels)
            source = f"{source} {stored.labels_source}".strip()
    return labels, source


__all__ = ["ImplicitRuns"]
