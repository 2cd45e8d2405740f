"""Launches: which process was started for which run, and the end of the run with that process.

The launcher (`apps/launcher`) starts a program stopped, says here which process it is, and lets it
go. From then on that process, and what descends from it while it lives, has the selector
`launcher:run:<id>`, which makes it the run's workload. One process a run. The run ends when that
process ends or its launcher does, in whatever way. A process whose run has ended first may go on
for a while; it is remembered until it is gone, so that it is nobody then: no workload by its user,
and no operator. Below: `ports/processes.py`, `ports/registration_store.py`. Above: `attestation.py`
(as an attestor), the control API.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from typing import Any

from midflight.domain.attestation import Entry, Process, Selector
from midflight.domain.errors import Conflict, Forbidden, MidflightError, NotFound, Unavailable
from midflight.domain.identity import Author
from midflight.domain.joining import Launch
from midflight.domain.revocation import Revocation, scopes_over
from midflight.domain.run import RunState
from midflight.domain.value import Value
from midflight.services.changes import record_change
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.ports.clock import Clock
from midflight.services.ports.processes import Processes
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.registration import LAUNCHER, Registration
from midflight.services.runs import Runs

DETACHED = "detached"
"""What the selector of a process says that was launched and has no run (any more)."""


class LaunchStatus(Value):
    """What the launcher follows.

    Attributes:
        run: its id.
        state: of the run.
        revocation: the one in force that covers the run or its workload, or None.
    """

    run: str
    state: RunState
    revocation: Revocation | None


class Launches:
    """See the module. `start` it before use."""

    type = LAUNCHER

    def __init__(
        self,
        *,
        store: Store,
        recorder: Recorder,
        clock: Clock,
        runs: Runs,
        inventory: Inventory,
        interruption: Interruption,
        registration: Registration,
        processes: Processes,
        aside: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """`aside` does something on the event loop, beside what goes on."""
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._runs = runs
        self._inventory = inventory
        self._interruption = interruption
        self._registration = registration
        self._processes = processes
        self._aside = aside
        self._launches: dict[str, Launch] = {}
        self._run_of: dict[str, str] = {}
        # Those whose run has ended, until the process is gone; and launchers, until they are.
        self._over: dict[str, Launch] = {}
        self._launchers: set[str] = set()
        self._watches: dict[str, list[Callable[[], None]]] = {}

    async def start(self) -> None:
        """Take in what was launched before; what ended meanwhile takes its run with it."""
        for launch in await self._store.list_launches():
            stored = await self._store.get_run(launch.run)
            if stored is None or stored.state is not RunState.OPEN:
                self._over[launch.run] = launch
                self._launchers.add(launch.launcher)
                continue
            self._take(launch, stored.run.expires_at)
            if launch.boot != self._processes.boot or not self._watch(launch):
                await self._ended(launch.run)
        await self._forget_gone()

    async def close(self) -> None:
        """Stop watching. Runs go on: the launcher of each follows whether we come back."""
        for run in list(self._watches):
            self._unwatch(run)

    # For the launcher

    async def launch(self, run: str, *, pid: int, launcher: str, author: Author) -> Launch:
        """Note the process that was started for a run, before it does anything.

        Args:
            run: an open run.
            pid: the process, a child of the launcher.
            launcher: `PID@START` of the caller, as the kernel vouches for it.
            author: the operator who launches.

        Raises:
            Unavailable: the kernel does not vouch for the launcher.
            NotFound: there is no such run or process.
            Forbidden: the process does not descend from the launcher.
            Conflict: the run has ended, or has a process already.
        """
        if not launcher:
            raise Unavailable(
                "The kernel does not say which process launches (Linux 6.5 or later does).",
                hint="Give the agent a user of its own instead: midflight workload add --uid.",
            )
        live = await self._runs.opened(run)
        held = self._processes.hold(pid)
        try:
            chain = self._processes.lineage(pid)
            uid = held.uid()
            if uid is None or chain[0] != held.start:
                raise NotFound(f"Process {pid} has ended.")
            if launcher not in chain[1:]:
                raise Forbidden(
                    f"Process {pid} was not started by whoever names it.",
                    hint="`midflight exec` starts and names it.",
                )
        finally:
            held.close()
        before = self._run_of.get(chain[0]) or next(
            (known.run for known in self._over.values() if known.process == chain[0]), None
        )
        if before is not None:
            raise Conflict(f"Process {pid} was launched for run {before}.")
        launch = Launch(
            run=run,
            workload=live.run.workload,
            process=chain[0],
            launcher=launcher,
            boot=self._processes.boot,
            uid=uid,
            author=author.name,
            proof=author.proof,
            at=int(self._clock.now()),
        )
        await self._store.put_launch(launch)
        await record_change(
            self._recorder,
            at=self._clock.now(),
            what=f"run.launch {run}",
            author=author,
            details={"process": launch.process, "launcher": launcher, "uid": uid},
        )
        self._take(launch, live.run.expires_at)
        try:
            # The run may have ended while this was written; from here on its end takes this along.
            await self._runs.opened(run)
        except MidflightError:
            await self._ended(run)
            raise
        if not self._watch(launch):
            await self._ended(run)
            raise NotFound(f"Process {pid} has ended.")
        return launch

    async def status(self, run: str) -> LaunchStatus:
        """How a launched run is doing. `NotFound` if there is no such run."""
        shown = await self._runs.show(run)
        workload = self._inventory.current(shown.workload)
        revocation = None
        if workload is not None:
            revocation = self._interruption.covering(
                scopes_over(workload.id, owner=workload.owner, runs=(run,))
            )
        return LaunchStatus(run=run, state=shown.state, revocation=revocation)

    # As an attestor

    async def attest(self, process: Process) -> Sequence[Selector]:
        """The run that a process was launched for: itself, or the nearest ancestor that was.

        An ancestor counts while it lives. What was detached from it, or has outlived its run, has
        no run, and the selector says so: it is not anybody else by its user instead.
        """
        if not self._launchers:
            return ()
        chain = self._processes.lineage(process.pid)
        for start in chain:
            run = self._run_of.get(start)
            if run is not None:
                return (Selector(type=LAUNCHER, value=f"run:{run}"),)
        over = {launch.process for launch in self._over.values()}
        if not over.isdisjoint(chain) or not self._launchers.isdisjoint(chain[1:]):
            return (Selector(type=LAUNCHER, value=DETACHED),)
        return ()

    # For the control socket: none of these operates anything

    def pids(self) -> frozenset[int]:
        """The processes that were launched and are not gone, though their run may be over."""
        known = (*self._launches.values(), *self._over.values())
        return frozenset(_pid(launch.process) for launch in known)

    def launchers(self) -> frozenset[int]:
        """The processes that launched them, whose other descendants are what those detached."""
        return frozenset(map(_pid, self._launchers))

    # Ends

    async def run_ended(self, run: str) -> None:
        """Take the run from the process of one that has ended; it is known until it is gone."""
        self._unwatch(run)
        launch = self._launches.pop(run, None)
        if launch is not None:
            # In one turn: at no moment is it neither.
            self._over[run] = launch
            self._run_of.pop(launch.process, None)
        await self._forget_gone()

    async def sweep(self) -> None:
        """End the runs of processes that are gone, should a watch have missed it."""
        for launch in list(self._launches.values()):
            if launch.run not in self._watches:
                await self._ended(launch.run)
        await self._forget_gone()

    async def _ended(self, run: str) -> None:
        author = Author(name="midflight", proof="launcher")
        try:
            await self._runs.close_run(run, author=author, reason="its process has ended")
        except (
            NotFound,
            Conflict,
        ):  # it has ended in another way, before there was an entry to end
            await self._registration.run_ended(run)
            await self.run_ended(run)

    async def _forget_gone(self) -> None:
        """Forget processes that are over and gone, and launchers that are."""
        gone = [launch.run for launch in self._over.values() if not self._lives(launch)]
        for run in gone:
            del self._over[run]
        used = {launch.launcher for launch in (*self._launches.values(), *self._over.values())}
        self._launchers = used | {start for start in self._launchers if self._alive(start)}
        for run in gone:
            await self._store.delete_launch(run)

    def _lives(self, launch: Launch) -> bool:
        return launch.boot == self._processes.boot and self._alive(launch.process)

    def _alive(self, start: str) -> bool:
        try:
            held = self._processes.hold(_pid(start))
        except NotFound:
            return False
        with closing(held):
            return held.start == start and held.alive()

    def _take(self, launch: Launch, expires_at: int) -> None:
        self._launches[launch.run] = launch
        self._launchers.add(launch.launcher)
        self._run_of[launch.process] = launch.run
        self._registration.launched(
            Entry(
                id=f"entry_{launch.run.removeprefix('run_')}",
                spiffe_id=launch.workload,
                selectors=frozenset({Selector(type=LAUNCHER, value=f"run:{launch.run}")}),
                federates_with=self._registration.federates_with,
                hint="run",
                run=launch.run,
                expires_at=expires_at,
                added_by=launch.author,
                proof=launch.proof,
                added_at=launch.at,
            )
        )

    def _watch(self, launch: Launch) -> bool:
        """Watch both processes; False if one of them has ended."""
        run = launch.run
        for start in (launch.process, launch.launcher):
            stop = self._processes.watch(start, lambda: self._aside(self._ended(run)))
            if stop is None:
                self._unwatch(run)
                return False
            self._watches.setdefault(run, []).append(stop)
        return True

    def _unwatch(self, run: str) -> None:
        for stop in self._watches.pop(run, []):
            stop()


def _pid(start: str) -> int:
    return int(start.partition("@")[0])


__all__ = ["DETACHED", "LaunchStatus", "Launches"]
