"""Canaries as operators handle them, and as the guard meets them.

A canary that leaves is refused by Midflight's own rule, whatever policy says, and the run that
sent it is marked; one that comes in marks the run that read it. Both are recorded by the canary's
name, and told as a strong finding in the same turn, so that what follows (`services/responses.py`)
is in force before anything else of the run leaves. Its value is handed out once and kept nowhere.
Below: `domain/canary.py`, `ports/canary_store.py`. Above: `guard.py`, the control API.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Sequence

from midflight.domain.action import Action, ActionKind
from midflight.domain.canary import (
    ALPHABET,
    COMPARTMENT,
    CORE,
    Canary,
    CanaryShape,
    Watch,
    is_core,
    planted,
)
from midflight.domain.decision import Deny, DenyCode
from midflight.domain.errors import Malformed, NotFound
from midflight.domain.finding import Sighting, Strength
from midflight.domain.identity import Author
from midflight.domain.labels import Labels
from midflight.domain.question import Target
from midflight.domain.records import Observed
from midflight.domain.traits import Reach
from midflight.domain.value import JSON, Discreet, JSONObject
from midflight.services.changes import record_change
from midflight.services.guard_case import Case, is_closed_read
from midflight.services.live_run import LiveRun
from midflight.services.ports.canary_store import CanaryStore
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.refusing import deny
from midflight.services.runs import Runs
from midflight.services.sealing import Sealer
from midflight.services.telling import Tell

MAX_HERE = 2_048
"""Characters that are looked through on the event loop; more goes to a thread."""

DETECTOR = "canary"
"""What findings and responses call it."""
_HOW = {"canary.leaving": "was about to leave", "canary.read": "was read"}
_SECRET = "midflight:canaries"  # noqa: S105 -- the name of a secret
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}\Z")
_MET = Labels(compartments=frozenset({COMPARTMENT}))


class Planted(Discreet):
    """A new canary, with the only copy of its value."""

    shown = ("canary",)

    canary: Canary
    value: str


class Canaries:
    """See the module. `start` it before use."""

    def __init__(
        self, *, store: CanaryStore, sealer: Sealer, runs: Runs, recorder: Recorder, clock: Clock
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._runs = runs
        self._recorder = recorder
        self._clock = clock
        self._watch = Watch(bytes(32))
        self._key = b""
        self._changing = asyncio.Lock()
        self._tell: Tell | None = None

    def tell(self, tell: Tell) -> None:
        """Say through this that one was touched."""
        self._tell = tell

    async def start(self) -> None:
        """Read which there are.

        Raises:
            StoreUnavailable: without them nobody would see one leave.
        """
        self._key = await self._sealer.derive(_SECRET, purpose="canaries")
        await self._look()

    # For operators

    async def add(
        self,
        name: str,
        author: Author,
        *,
        shape: CanaryShape = CanaryShape.CREDENTIAL,
        upstream: str = "",
        domain: str = "example.com",
    ) -> Planted:
        """Mint a canary. It is watched for before its value is handed out.

        Raises:
            Malformed: no such name or domain.
            Conflict: there is one of that name.
        """
        if _NAME.match(name) is None:
            raise Malformed(
                "A canary's name is 1 to 64 letters, digits, dots, dashes and underscores.",
                hint="It stands in records: name the place, not the value.",
            )
        if _DOMAIN.match(domain) is None:
            raise Malformed("The domain is none.", hint="Name one of yours, like example.org.")
        core = ""
        while not is_core(core):
            core = "".join(secrets.choice(ALPHABET) for _ in range(CORE))
        canary = Canary(
            name=name,
            shape=shape,
            upstream=upstream,
            windows=Watch(self._key).windows(core),
            by=author.name,
            at=int(self._clock.now()),
        )
        async with self._changing:
            await self._store.put_canary(canary)
            await self._look()
        details: JSONObject = {"shape": shape.value, "upstream": upstream}
        await self._changed(f"canary.add {name}", author, details)
        return Planted(canary=canary, value=planted(core, shape, domain=domain))

    async def remove(self, name: str, author: Author) -> None:
        """Watch for it no longer. `NotFound` if there is none."""
        async with self._changing:
            if not await self._store.delete_canary(name):
                raise NotFound(
                    f"There is no canary {name}.", hint="midflight canary list shows them."
                )
            await self._look()
        await self._changed(f"canary.remove {name}", author, {})

    async def list(self) -> Sequence[Canary]:
        """All canaries, by name."""
        return await self._store.list_canaries()

    # For the guard

    async def leaving(self, case: Case, target: Target) -> Deny | None:
        """A refusal if the action would carry a canary out; the run is marked first.

        Raises:
            StoreUnavailable: the run cannot be marked; nothing leaves then, either.
        """
        action = case.action
        if not self._watch or (
            is_closed_read(action, target) and target.traits.reach is Reach.CLOSED
        ):
            return None
        found = await self._within(_sent(case))
        if not found:
            return None
        # An address or an id of a task is the caller's, and may be the canary itself.
        case.unnamed = not _is_named(action)
        await self._met(_live(case), "canary.leaving", found, action.upstream, _name(action))
        names = ", ".join(sorted(found))
        return deny(
            DenyCode.CANARY,
            "canary",
            f"It would carry out what was planted to be found ({names}).",
            "Nothing lets it pass. Whoever planted it wants to know how the run came by it.",
        )

    async def arriving(self, case: Case, said: JSON) -> None:
        """Mark the run if what it is about to read holds a canary.

        Raises:
            StoreUnavailable: it cannot be marked, so it must not be delivered.
        """
        if self._watch:
            await self._read(_live(case), said, case.action.upstream, _name(case.action))

    async def told(self, live: LiveRun, upstream: str, method: str, said: JSON) -> None:
        """The same for what an upstream says to a run beside its actions. Raises as `arriving`."""
        if self._watch:
            await self._read(live, said, upstream, method)

    # Inside

    async def _within(self, value: JSON) -> frozenset[str]:
        watch = self._watch
        if _size(value, MAX_HERE) > MAX_HERE:
            return await asyncio.to_thread(watch.within, value)
        return watch.within(value)

    async def _read(self, live: LiveRun, said: JSON, upstream: str, name: str) -> None:
        found = await self._within(said)
        if found:
            await self._met(live, "canary.read", found, upstream, name)

    async def _met(
        self, live: LiveRun, what: str, found: frozenset[str], upstream: str, name: str
    ) -> None:
        run = live.run.id
        ticket = self._recorder.append(
            Observed(
                at=self._clock.now(),
                what=what,
                subject=run,
                details={
                    "canaries": sorted(found),
                    "run": run,
                    "workload": live.run.workload,
                    "upstream": upstream,
                    "name": name,
                },
            )
        )
        try:
            if self._tell is not None:
                self._tell(
                    DETECTOR,
                    Sighting(
                        strength=Strength.STRONG,
                        usual="nobody has a reason to touch it",
                        seen=f"{', '.join(sorted(found))} {_HOW[what]}",
                        after=1,
                        records=(ticket.id,),
                    ),
                    workload=live.run.workload,
                    run=run,
                    upstream=upstream,
                    name=name,
                )
        finally:
            await self._runs.join_labels(live, _MET, source=ticket.id)

    async def _look(self) -> None:
        self._watch = Watch(self._key, await self._store.list_canaries())

    async def _changed(self, what: str, author: Author, details: JSONObject) -> None:
        await record_change(
            self._recorder, at=self._clock.now(), what=what, author=author, details=details
        )


def _sent(case: Case) -> JSON:
    """Everything of an action that an upstream gets to see."""
    action = case.action
    # With an answer comes the question, which the upstream has itself.
    params = {} if action.kind is ActionKind.ANSWER else action.params
    return [action.name, action.arguments, params, action.meta, case.beside]


def _is_named(action: Action) -> bool:
    return action.kind in (ActionKind.CALL_TOOL, ActionKind.GET_PROMPT)


def _live(case: Case) -> LiveRun:
    assert case.live is not None
    return case.live


def _name(action: Action) -> str:
    return action.name if _is_named(action) else action.method


def _size(value: JSON, enough: int) -> int:
    """How many characters its strings have, counted until there are enough."""
    total, waiting = 0, [value]
    while waiting and total <= enough:
        each = waiting.pop()
        if isinstance(each, str):
            total += len(each)
        elif isinstance(each, dict):
            waiting.extend(each)
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
    return total


__all__ = ["DETECTOR", "Canaries", "Planted"]
