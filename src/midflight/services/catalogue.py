"""The catalogue: what each upstream serves now, what of it is pinned, and what has drifted.

Every definition an upstream serves is compared with its pin whenever a list is fetched: at start,
at each client's list that finds the catalogue older than `max_age_s`, and at every list-changed
notice, in mid-session too. What is unpinned or drifted is denied until an operator pins it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias, cast

import msgspec

from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import Conflict, MidflightError, NotFound, UpstreamUnavailable
from midflight.domain.identity import Author
from midflight.domain.question import Target
from midflight.domain.records import Observed
from midflight.domain.reviews import told
from midflight.domain.tool import Definition, Pin, PinnedKind, PinState
from midflight.domain.traits import Effect, Reach, Traits
from midflight.domain.value import JSONObject, Value
from midflight.services.changes import record_change
from midflight.services.fetching import CatalogueFlight, fetch_definitions
from midflight.services.ports.clock import Clock
from midflight.services.ports.injection import NOTHING, Attachment
from midflight.services.ports.policy import PolicyEngine
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.ports.upstream import Flight, ServerInfo, Upstream

Key = tuple[str, PinnedKind, str]

# Kinds of action whose target is a definition that can be pinned.
_PINNED = {
    ActionKind.CALL_TOOL: PinnedKind.TOOL,
    ActionKind.GET_PROMPT: PinnedKind.PROMPT,
}


class Listed(Value):
    """A definition as served, with its pin. `definition` is None when it is no longer served."""

    upstream: str
    kind: PinnedKind
    name: str
    definition: Definition | None
    state: PinState
    pin: Pin | None


Lent: TypeAlias = Callable[[str], AbstractAsyncContextManager[tuple[Attachment, Flight]]]
"""(upstream) → what Midflight's own requests to it carry, and what is looked at before each."""


@asynccontextmanager
async def _nothing_lent(_: str) -> AsyncGenerator[tuple[Attachment, Flight]]:
    yield NOTHING, CatalogueFlight()


class Waits(Value):
    """How long an upstream may keep others waiting. Seconds.

    Attributes:
        fetch: for all its lists together; then the fetch has failed.
        first: that a client's list waits for an upstream which has never been listed.
        again: that it waits for one whose last lists can stand in.
        retry: between a fetch that failed and the next.
    """

    fetch: float = 60.0
    first: float = 10.0
    again: float = 2.0
    retry: float = 5.0


class Catalogue:
    """Definitions, pins and targets of all upstreams."""

    def __init__(
        self,
        *,
        upstreams: Mapping[str, Upstream],
        reaches: Mapping[str, Reach],
        store: Store,
        recorder: Recorder,
        clock: Clock,
        engine: PolicyEngine,
        max_age_s: float = 30.0,
        waits: Waits | None = None,
    ) -> None:
        """`reaches` gives each upstream's reach for what is not pinned by itself (resources)."""
        self._waits = waits or Waits()
        self._lent: Lent = _nothing_lent
        self._refreshing: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._failed: dict[str, tuple[float, MidflightError]] = {}
        self._relaying: frozenset[str] = frozenset()
        self._upstreams = upstreams
        self._reaches = reaches
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._engine = engine
        self._max_age_s = max_age_s
        self._info: dict[str, ServerInfo] = {}
        self._served: dict[Key, Definition] = {}
        self._digests: dict[Key, str] = {}
        self._shown: dict[tuple[str, PinnedKind], list[Definition]] = {}
        self._behind: dict[tuple[str, PinnedKind], tuple[Target, ...]] = {}
        self._pins: dict[Key, Pin] = {}
        self._targets: dict[Key, Target] = {}
        self._fetched: dict[str, float] = {}
        self._locks = {name: asyncio.Lock() for name in upstreams}
        self._changed: list[Callable[[str, PinnedKind], None]] = []
        self._reported: set[tuple[Key, str]] = set()
        self.generation = 0

    def lend(self, lent: Lent) -> None:
        """Fetch with what this lends: for upstreams that list nothing without a credential."""
        self._lent = lent

    def on_changed(self, listener: Callable[[str, PinnedKind], None]) -> None:
        """Call `listener(upstream, kind)` when what it serves, or a pin of it, has changed."""
        self._changed.append(listener)

    async def start(self) -> None:
        """Load the pins. Upstreams are fetched when first asked for, or by `refresh`."""
        for pin in await self._store.list_pins():
            self._pins[pin.upstream, pin.kind, pin.name] = pin
        self._rebuild()

    # For the guard

    def target(self, action: Action) -> Target | None:
        """What an action acts on, with its pin; None if the upstream serves no such thing.

        Resources, completions and notifications are data and messages, not definitions: they have
        nothing to pin, and carry the reach that the settings give their upstream.
        """
        kind = _PINNED.get(action.kind)
        if kind is not None:
            return self._targets.get((action.upstream, kind, action.name))
        if action.upstream not in self._upstreams:
            return None
        return self.upstream_target(action.upstream, action.name)

    def upstream_target(self, upstream: str, name: str) -> Target:
        """What stands for the data and messages of an upstream, which have nothing to pin."""
        return Target(
            upstream=upstream,
            name=name,
            pin=None,
            pin_state=PinState.PINNED,
            traits=Traits(
                effect=Effect.READ,
                reach=self._reaches.get(upstream, Reach.OPEN),
                reviewed=True,
            ),
        )

    def notices(self, upstream: str) -> Target:
        """What stands for what an upstream says unasked.

        One with a tool that reaches the open world can put what it found there into any notice,
        however closed its own data are.
        """
        target = self.upstream_target(upstream, "notice")
        if upstream not in self._relaying:
            return target
        return msgspec.structs.replace(
            target, traits=msgspec.structs.replace(target.traits, reach=Reach.OPEN)
        )

    # For the gateway

    def info(self, upstream: str) -> ServerInfo | None:
        """What the upstream said about itself when it was last reached."""
        return self._info.get(upstream)

    def definitions(self, upstream: str, kind: PinnedKind) -> Sequence[Definition]:
        """What is served and pinned, in the upstream's order: what a client may be shown."""
        return self._shown.get((upstream, kind), [])

    def names(self, upstream: str, kind: PinnedKind) -> frozenset[str]:
        """Names that are served or pinned, whether or not the upstream is there now."""
        return frozenset(
            key[2] for key in (*self._served, *self._pins) if key[0] == upstream and key[1] is kind
        )

    def targets(self, upstream: str, kind: PinnedKind) -> Sequence[Target]:
        """The targets behind `definitions`, in the same order: one tuple until they change."""
        return self._behind.get((upstream, kind), ())

    def definition(self, upstream: str, kind: PinnedKind, name: str) -> Definition | None:
        """One definition as served."""
        return self._served.get((upstream, kind, name))

    def tool(self, upstream: str, name: str) -> Definition | None:
        """The definition of a tool as served."""
        return self._served.get((upstream, PinnedKind.TOOL, name))

    def pinned(self, upstream: str, kind: PinnedKind, name: str) -> Pin | None:
        """The pin of a definition, whether or not it is served."""
        return self._pins.get((upstream, kind, name))

    def drifted(self, upstream: str, kind: PinnedKind) -> Mapping[str, str]:
        """What is served otherwise than it is pinned: the digest that is served, by name."""
        return {
            key[2]: self._digests[key]
            for key in self._pins
            if key[:2] == (upstream, kind) and self._state(key) is PinState.DRIFTED
        }

    async def ensure(self, upstream: str) -> None:
        """Have the catalogue of an upstream younger than `max_age_s`, if the upstream lets us.

        One fetch serves all who wait, and goes on when they do not: an upstream that never answers
        costs each list a bounded time, and not again until the fetch has failed.

        Raises:
            UpstreamUnavailable, UpstreamBroken: it cannot be fetched, or not soon enough and it
                has never been.
        """
        if self._is_fresh(upstream):
            return
        fetched, failed = self._fetched.get(upstream), self._failed.get(upstream)
        if failed is not None and self._clock.monotonic() - failed[0] <= self._waits.retry:
            raise UpstreamUnavailable(failed[1].message, hint=failed[1].hint)
        loop = asyncio.get_running_loop()
        if upstream not in self._refreshing:
            task = loop.create_task(self.refresh(upstream, unless_younger_than=fetched))
            self._refreshing[upstream] = (loop.time(), task)
            task.add_done_callback(lambda done: self._refreshed(upstream, done))
        began, task = self._refreshing[upstream]
        patience = self._waits.first if fetched is None else self._waits.again
        await asyncio.wait({task}, timeout=max(0.0, began + patience - loop.time()))
        if task.done():
            task.result()
        elif fetched is None:
            raise UpstreamUnavailable(
                f"{upstream} has not listed what it serves yet.", hint="List again in a moment."
            )

    async def ready(self, upstreams: Sequence[str]) -> Sequence[str]:
        """`ensure` of several side by side: those that are there, in order.

        Raises:
            UpstreamUnavailable, UpstreamBroken: the only one is not there.
        """
        stale = [upstream for upstream in upstreams if not self._is_fresh(upstream)]
        if not stale:
            return upstreams
        if len(upstreams) == 1:
            await self.ensure(upstreams[0])
            return upstreams
        outcomes = await asyncio.gather(*map(self.ensure, stale), return_exceptions=True)
        away: set[str] = set()
        for upstream, outcome in zip(stale, outcomes, strict=True):
            if isinstance(outcome, MidflightError):
                away.add(upstream)
            elif outcome is not None:
                raise outcome
        return [upstream for upstream in upstreams if upstream not in away]

    async def refresh(self, upstream: str, *, unless_younger_than: float | None = None) -> None:
        """Fetch all lists of an upstream and compare them with the pins.

        Raises:
            NotFound: no such upstream.
            UpstreamUnavailable, UpstreamBroken: the catalogue stays as it was.
        """
        try:
            async with asyncio.timeout(self._waits.fetch):
                await self._refresh(upstream, unless_younger_than)
        except TimeoutError:
            raise UpstreamUnavailable(
                f"{upstream} did not list what it serves within {self._waits.fetch:g} s."
            ) from None

    async def _refresh(self, upstream: str, unless_younger_than: float | None) -> None:
        adapter = self._upstreams.get(upstream)
        if adapter is None:
            raise NotFound(
                f"There is no upstream {upstream!r}.",
                hint=f"midflight.toml configures: {', '.join(sorted(self._upstreams))}.",
            )
        async with self._locks[upstream]:
            fetched = self._fetched.get(upstream)
            if unless_younger_than is not None and fetched != unless_younger_than:
                return  # somebody else has just fetched it
            async with self._lent(upstream) as (attachment, flight):
                info = await adapter.describe(attachment=attachment)
                served = await fetch_definitions(
                    adapter, info, attachment=attachment, flight=flight
                )
            self._fetched[upstream] = self._clock.monotonic()
            self._failed.pop(upstream, None)
            self._info[upstream] = info
            before = {key: self._served[key] for key in self._served if key[0] == upstream}
            after = {(upstream, d.kind, d.name): d for d in served}
            if before == after:
                return
            for key in before:
                del self._served[key], self._digests[key]
            self._served.update(after)
            self._digests.update({key: found.digest() for key, found in after.items()})
            self._rebuild()
            self._report_drift(upstream)
        changed = {
            kind
            for _, kind, name in before.keys() | after.keys()
            if before.get((upstream, kind, name)) != after.get((upstream, kind, name))
        }
        self._tell(upstream, changed)

    # Verbs of operators

    def listing(self, upstream: str | None = None) -> Sequence[Listed]:
        """Everything that is served or pinned, by upstream, kind and name."""
        keys = sorted(set(self._served) | set(self._pins))
        return [
            Listed(
                upstream=key[0],
                kind=key[1],
                name=key[2],
                definition=self._served.get(key),
                state=self._state(key),
                pin=self._pins.get(key),
            )
            for key in keys
            if upstream is None or key[0] == upstream
        ]

    def diff(
        self, upstream: str, name: str, kind: PinnedKind = PinnedKind.TOOL
    ) -> tuple[JSONObject | None, JSONObject | None]:
        """(pinned body, served body). `NotFound` if it is neither."""
        key = (upstream, kind, name)
        pin, served = self._pins.get(key), self._served.get(key)
        if pin is None and served is None:
            raise NotFound(
                f"{upstream} neither serves nor has pinned a {kind.value} {name!r}.",
                hint=f"midflight tool list {upstream} shows what it serves.",
            )
        return (pin.body if pin else None, served.body if served else None)

    async def pin(
        self,
        upstream: str,
        name: str,
        *,
        author: Author,
        kind: PinnedKind = PinnedKind.TOOL,
        traits: Traits | None = None,
        digest: str | None = None,
    ) -> Pin:
        """Pin a definition as it is served now.

        Args:
            upstream: whose.
            name: which definition.
            kind: of which kind.
            author: who says so.
            traits: what it can do; None keeps those of the old pin if it is of the same
                definition. A review does not carry over to a definition that nobody looked at.
            digest: the digest that the author looked at. If it is served differently by now,
                nothing is pinned.

        Raises:
            NotFound: it is not served.
            Conflict: `digest` is not what is served.
        """
        key = (upstream, kind, name)
        served = self._served.get(key)
        if served is None:
            raise NotFound(
                f"{upstream} serves no {kind.value} {name!r}.",
                hint=f"midflight tool list {upstream} shows what it serves.",
            )
        now = self._digests[key]
        if digest is not None and digest != now:
            raise Conflict(
                f"{upstream}/{name} has changed since it was looked at.",
                hint=f"midflight tool diff {upstream} {name}",
            )
        old = self._pins.get(key)
        pin = Pin(
            upstream=upstream,
            kind=kind,
            name=name,
            digest=now,
            body=served.body,
            traits=traits or (old.traits if old and old.digest == now else Traits()),
            by=author.name,
            at=int(self._clock.now()),
        )
        await self._store.put_pin(pin)
        await self._note(
            f"tool.pin {upstream}/{name}", author, digest=now, kind=kind.value, **told(pin.traits)
        )
        self._pins[key] = pin
        self._rebuild()
        self._tell(upstream, {kind})
        return pin

    async def unpin(
        self, upstream: str, name: str, *, author: Author, kind: PinnedKind = PinnedKind.TOOL
    ) -> None:
        """Take a pin back: denied from now on. `NotFound` if there is none."""
        pin = self._pins.pop((upstream, kind, name), None)
        self._rebuild()
        if pin is None or not await self._store.delete_pin(upstream, kind, name):
            raise NotFound(f"{upstream}/{name} is not pinned.")
        await self._note(f"tool.unpin {upstream}/{name}", author, kind=kind.value)
        self._tell(upstream, {kind})

    async def close(self) -> None:
        """Give up what is being fetched."""
        tasks = [task for _, task in self._refreshing.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Inside

    def _is_fresh(self, upstream: str) -> bool:
        fetched = self._fetched.get(upstream)
        return fetched is not None and self._clock.monotonic() - fetched <= self._max_age_s

    def _refreshed(self, upstream: str, task: asyncio.Task[None]) -> None:
        del self._refreshing[upstream]
        error = None if task.cancelled() else task.exception()
        if isinstance(error, MidflightError):
            self._failed[upstream] = (self._clock.monotonic(), error)

    def _state(self, key: Key) -> PinState:
        served, pin = self._digests.get(key), self._pins.get(key)
        if served is None:
            return PinState.GONE
        if pin is None:
            return PinState.UNPINNED
        return PinState.PINNED if pin.digest == served else PinState.DRIFTED

    def _rebuild(self) -> None:
        """Targets change as a whole, so that a decision never sees half of a change."""
        self._targets = {key: self._make_target(key) for key in self._served}
        shown: dict[tuple[str, PinnedKind], list[Definition]] = {}
        for key, target in self._targets.items():
            if target.pin_state is PinState.PINNED:
                shown.setdefault(key[:2], []).append(self._served[key])
        self._shown = shown
        self._behind = {
            place: tuple(self._targets[*place, definition.name] for definition in definitions)
            for place, definitions in shown.items()
        }
        self._relaying = frozenset(
            upstream
            for (upstream, kind, _), target in self._targets.items()
            if kind is PinnedKind.TOOL
            and target.pin_state is PinState.PINNED
            and target.traits.reach is Reach.OPEN
        )
        self.generation += 1
        self._engine.register(
            [
                target
                for (_, kind, _), target in self._targets.items()
                if kind is PinnedKind.TOOL and target.pin_state is PinState.PINNED
            ]
        )

    def _make_target(self, key: Key) -> Target:
        upstream, kind, name = key
        pin = self._pins.get(key)
        schema = self._served[key].body.get("inputSchema") if kind is PinnedKind.TOOL else None
        return Target(
            upstream=upstream,
            name=name,
            pin=pin.digest if pin else None,
            pin_state=self._state(key),
            traits=pin.traits if pin else Traits(),
            schema=cast("JSONObject", schema) if type(schema) is dict else None,
        )

    def _report_drift(self, upstream: str) -> None:
        for key in self._pins:
            if key[0] != upstream:
                continue
            state = self._state(key)
            mark = (key, self._digests.get(key, ""))
            if state in (PinState.DRIFTED, PinState.GONE) and mark not in self._reported:
                self._reported.add(mark)
                self._recorder.append(
                    Observed(
                        at=self._clock.now(),
                        what=f"definition.{state.value}",
                        subject=f"{upstream}/{key[2]}",
                        details={"kind": key[1].value, "served": mark[1]},
                    )
                )

    def _tell(self, upstream: str, kinds: set[PinnedKind]) -> None:
        for listener in self._changed:
            for kind in sorted(kinds):
                listener(upstream, kind)

    async def _note(self, what: str, author: Author, **details: str) -> None:
        await record_change(
            self._recorder, at=self._clock.now(), what=what, author=author, details=dict(details)
        )


def why_unpinned(state: PinState, upstream: str, name: str) -> str:
    """What would help a caller whose target is not pinned."""
    if state is PinState.DRIFTED:
        return f"An operator reviews it with `midflight tool diff {upstream} {name}` and pins it."
    return f"An operator reviews and pins it with `midflight tool pin {upstream} {name}`."


__all__ = ["Catalogue", "Listed", "Waits", "why_unpinned"]
