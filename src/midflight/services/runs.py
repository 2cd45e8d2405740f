"""Runs: minting, looking up, budgets, labels and ends.

State of a run lives in memory of its owning process and is written through to the store before it
counts: labels before the result that brought them is delivered, steps in blocks before they are
taken, ends before they are acknowledged. A run that memory does not know is rebuilt from the store
or refused; missing state is never treated as empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from midflight.domain.decision import Decision, Deny, Permit
from midflight.domain.delegation import ends_at, falls_as
from midflight.domain.errors import Conflict, Forbidden, NotFound
from midflight.domain.identity import Author, Caller, Workload
from midflight.domain.labels import BOTTOM, Labels
from midflight.domain.narrowing import WHOLE, Narrowing
from midflight.domain.records import RunOpened
from midflight.domain.revocation import Revocation, ScopeKind
from midflight.domain.run import Run, RunState
from midflight.services.implicit_runs import ImplicitRuns
from midflight.services.live_run import LiveRun, over
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store, StoredRun
from midflight.services.refusing import exhausted, not_open
from midflight.services.run_bounds import Bounds
from midflight.services.run_ends import Ending, RunEnds
from midflight.services.run_labels import RunLabels, raise_labels
from midflight.services.run_status import RunStatus, statuses
from midflight.services.sealing import Sealer
from midflight.services.standings import Standings


class Runs:
    """All runs that this process owns."""

    def __init__(
        self,
        *,
        store: Store,
        recorder: Recorder,
        sealer: Sealer,
        clock: Clock,
        bounds: Bounds,
        entitled: Callable[[Workload, str, str], Decision],
        revocation: Callable[[str], Revocation | None],
    ) -> None:
        """What decides besides.

        `entitled(workload, opener, proof)` asks policy whether a run may be opened;
        `revocation(run id)` is the one in force that covers a run.
        """
        self._store = store
        self._recorder = recorder
        self._sealer = sealer
        self._clock = clock
        self._bounds = bounds
        self._entitled = entitled
        self._labels = RunLabels(store=store, recorder=recorder, clock=clock, known=self._known)
        self._ends = RunEnds(store=store, recorder=recorder, clock=clock)
        self.standings = Standings(clock)
        """What holds for these runs because of findings; `responses.py` enters it."""
        self._live: dict[str, LiveRun] = {}
        self._revoking: dict[str, Revocation] = {}
        self._implicit = ImplicitRuns(
            store=store,
            clock=clock,
            bounds=bounds,
            entitled=entitled,
            revocation=revocation,
            mint=self.mint,
            is_over=self._over,
            expire=self._expire,
        )
        self._ended: dict[Callable[[str, RunState], None], None] = {}
        self._returned: list[Callable[[str, str], None]] = []

    def on_ended(self, listener: Callable[[str, RunState], None]) -> None:
        """Call `listener(run id, state)` when a run has left `open` for a final state."""
        self._ended[listener] = None

    def off_ended(self, listener: Callable[[str, RunState], None]) -> None:
        """Call it no more."""
        self._ended.pop(listener, None)

    def on_returned(self, listener: Callable[[str, str], None]) -> None:
        """Call `listener(child id, parent id)` when a child run has ended, however it did."""
        self._returned.append(listener)

    async def start(self) -> None:
        """End what a stopped process left open beyond its time, or beyond its parent's end."""
        now = self._clock.now()
        found = await self._store.list_runs(state=RunState.OPEN, limit=1_000_000)
        for stored in found:
            if stored.run.expires_at <= now:
                await self._expire(self._lone(stored))
        left = frozenset(s.run.id for s in found if self._ends.of(s.run.id) is None)
        for stored in found:
            gone = next((a for a in stored.run.ancestors if a not in left), None)
            if gone is not None and self._ends.of(stored.run.id) is None:
                await self._end_orphan(stored, gone)

    # For the guard

    async def find(self, caller: Caller, workload: Workload) -> LiveRun | Deny:
        """The run that a caller acts in, opened if it is implicit, or why there is none."""
        if caller.run is None:
            return await self._implicit.find(caller, workload)
        live = self._live.get(caller.run) or await self._load(caller.run)
        if live is None or live.run.workload != workload.id:
            return not_open("The run of this token does not exist for this workload.")
        return await self._usable(live)

    def live(self, run_id: str) -> LiveRun | None:
        """A run of this process by id, if it is open."""
        return self._live.get(run_id)

    async def take_step(self, live: LiveRun) -> Deny | None:
        """Take a step of the run's budget, or say that it is used up."""
        if live.take_reserved() or await live.take_step(self._store):
            return None
        await self._end(live, RunState.EXHAUSTED, author="midflight", proof="budget", reason="")
        return exhausted(live.run)

    def landed(self, live: LiveRun) -> None:
        """An action of the run is over. The last one of a used-up budget takes the run with it."""
        live.flying -= 1
        self._seen(live)
        if not live.flying and live.state is RunState.EXHAUSTED:
            self._tell_ended(live)

    async def join_labels(self, live: LiveRun, labels: Labels, *, source: str) -> None:
        """Join labels into the run's: in memory at once, and in the store before this returns."""
        await self._labels.join(live, labels, source=source)

    # Verbs of operators

    async def open_run(
        self,
        *,
        workload: Workload,
        intent: str | None,
        author: Author,
        ttl_s: int | None = None,
        max_steps: int | None = None,
    ) -> Run:
        """Mint a run for a stated purpose.

        Raises:
            Forbidden: policy does not entitle the author to open runs for this workload.
            Conflict: a limit above the settings'.
        """
        self.check_opening(workload, author)
        ttl = self._bounds.ttl_s if ttl_s is None else ttl_s
        steps = self._bounds.max_steps if max_steps is None else max_steps
        if not (0 < ttl <= self._bounds.ttl_s and 0 < steps <= self._bounds.max_steps):
            raise Conflict(
                f"A run has at most {self._bounds.ttl_s} s and {self._bounds.max_steps} steps.",
                hint="Raise [runs] ttl and max_steps in midflight.toml if that is meant.",
            )
        live = await self.mint(
            workload=workload.id,
            intent=intent,
            author=author,
            ttl_s=ttl,
            max_steps=steps,
            labels=BOTTOM,
            labels_source="",
            implicit=False,
        )
        return live.run

    def check_opening(self, workload: Workload, author: Author) -> None:
        """`Forbidden` unless policy entitles the author to open runs for this workload."""
        decision = self._entitled(workload, author.name, author.proof)
        if not isinstance(decision, Permit):
            reasons = ", ".join(reason.policy for reason in decision.reasons)
            raise Forbidden(
                f"{author.name} may not open runs for {workload.id} ({reasons}).",
                hint="A policy must permit open_run for this workload and opener.",
            )

    async def opened(self, run_id: str) -> LiveRun:
        """A run that is open and has time left. `NotFound` or `Conflict` if it is not."""
        live = self._live.get(run_id) or await self._load(run_id)
        if live is None:
            raise NotFound(f"There is no run {run_id}.", hint="midflight run list shows runs.")
        usable = await self._usable(live)
        if isinstance(usable, Deny):
            raise Conflict(f"Run {run_id} has ended ({live.state.value}).", hint=usable.help)
        return live

    async def close_run(self, run_id: str, *, author: Author, reason: str = "") -> None:
        """Close an open run. `NotFound` if there is none, `Conflict` if it has ended."""
        live = self._live.get(run_id) or await self._load(run_id)
        if live is None:
            raise NotFound(f"There is no run {run_id}.", hint="midflight run list shows runs.")
        done = await self._end(
            live, RunState.CLOSED, author=author.name, proof=author.proof, reason=reason
        )
        if not done and not await self._ends.store_again(run_id):
            raise Conflict(f"Run {run_id} has already ended ({live.state.value}).")

    async def list_runs(
        self, *, workload: str | None = None, state: RunState | None = None
    ) -> Sequence[RunStatus]:
        """Runs, newest first."""
        found = await self._store.list_runs(workload=workload, state=state)
        return await statuses(found, known=self._known, store=self._store, sealer=self._sealer)

    async def show(self, run_id: str) -> RunStatus:
        """One run. `NotFound` if there is none."""
        stored = await self._store.get_run(run_id)
        if stored is None:
            raise NotFound(f"There is no run {run_id}.", hint="midflight run list shows runs.")
        (status,) = await statuses(
            [stored], known=self._known, store=self._store, sealer=self._sealer
        )
        return status

    def known(self) -> Sequence[LiveRun]:
        """Every run that is open in this process."""
        return tuple(self._live.values())

    def of(self, run_id: str) -> LiveRun | None:
        """A run that is open in this process, or has ended in it and is remembered."""
        return self._known(run_id)

    # Ends that come by themselves

    async def revoked(self, revocation: Revocation) -> None:
        """A revocation of a run ends it for good."""
        if revocation.scope.kind is not ScopeKind.RUN or revocation.lifts is not None:
            return
        # Remembered until it is done: a run must not go on when a bounded revocation of it is over.
        self._revoking[revocation.id] = revocation
        live = self._live.get(revocation.scope.id) or await self._load(revocation.scope.id)
        if live is not None:
            await self._end(
                live,
                RunState.REVOKED,
                author=revocation.author,
                proof=revocation.proof,
                reason=revocation.reason,
            )
        self._revoking.pop(revocation.id, None)

    async def sweep(self) -> int:
        """End every run of this process whose time is over; how many."""
        await self._ends.store_rest()
        for revocation in list(self._revoking.values()):
            await self.revoked(revocation)
        ended = 0
        for live in list(self._live.values()):
            if self._over(live):
                ended += await self._expire(live)
        return ended

    # Inside

    async def _usable(self, live: LiveRun) -> LiveRun | Deny:
        each: LiveRun | None = live
        while each is not None:
            if each.state is RunState.OPEN and self._over(each):
                await self._expire(each)
            each = each.parent
        if live.state is not RunState.OPEN:
            return not_open(f"Run {live.run.id} has ended ({live.state.value}).")
        if live.parent is not None and not live.spread_labels.covers(live.labels):
            # Labels that came from its kin, when it was loaded or since.
            await self.join_labels(live, live.labels, source=live.parent.run.id)
        self._seen(live)
        return live

    def _seen(self, live: LiveRun) -> None:
        """The run acts, and what it descends from waits for it and is not idle."""
        now = self._clock.monotonic()
        each: LiveRun | None = live
        while each is not None:
            each.last_seen = now
            each = each.parent

    async def mint(
        self,
        *,
        workload: str,
        intent: str | None,
        author: Author,
        ttl_s: int,
        max_steps: int,
        labels: Labels,
        labels_source: str,
        implicit: bool = False,
        parent: LiveRun | None = None,
        narrowed: Narrowing = WHOLE,
        delegated: str | None = None,
    ) -> LiveRun:
        """Make a run: in the store and on record before this returns. Asks nobody.

        Raises:
            Conflict: the parent has ended meanwhile, and the child with it.
        """
        now = self._clock.now()
        run_id = f"run_{self._clock.token()}"
        await self._sealer.key_for(run_id)
        expires_at = int(now) + ttl_s
        if parent is not None:
            expires_at = ends_at(now=int(now), ttl_s=ttl_s, parent_ends=parent.run.expires_at)
        run = Run(
            id=run_id,
            workload=workload,
            intent=self._sealed_text(run_id, intent),
            opened_by=f"{author.name} ({author.proof})",
            opened_at=int(now),
            expires_at=expires_at,
            idle_timeout=self._bounds.idle_timeout_s,
            max_steps=max_steps,
            salt=self._clock.token(),
            implicit=implicit,
            parent=None if parent is None else parent.run.id,
            ancestors=() if parent is None else parent.run.lineage,
            narrowed=narrowed,
            delegated=self._sealed_text(run_id, delegated),
        )
        await self._store.create_run(run, labels=labels, labels_source=labels_source)
        ticket = self._recorder.append(
            RunOpened(
                at=now,
                run=run.id,
                workload=workload,
                author=author.name,
                proof=author.proof,
                implicit=implicit,
                intent=None if intent is None else self._sealer.seal(run.id, intent),
                expires_at=run.expires_at,
                max_steps=max_steps,
                parent=run.parent,
                depth=run.depth,
                narrowed=None if narrowed.leaves_all else narrowed,
                delegated=None if delegated is None else self._sealer.seal(run.id, delegated),
            )
        )
        await ticket.durable()
        stored = StoredRun(
            run=run,
            state=RunState.OPEN,
            labels=labels,
            labels_source=labels_source,
            steps_reserved=0,
        )
        alike = () if parent is None else await self._labels.alike(run)
        live = self._made(stored, parent)
        if parent is not None and parent.state is not RunState.OPEN:
            await self._fall(live, parent.run.id, parent.state)
            raise Conflict(f"Run {parent.run.id} has ended ({parent.state.value}).")
        self._enter(live)
        # What it was told may be known to all runs of its workload, and what they know to it.
        raise_labels(live, labels, source=live.run.id)
        self._labels.raise_alike(live, alike)
        return live

    def _sealed_text(self, run_id: str, text: str | None) -> str | None:
        return None if text is None else self._sealer.seal_text(run_id, text)

    def _known(self, run_id: str) -> LiveRun | None:
        """A run that lives in this process or has ended in it."""
        return self._ends.of(run_id) or self._live.get(run_id)

    def _made(self, stored: StoredRun, parent: LiveRun | None) -> LiveRun:
        now = self._clock.monotonic()
        return LiveRun(stored, now=now, parent=parent, standings=self.standings)

    def _lone(self, stored: StoredRun) -> LiveRun:
        return self._made(stored, None)

    def _enter(self, live: LiveRun) -> None:
        self._live[live.run.id] = live
        # A wall clock that is set back from here on prolongs it by nothing.
        live.ends = self._clock.monotonic() + live.run.expires_at - self._clock.now()
        if live.parent is not None:
            live.parent.children.add(live)

    async def _load(self, run_id: str) -> LiveRun | None:
        """A run that is not live: made so if it is open, with all that it descends from."""
        stored = await self._store.get_run(run_id)
        if stored is None:
            return None
        parent: LiveRun | None = None
        alike: Sequence[StoredRun] = ()
        if stored.state is RunState.OPEN and stored.run.parent is not None:
            parent = self._live.get(stored.run.parent) or await self._load(stored.run.parent)
            alike = await self._labels.alike(stored.run)
        # Loads may race with each other and with ends, and all must end up with the one object
        # that carries the state: there is no wait from here to where it is entered.
        known = self._known(run_id)
        if known is not None:
            return known
        live = self._made(stored, parent)
        if stored.state is not RunState.OPEN:
            return live
        if stored.run.parent is not None and (parent is None or parent.state is not RunState.OPEN):
            state = RunState.CLOSED if parent is None else parent.state
            await self._fall(live, stored.run.parent, state)
            return live
        self._enter(live)
        self._labels.raise_alike(live, alike)
        return live

    def _over(self, live: LiveRun) -> bool:
        mono = self._clock.monotonic()
        if self._clock.now() >= live.run.expires_at or mono >= live.ends:
            return True
        idle = mono - live.last_seen
        if live.flying or idle <= live.run.idle_timeout:
            return False
        return not any(each.flying for each in live.descendants())

    async def _expire(self, live: LiveRun) -> bool:
        return await self._end(
            live, RunState.EXPIRED, author="midflight", proof="time", reason="its time was over"
        )

    async def _end(
        self, live: LiveRun, state: RunState, *, author: str, proof: str, reason: str
    ) -> bool:
        """End a run and all that descends from it. False if it had ended before."""
        if live.state is not RunState.OPEN:
            return False
        # Denied and cut here at once, all in this turn, whatever the store says next.
        below = list(live.descendants())
        endings = [self._leave(live, state, author=author, proof=proof, reason=reason)]
        endings += [
            self._leave(each, falls_as(state), **_fallen(live.run.id, state)) for each in below
        ]
        done = await self._ends.store(endings[0])
        for ending in endings[1:]:
            await self._ends.store(ending)
        await self._end_unloaded(live.run.id, state)
        return done

    def _leave(
        self, live: LiveRun, state: RunState, *, author: str, proof: str, reason: str
    ) -> Ending:
        live.state = state
        self._live.pop(live.run.id, None)
        if live.parent is not None:
            live.parent.children.discard(live)
        ending = self._ends.note(live, author=author, proof=proof, reason=reason)
        if state is not RunState.EXHAUSTED or not live.flying:
            self._tell_ended(live)
        return ending

    async def _end_unloaded(self, run_id: str, state: RunState) -> None:
        """End the descendants that nobody has used since this process began."""
        below = await self._store.children([run_id])
        while below:
            for stored in below:
                if stored.state is RunState.OPEN and self._ends.of(stored.run.id) is None:
                    live = self._live.get(stored.run.id) or self._lone(stored)
                    await self._fall(live, run_id, state)
            below = await self._store.children([stored.run.id for stored in below])

    async def _end_orphan(self, stored: StoredRun, gone: str) -> None:
        ancestor = await self._store.get_run(gone)
        state = RunState.CLOSED if ancestor is None else ancestor.state
        await self._fall(self._lone(stored), gone, state)

    async def _fall(self, live: LiveRun, ancestor: str, state: RunState) -> None:
        """End a run because one that it descends from has ended so."""
        await self._end(live, falls_as(state), **_fallen(ancestor, state))

    def _tell_ended(self, live: LiveRun) -> None:
        for listener in list(self._ended):
            listener(live.run.id, live.state)
        if live.run.parent is not None:
            for returned in self._returned:
                returned(live.run.id, live.run.parent)


def _fallen(ancestor: str, state: RunState) -> dict[str, str]:
    reason = f"run {ancestor}, which it descends from, has ended ({state.value})"
    return {"author": "midflight", "proof": "parent", "reason": reason}


__all__ = ["Bounds", "LiveRun", "RunStatus", "Runs", "over"]
