"""What a workload may be shown of what its upstreams serve.

A list hides only what no argument and no approval could permit, and everything that is not pinned
as it is served. Lists come from the catalogue, so that showing 200 tools costs no upstream call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from midflight.domain.action import ActionKind
from midflight.domain.decision import Deny, DenyCode
from midflight.domain.identity import Caller, Workload
from midflight.domain.narrowing import Narrowing, outside
from midflight.domain.question import RunFacts, Source
from midflight.domain.revocation import ScopeKind, scopes_over
from midflight.domain.run import RunState
from midflight.domain.scopes import narrowing
from midflight.domain.tool import Definition, PinnedKind
from midflight.domain.value import Value
from midflight.services.catalogue import Catalogue
from midflight.services.flights import Flight, FlightKind
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.ports.clock import Clock
from midflight.services.ports.policy import PolicyEngine
from midflight.services.refusing import deny
from midflight.services.runs import Runs

# What a client would do with what is listed. Templates are filtered by being pinned alone: what
# they may be filled with is judged when a resource is read.
_ASKED = {PinnedKind.TOOL: ActionKind.CALL_TOOL, PinnedKind.PROMPT: ActionKind.GET_PROMPT}


class Listing:
    """Filters the catalogue for one caller."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        runs: Runs,
        interruption: Interruption,
        inventory: Inventory,
        engine: PolicyEngine,
        clock: Clock,
    ) -> None:
        """Shares its parts with the guard."""
        self._catalogue = catalogue
        self._runs = runs
        self._interruption = interruption
        self._inventory = inventory
        self._engine = engine
        self._clock = clock

    async def seat(self, caller: Caller) -> Seat | Deny:
        """The caller's workload and run, opened if it is implicit, or why there is none."""
        now = self._clock.now()
        workload = self._inventory.current(caller.workload)
        missing = self._inventory.standing_of(caller, int(now))
        if workload is None or missing is not None:
            return deny(
                DenyCode.UNREGISTERED,
                "unregistered",
                missing or "The workload is not registered.",
                "An operator registers it with `midflight workload add`.",
            )
        live = await self._runs.find(caller, workload)
        if isinstance(live, Deny):
            return live
        above = (each.run.workload for each in live.ancestors())
        scopes = frozenset(
            (
                *scopes_over(
                    caller.workload,
                    owner=workload.owner,
                    runs=live.run.lineage,
                    token=caller.token,
                ),
                *self._inventory.revoked_with((*caller.acting, *above)),
            )
        )
        revoked = self._revoked(scopes)
        if revoked is not None:
            return revoked
        return Seat(
            workload=workload,
            run=live.facts(now=int(now), through=caller.acting),
            narrowed=live.run.narrowed,
            scopes=scopes,
            expires_at=caller.expires_at,
        )

    async def shown(
        self, caller: Caller, upstreams: Sequence[str], kind: PinnedKind
    ) -> list[Definition] | Deny:
        """Definitions of a kind that the caller may see, in the upstreams' order.

        An upstream that does not answer is left out of a list of several, and is the error of a
        list of one (`UpstreamUnavailable`).
        """
        seat = await self.seat(caller)
        if isinstance(seat, Deny):
            return seat
        source = Source(point="mcp", proof=caller.proof)
        found: list[Definition] = []
        ready = await self._catalogue.ready(upstreams)
        revoked = self._revoked(seat.scopes)  # while an upstream took its time
        if revoked is not None:
            return revoked
        for upstream in ready:
            definitions = self._catalogue.definitions(upstream, kind)
            for narrowed in (seat.narrowed, narrowing(caller.scope)):
                if not narrowed.leaves_all:
                    inside = self._inside(narrowed, upstream, kind)
                    definitions = [d for d in definitions if d.name in inside]
            asked = _ASKED.get(kind)
            if asked is not None:
                visible = self._engine.visible(
                    self._catalogue.targets(upstream, kind),
                    workload=seat.workload,
                    run=seat.run,
                    source=source,
                    at=int(self._clock.now()),
                    kind=asked,
                )
                definitions = [d for d in definitions if d.name in visible]
            found.extend(definitions)
        return found

    def _revoked(self, scopes: frozenset[tuple[ScopeKind, str]]) -> Deny | None:
        revocation = self._interruption.covering(scopes)
        if revocation is None:
            return None
        return deny(
            DenyCode.REVOKED,
            f"revoked:{revocation.id}",
            f"Revoked by {revocation.author}: {revocation.reason}",
        )

    def _inside(self, narrowed: Narrowing, upstream: str, kind: PinnedKind) -> frozenset[str]:
        """Names of what is left to a delegated run."""
        asked = _ASKED.get(kind, ActionKind.READ_RESOURCE)
        return frozenset(
            target.name
            for target in self._catalogue.targets(upstream, kind)
            if outside(
                narrowed, kind=asked, upstream=upstream, name=target.name, traits=target.traits
            )
            is None
        )

    def stream(self, seat: Seat, *, name: str, ended: Callable[[], None]) -> Stream:
        """Enter a long-lived stream.

        `ended` is called when its run ends or is revoked, and when the token ends that opened it: a
        stream must not make a stolen token of minutes one of hours.

        Raises:
            Interrupted: it is revoked already.
        """
        return Stream(self._interruption, self._runs, seat, name=name, ended=ended)


class Seat(Value):
    """A caller in good standing with an open run."""

    workload: Workload
    run: RunFacts
    narrowed: Narrowing
    scopes: frozenset[tuple[ScopeKind, str]]
    expires_at: int


class Stream:
    """A stream that carries no action of its own and is cut with its run all the same."""

    def __init__(
        self,
        interruption: Interruption,
        runs: Runs,
        seat: Seat,
        *,
        name: str,
        ended: Callable[[], None],
    ) -> None:
        """Made by `Listing.stream`."""
        self._interruption = interruption
        self._runs = runs
        self._run = seat.run.id
        self._ended = ended
        self.flight = Flight(
            record="",
            run=seat.run.id,
            workload=seat.workload.id,
            upstream="",
            name=name,
            scopes=seat.scopes,
            began=interruption.clock.monotonic(),
            kind=FlightKind.STREAM,
        )
        interruption.take_off(self.flight)
        self.flight.on_cut(lambda _: self._ended)
        runs.on_ended(self._run_ended)
        left = seat.expires_at - interruption.clock.now()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, left), ended)

    def _run_ended(self, run: str, _state: RunState) -> None:
        if run == self._run:
            self._ended()

    def tell_with(self, tell: Callable[[], object]) -> None:
        """Call this in the turn in which it is cut, before `ended`."""
        self.flight.tell_with(lambda _: tell())

    @property
    def is_denied(self) -> bool:
        """Whether nothing may be told on it any more, though it may not have been ended yet."""
        return self.flight.interrupted is not None

    def close(self) -> None:
        """Leave the registry."""
        self._timer.cancel()
        self._interruption.leave(self.flight)
        self._runs.off_ended(self._run_ended)


__all__ = ["Listing", "Seat", "Stream"]
