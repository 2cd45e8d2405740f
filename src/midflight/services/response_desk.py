"""What operators do about responses: look at them, set one by hand, lift one.

The other way round than findings: a lift is on disk before it takes effect, since one that is lost
must still hold. A finding never lifts, and no workload gets here: these verbs are reached through
the control API alone. Above: `apps/control/responses.py`. Below: `responses.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from midflight.domain.errors import Conflict, MidflightError, NotFound
from midflight.domain.identity import Author, Mode
from midflight.domain.response import Level, Rate, Response
from midflight.domain.response_rules import HOUR, RATE
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.run import Run
from midflight.domain.value import Value
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.ports.clock import Clock
from midflight.services.ports.store import Store
from midflight.services.responses import Responses
from midflight.services.standings import is_own

MAX_BY_HAND_S = 7 * 86_400


class ResponseAnswer(Value):
    """What became of a verb. `durable`: it is on disk; else `note` says what to know."""

    response: Response
    durable: bool = True
    note: str = ""


class HeldResponse(Value):
    """A response in force, as shown to people. `durable`: it survives the process."""

    response: Response
    durable: bool


class ResponseDesk:
    """See the module."""

    def __init__(
        self,
        *,
        responses: Responses,
        interruption: Interruption,
        inventory: Inventory,
        store: Store,
        clock: Clock,
    ) -> None:
        """Shares its parts with the plane."""
        self._responses = responses
        self._interruption = interruption
        self._inventory = inventory
        self._store = store
        self._clock = clock

    def listing(self) -> Sequence[HeldResponse]:
        """What is in force, oldest first."""
        now, owed = self._clock.now(), self._responses.log.owed
        return [
            HeldResponse(response=each, durable=each.id not in owed)
            for each in self._responses.standings.all()
            if self._responses.standings.holds(each, now)
        ]

    def show(self, response_id: str) -> HeldResponse:
        """One that is in force. `NotFound` if there is none of that id."""
        for held in self.listing():
            if held.response.id == response_id:
                return held
        raise NotFound(
            f"No response {response_id} is in force.",
            hint="midflight response list shows those that are.",
        )

    async def add(
        self,
        scope: Scope,
        level: Level,
        *,
        reason: str,
        author: Author,
        for_s: int = HOUR,
        risk: int = 0,
        rate: Rate | None = None,
    ) -> ResponseAnswer:
        """Hold a run or a workload, on an operator's word. It holds when this returns.

        Raises:
            NotFound: no such run or workload.
            Conflict: no reason, a time or level that is none, or a run that has ended.
        """
        _check(scope, level, reason, for_s, risk)
        run = await self._run(scope.id) if scope.kind is ScopeKind.RUN else None
        workload = await self._inventory.get(scope.id if run is None else run.workload)
        now = self._clock.now()
        response = Response(
            id=f"rsp_{self._clock.token()}",
            at=now,
            scope=scope if run is None else Scope(kind=ScopeKind.RUN, id=run.lineage[-1]),
            workload=workload.id,
            owner=workload.owner,
            run="" if run is None else run.id,
            level=level,
            until=now + for_s,
            reason=reason.strip(),
            author=author.name,
            proof=author.proof,
            base=level,
            risk=risk,
            rate=(rate or RATE) if level is Level.THROTTLE else None,
            own=run is not None and await self._is_own(run),
            observed=workload.mode is Mode.OBSERVE,
        )
        self._responses.add(response)
        await self._responses.log.settle()
        notes: list[str] = []
        durable = response.id not in self._responses.log.owed
        if not durable:
            notes.append(
                "In force in this process only: the store does not take it; it is retried."
            )
        if response.observed:
            notes.append("The workload is only observed: nothing is stopped, records say what was.")
        return ResponseAnswer(response=response, durable=durable, note=" ".join(notes))

    async def lift(self, response_id: str, *, reason: str, author: Author) -> ResponseAnswer:
        """End a response by a new entry, which is on disk before it takes effect.

        Raises:
            NotFound: none of that id is in force.
            Conflict: no reason.
            StoreUnavailable, LedgerUnavailable: it still holds.
        """
        found = self.show(response_id).response
        if not reason.strip():
            raise Conflict("Lifting needs a reason.", hint="Add --reason.")
        lifting = found.lifted(
            f"rsp_{self._clock.token()}",
            at=self._clock.now(),
            reason=reason.strip(),
            author=author,
        )
        await self._responses.log.keep(lifting)
        self._responses.remove(found, lifting)
        note = ""
        if found.level is Level.REVOKE and not found.observed:
            note = await self._lift_revocation(found, reason, author)
        return ResponseAnswer(response=lifting, note=note)

    # Inside

    async def _lift_revocation(self, found: Response, reason: str, author: Author) -> str:
        if found.scope.kind is ScopeKind.RUN:
            return "The run that was revoked with it stays over; open a new one."
        proofs = {f"finding:{each}" for each in found.findings}
        for revocation in self._interruption.listing():
            if revocation.proof in proofs and revocation.scope == found.scope:
                try:
                    await self._interruption.lift(revocation.id, reason=reason, author=author)
                except MidflightError as error:
                    return f"Revocation {revocation.id} is still in force: {error.message}"
        return ""

    async def _run(self, run_id: str) -> Run:
        stored = await self._store.get_run(run_id)
        if stored is None:
            raise NotFound(f"There is no run {run_id}.", hint="midflight run list shows runs.")
        return stored.run

    async def _is_own(self, run: Run) -> bool:
        first = run if run.parent is None else await self._run(run.lineage[-1])
        return is_own(first)


def _check(scope: Scope, level: Level, reason: str, for_s: int, risk: int) -> None:
    if scope.kind not in (ScopeKind.RUN, ScopeKind.WORKLOAD):
        raise Conflict(
            f"A response holds a run or a workload, and not {scope.kind.value}.",
            hint="midflight revoke stops anything wider.",
        )
    if level in (Level.NONE, Level.REVOKE):
        raise Conflict(
            f"{level.value} is no response that is set by hand.",
            hint="midflight revoke ends a run or a workload; midflight response lift ends this.",
        )
    if not reason.strip():
        raise Conflict("A response needs a reason.", hint="Add --reason.")
    if not 0 < for_s <= MAX_BY_HAND_S:
        raise Conflict(
            f"A response holds for 1 s to {MAX_BY_HAND_S // 86_400} days.",
            hint="For longer: midflight revoke, or another mode of the workload.",
        )
    if not 0 <= risk <= 100:
        raise Conflict("A risk is 0 to 100.")


__all__ = ["MAX_BY_HAND_S", "HeldResponse", "ResponseAnswer", "ResponseDesk"]
