"""Runs: minting, looking up, budgets, labels and ends.

State of a run lives in memory of its owning process and is written through to the store before it
counts: labels before the result that brought them is delivered, steps in blocks before they are
taken, ends before they are acknowledged. A run that memory does not know is rebuilt from the store
or refused; missing state is never treated as empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from midflight.domain.decision import Challenge, Decision, Deny, DenyCode, Permit, Reason
from midflight.domain.errors import Conflict, Forbidden, Interrupted, NotFound
from midflight.domain.identity import Author, Caller, Workload
from midflight.domain.labels import BOTTOM, Labels
from midflight.domain.question import RunFacts
from midflight.domain.records import LabelRaised, RunEnded, RunOpened
from midflight.domain.revocation import Revocation, ScopeKind
from midflight.domain.run import Run, RunState
from midflight.domain.value import Discreet, Value
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store, StoredRun
from midflight.services.sealing import Sealer

STEP_BLOCK = 64
"""Steps reserved at a time: one store write for 64 actions; a crash loses at most 63 of them."""


class Bounds(Value):
    """Limits of runs, from the settings. Times in seconds."""

    ttl_s: int = 3600
    idle_timeout_s: int = 900
    max_steps: int = 1000
    implicit: bool = True


class RunStatus(Discreet):
    """A run as shown to people; never its salt."""

    shown = ("id", "workload", "state")

    id: str
    workload: str
    state: RunState
    intent: str | None
    implicit: bool
    opened_by: str
    opened_at: int
    expires_at: int
    labels: Labels
    labels_source: str
    steps: int
    max_steps: int


class LiveRun:
    """A run in this process. Mutable; owned by `Runs`; one event loop."""

    __slots__ = (
        "_granted",
        "_lock",
        "flying",
        "labels",
        "labels_source",
        "last_seen",
        "run",
        "state",
        "steps",
        "stored_labels",
    )

    def __init__(self, stored: StoredRun, *, now: float) -> None:
        """`now` is monotonic seconds. Steps reserved before are taken as used."""
        self.run = stored.run
        self.state = stored.state
        self.labels = stored.labels
        self.stored_labels = stored.labels
        self.labels_source = stored.labels_source
        self.steps = stored.steps_reserved
        self.last_seen = now
        self.flying = 0
        """Actions in flight: while there are any, the run is not idle."""
        self._granted = stored.steps_reserved
        self._lock = asyncio.Lock()

    def look(self) -> None:
        """Raise `Interrupted` if the run has ended: nothing leaves for it or is delivered to it.

        What took its step of a budget that is used up by now may finish.
        """
        if self.state not in (RunState.OPEN, RunState.EXHAUSTED):
            raise over(self.run.id, self.state)

    async def take_step(self, store: Store) -> bool:
        """Take one step of the budget; False when it is used up."""
        while self.steps >= self._granted:
            async with self._lock:
                if self.steps < self._granted:
                    continue
                granted = await store.reserve_steps(self.run.id, STEP_BLOCK)
                if granted == 0:
                    return False
                self._granted += granted
        self.steps += 1
        return True

    def facts(self, *, now: int) -> RunFacts:
        """What policy may know of the run."""
        return RunFacts(
            id=self.run.id,
            has_intent=self.run.intent is not None,
            implicit=self.run.implicit,
            age_s=max(0, now - self.run.opened_at),
            steps=self.steps,
            labels=self.labels,
            labels_source=self.labels_source,
        )


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
        self._revocation = revocation
        self._live: dict[str, LiveRun] = {}
        self._implicit: dict[tuple[str, str], LiveRun] = {}
        self._opening: dict[tuple[str, str], asyncio.Lock] = {}
        self._ended: dict[Callable[[str, RunState], None], None] = {}

    def on_ended(self, listener: Callable[[str, RunState], None]) -> None:
        """Call `listener(run id, state)` when a run has left `open` for a final state."""
        self._ended[listener] = None

    def off_ended(self, listener: Callable[[str, RunState], None]) -> None:
        """Call it no more."""
        self._ended.pop(listener, None)

    async def start(self) -> None:
        """End what a stopped process left open beyond its time."""
        now = self._clock.now()
        for stored in await self._store.list_runs(state=RunState.OPEN, limit=1_000_000):
            if stored.run.expires_at <= now:
                await self._expire(LiveRun(stored, now=self._clock.monotonic()))

    # For the guard

    async def find(self, caller: Caller, workload: Workload) -> LiveRun | Deny:
        """The run that a caller acts in, opened if it is implicit, or why there is none."""
        if caller.run is None:
            return await self._find_implicit(caller, workload)
        live = self._live.get(caller.run) or await self._load(caller.run)
        if live is None or live.run.workload != workload.id:
            return _not_open("The run of this token does not exist for this workload.")
        return await self._usable(live)

    def live(self, run_id: str) -> LiveRun | None:
        """A run of this process by id, if it is open."""
        return self._live.get(run_id)

    async def take_step(self, live: LiveRun) -> Deny | None:
        """Take a step of the run's budget, or say that it is used up."""
        if await live.take_step(self._store):
            return None
        await self._end(live, RunState.EXHAUSTED, author="midflight", proof="budget", reason="")
        return _exhausted(live.run)

    def landed(self, live: LiveRun) -> None:
        """An action of the run is over. The last one of a used-up budget takes the run with it."""
        live.flying -= 1
        live.last_seen = self._clock.monotonic()
        if not live.flying and live.state is RunState.EXHAUSTED:
            self._tell_ended(live)

    async def join_labels(self, live: LiveRun, labels: Labels, *, source: str) -> None:
        """Join labels into the run: in memory at once, and in the store before this returns."""
        # Asked of what the store has: a join that failed there must be tried again.
        if live.stored_labels.covers(labels):
            return
        live.labels = live.labels.join(labels)
        live.labels_source = live.labels_source or source
        joined = await self._store.join_labels(live.run.id, labels, source=source)
        live.labels = live.labels.join(joined)
        live.stored_labels = live.stored_labels.join(joined)
        self._recorder.append(
            LabelRaised(
                at=self._clock.now(), run=live.run.id, label=_describe(live.labels), source=source
            )
        )

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
        decision = self._entitled(workload, author.name, author.proof)
        if not isinstance(decision, Permit):
            reasons = ", ".join(reason.policy for reason in decision.reasons)
            raise Forbidden(
                f"{author.name} may not open runs for {workload.id} ({reasons}).",
                hint="A policy must permit open_run for this workload and opener.",
            )
        ttl = self._bounds.ttl_s if ttl_s is None else ttl_s
        steps = self._bounds.max_steps if max_steps is None else max_steps
        if not (0 < ttl <= self._bounds.ttl_s and 0 < steps <= self._bounds.max_steps):
            raise Conflict(
                f"A run has at most {self._bounds.ttl_s} s and {self._bounds.max_steps} steps.",
                hint="Raise [runs] ttl and max_steps in midflight.toml if that is meant.",
            )
        live = await self._mint(
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

    async def close_run(self, run_id: str, *, author: Author, reason: str = "") -> None:
        """Close an open run. `NotFound` if there is none, `Conflict` if it has ended."""
        live = self._live.get(run_id) or await self._load(run_id)
        if live is None:
            raise NotFound(f"There is no run {run_id}.", hint="midflight run list shows runs.")
        if not await self._end(
            live, RunState.CLOSED, author=author.name, proof=author.proof, reason=reason
        ):
            raise Conflict(f"Run {run_id} has already ended ({live.state.value}).")

    async def list_runs(
        self, *, workload: str | None = None, state: RunState | None = None
    ) -> Sequence[RunStatus]:
        """Runs, newest first."""
        stored = await self._store.list_runs(workload=workload, state=state)
        return [await self._status(entry) for entry in stored]

    async def show(self, run_id: str) -> RunStatus:
        """One run. `NotFound` if there is none."""
        stored = await self._store.get_run(run_id)
        if stored is None:
            raise NotFound(f"There is no run {run_id}.", hint="midflight run list shows runs.")
        return await self._status(stored)

    # Ends that come by themselves

    async def revoked(self, revocation: Revocation) -> None:
        """A revocation of a run ends it for good."""
        if revocation.scope.kind is not ScopeKind.RUN or revocation.lifts is not None:
            return
        live = self._live.get(revocation.scope.id) or await self._load(revocation.scope.id)
        if live is not None:
            await self._end(
                live,
                RunState.REVOKED,
                author=revocation.author,
                proof=revocation.proof,
                reason=revocation.reason,
            )

    async def sweep(self) -> int:
        """End every run of this process whose time is over; how many."""
        ended = 0
        for live in list(self._live.values()):
            if self._over(live):
                ended += await self._expire(live)
        return ended

    # Inside

    async def _find_implicit(  # noqa: PLR0911 -- one return a reason
        self, caller: Caller, workload: Workload
    ) -> LiveRun | Deny:
        if not self._bounds.implicit:
            return _not_open("Implicit runs are switched off, and this token names no run.")
        key = (workload.id, caller.process)
        live = self._implicit.get(key)
        if live is not None and live.state is RunState.OPEN and not self._over(live):
            live.last_seen = self._clock.monotonic()
            return live
        async with self._opening.setdefault(key, asyncio.Lock()):
            live = self._implicit.get(key)
            if live is not None and live.state is RunState.OPEN:
                if not self._over(live):
                    return live
                await self._expire(live)
            decision = self._entitled(workload, "midflight:implicit", caller.proof)
            match decision:
                case Deny():
                    return decision
                case Challenge():
                    return _not_open("Policy lets nobody open an implicit run unasked.")
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
            self._implicit[key] = live
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
            return _exhausted(last.run)
        revocation = self._revocation(last.run.id)
        if revocation is None or any(
            not stored.run.implicit and stored.run.opened_at > revocation.at for stored in before
        ):
            return None
        return _not_open(f"Run {last.run.id} was revoked, and no operator has opened one since.")

    async def _usable(self, live: LiveRun) -> LiveRun | Deny:
        if live.state is RunState.OPEN and self._over(live):
            await self._expire(live)
        if live.state is not RunState.OPEN:
            return _not_open(f"Run {live.run.id} has ended ({live.state.value}).")
        live.last_seen = self._clock.monotonic()
        return live

    async def _mint(
        self,
        *,
        workload: str,
        intent: str | None,
        author: Author,
        ttl_s: int,
        max_steps: int,
        labels: Labels,
        labels_source: str,
        implicit: bool,
    ) -> LiveRun:
        now = self._clock.now()
        run_id = f"run_{self._clock.token()}"
        await self._sealer.key_for(run_id)
        run = Run(
            id=run_id,
            workload=workload,
            intent=None if intent is None else self._sealer.seal_text(run_id, intent),
            opened_by=f"{author.name} ({author.proof})",
            opened_at=int(now),
            expires_at=int(now) + ttl_s,
            idle_timeout=self._bounds.idle_timeout_s,
            max_steps=max_steps,
            salt=self._clock.token(),
            implicit=implicit,
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
        live = LiveRun(stored, now=self._clock.monotonic())
        self._live[run.id] = live
        return live

    async def _load(self, run_id: str) -> LiveRun | None:
        stored = await self._store.get_run(run_id)
        if stored is None:
            return None
        live = LiveRun(stored, now=self._clock.monotonic())
        if stored.state is not RunState.OPEN:
            return live
        # Two loads may race; both must end up with the one object that carries the state.
        return self._live.setdefault(run_id, live)

    def _over(self, live: LiveRun) -> bool:
        if self._clock.now() >= live.run.expires_at:
            return True
        idle = self._clock.monotonic() - live.last_seen
        return not live.flying and idle > live.run.idle_timeout

    async def _expire(self, live: LiveRun) -> bool:
        return await self._end(
            live, RunState.EXPIRED, author="midflight", proof="time", reason="its time was over"
        )

    async def _end(
        self, live: LiveRun, state: RunState, *, author: str, proof: str, reason: str
    ) -> bool:
        if live.state is not RunState.OPEN:
            return False
        live.state = state  # denied here at once, whatever the store says next
        self._live.pop(live.run.id, None)
        done = await self._store.end_run(live.run.id, state)
        if done:
            self._recorder.append(
                RunEnded(
                    at=self._clock.now(),
                    run=live.run.id,
                    state=state.value,
                    author=author,
                    proof=proof,
                    reason=reason,
                )
            )
        if state is not RunState.EXHAUSTED or not live.flying:
            self._tell_ended(live)
        return done

    def _tell_ended(self, live: LiveRun) -> None:
        for listener in list(self._ended):
            listener(live.run.id, live.state)

    async def _status(self, stored: StoredRun) -> RunStatus:
        live = self._live.get(stored.run.id)
        return RunStatus(
            id=stored.run.id,
            workload=stored.run.workload,
            state=stored.state if live is None else live.state,
            intent=await self._sealer.open_text(stored.run.id, stored.run.intent),
            implicit=stored.run.implicit,
            opened_by=stored.run.opened_by,
            opened_at=stored.run.opened_at,
            expires_at=stored.run.expires_at,
            labels=stored.labels if live is None else live.labels,
            labels_source=stored.labels_source if live is None else live.labels_source,
            steps=stored.steps_reserved if live is None else live.steps,
            max_steps=stored.run.max_steps,
        )


def over(run: str, state: RunState) -> Interrupted:
    """What becomes of an action whose run has ended under it."""
    return Interrupted(
        f"Run {run} has ended ({state.value}).",
        revocation="",
        hint="Ask who opened the run for a new one.",
    )


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


def _exhausted(run: Run) -> Deny:
    return _deny(
        DenyCode.RUN_EXHAUSTED,
        "run-budget",
        f"The run has used its {run.max_steps} steps.",
        "Open a new run, or one with a larger --max-steps.",
    )


def _describe(labels: Labels) -> str:
    parts = ["untrusted" if labels.untrusted else "trusted", labels.confidentiality.name.lower()]
    return " ".join([*parts, *sorted(labels.compartments)])


def _deny(code: DenyCode, rule: str, text: str, help_text: str) -> Deny:
    reason = Reason(policy=f"midflight:{rule}", text=text, help=help_text)
    return Deny(version="", code=code, reasons=(reason,), help=help_text)


def _not_open(text: str) -> Deny:
    return _deny(
        DenyCode.RUN_NOT_OPEN, "run-not-open", text, "Ask who opened the run for a new one."
    )


__all__ = ["STEP_BLOCK", "Bounds", "LiveRun", "RunStatus", "Runs", "over"]
