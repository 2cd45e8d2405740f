"""Flow: what each run has seen and where its values come from, kept while it lives.

The guard asks it before a decision (`judge`: no I/O, microseconds) and tells it what came back
(`observe`: before the result is delivered). The labels of a run are the store's (`runs.py`); the
index here is only an aid to trust: without it a value came from nowhere, which asks. So it is
written beside the path, and a run that is read back knows less and asks more. What a run has done
of its intent is the opposite, so it is on disk before an effect leaves; it is counted for the
whole family that shares the intent, in its first run.
Below: `domain/flow/`, `flow_marks.py`. Above: `guard.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import tee
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec

from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import StoreUnavailable
from midflight.domain.flow import fields
from midflight.domain.flow.atoms import same, shape
from midflight.domain.flow.fields import Leaf
from midflight.domain.flow.index import RunIndex
from midflight.domain.flow.intent import NOTHING, Reading, joined, read
from midflight.domain.flow.judge import is_plain_read, judge
from midflight.domain.flow.selecting import about_records, linked_records, looked_up, selected
from midflight.domain.flow.subject import Circumstances, Subject, parts, subject, values
from midflight.domain.flow.yields import Reviewed
from midflight.domain.labels import BOTTOM, UNTRUSTED, Labels
from midflight.domain.obligation import REDACTED
from midflight.domain.provenance import NO_FLOW, FlowFacts
from midflight.domain.question import Target
from midflight.domain.run import RunState
from midflight.domain.tool import Definition
from midflight.domain.traits import Effect, FieldKind, Reach, Role, Traits
from midflight.domain.value import JSONObject
from midflight.services.flow_marks import Marks
from midflight.services.flow_results import answered, names_id, result_values, tainted, unechoed
from midflight.services.live_run import LiveRun
from midflight.services.ports.flow_store import MAX_INDEX, FlowStore, StoredFlow
from midflight.services.sealing import Sealer

MAX_SUBJECTS = 10_000
MAX_ENDS = 16
MAX_FAILED = 3
"""Effects of one tool that may fail in a family of runs without counting as done: an upstream that
calls each of them a failure has done them all the same."""
MAX_MADE = 64
"""Ids of one result that are marked."""

# See `domain/flow/atoms.py`: members of an enum by name are slow.
_CALL_TOOL, _READ = ActionKind.CALL_TOOL, Effect.READ


class Known(Protocol):
    """The counterparties that an owner has vouched for."""

    def is_known(self, owner: str, value: str) -> bool:
        """Whether this value (in strict form) is one. No I/O."""
        ...


class Nobody:
    """No counterparties are known."""

    def is_known(self, owner: str, value: str) -> bool:
        """Never."""
        del owner, value
        return False


class RunFlow:
    """The flow state of one open run. Mutable; owned by `Flow`; one event loop."""

    __slots__ = (
        "done",
        "endorsed",
        "failed",
        "first",
        "index",
        "pending",
        "reading",
        "run",
        "unsaved",
    )

    def __init__(
        self, run: str, index: RunIndex, reading: Reading, first: RunFlow | None = None
    ) -> None:
        self.run = run
        self.index = index
        self.reading = reading
        self.first = first or self
        """Of the run that all of its family descends from."""
        self.done: dict[tuple[str, str], int] = {}
        """Effects of each tool in the family that were permitted and have not failed, those in
        flight too. Kept by the first run alone."""
        self.failed: dict[tuple[str, str], int] = {}
        """Of those, how many have failed and do not count."""
        self.endorsed: set[str] = set()
        self.pending = b""
        """Chunks of the index that the store has not taken yet."""
        self.unsaved = False


class _Tool:
    """A pinned tool as flow sees it."""

    __slots__ = ("reviewed", "subject")

    def __init__(self, target: Target, description: str) -> None:
        self.subject: Subject = subject(target.name, description, target.traits)
        self.reviewed = Reviewed(target.traits)


class Flow:
    """See the module."""

    def __init__(
        self,
        *,
        store: FlowStore,
        sealer: Sealer,
        marks: Marks,
        definition: Callable[[str, str], Definition | None],
        known: Known | None = None,
        endorsed: Callable[[str], Awaitable[Sequence[str]]] | None = None,
        own_domains: frozenset[str] = frozenset(),
    ) -> None:
        """What it needs besides.

        `definition(upstream, tool)` is what is served; `own_domains` are those of the owner, whose
        addresses are no strangers'; `endorsed(run)` is what people have endorsed in a run before
        this process knew it.
        """
        self._endorsed_before = endorsed
        self._store = store
        self._sealer = sealer
        self._marks = marks
        self._definition = definition
        self._known = known or Nobody()
        self._own = own_domains
        self._runs: dict[str, RunFlow] = {}
        self._over: list[str] = []
        self._tools: dict[tuple[str, str, str | None, Traits], _Tool] = {}

    # For the guard

    async def ready(self, live: LiveRun) -> RunFlow:
        """The state of a run, read back if this process does not have it.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        found = self._runs.get(live.run.id)
        if found is not None:
            return found
        root = live.first()
        first = None if root is live else await self.ready(root)
        index = RunIndex(_key(live.run.salt))
        stored = await self._store.get_flow(live.run.id)
        if stored is not None:
            index.restore(stored.index)
            index.phrase_seen = stored.phrase_seen
        elif not live.fresh or live.labels.untrusted:
            # It has done something that this process did not see.
            index.restored = True
            index.phrase_seen = True
        # A crash takes what was not written yet, and of a long run not all is kept.
        index.lost = index.forgot = index.restored
        intent = await self._sealer.open_text(live.run.id, live.run.intent)
        state = RunFlow(
            live.run.id, index, NOTHING if intent is None else read(intent), first=first
        )
        if live.run.parent is not None:
            # What its parent has seen is not in here, and may be behind what it was told.
            index.phrase_seen = True
            if live.labels.untrusted:
                text = await self._sealer.open_text(live.run.id, live.run.delegated)
                index.restored = True
                index.add_words(text or "", record=f"delegated by {live.run.parent}", field="text")
        if first is None and not live.fresh:
            done = await self._store.effects(live.run.id)
            state.done = {(upstream, tool): count for upstream, tool, count in done}
        if self._endorsed_before is not None and (stored is not None or not live.fresh):
            before = await self._endorsed_before(live.run.id)
            state.endorsed.update(same(text, shape(text)) for text in before)
        # Two may have waited; both must end up with the one that carries the state.
        return self._runs.setdefault(live.run.id, state)

    def judge(
        self, live: LiveRun, state: RunFlow, target: Target, action: Action, *, owner: str
    ) -> FlowFacts:
        """What flow says about an action. No I/O; tens of microseconds."""
        # Labels come by ways that bring no values too: inherited, notices, children.
        if live.labels.untrusted:
            state.index.text_seen = True
        found = self._subject(target, action)
        if found is None:
            return NO_FLOW
        tool, arguments = found
        if is_plain_read(tool.subject, arguments):
            return NO_FLOW

        def endorsed(value: str) -> bool:
            return value in state.endorsed or self._known.is_known(owner, value)

        return judge(
            tool.subject,
            arguments,
            index=state.index,
            reading=state.reading,
            about=Circumstances(
                done=state.first.done.get((action.upstream, action.name), 0),
                endorsed=endorsed,
                own=self._own,
                gated=action.kind is ActionKind.CALL_TOOL,
            ),
        )

    def depart(self, state: RunFlow, target: Target, action: Action) -> None:
        """A permitted effect is about to leave: it counts from now on, also for parallel calls."""
        if _is_effect(target, action):
            key, done = (action.upstream, action.name), state.first.done
            done[key] = done.get(key, 0) + 1

    async def keep(self, state: RunFlow, target: Target, action: Action) -> None:
        """That an effect of an intent was done outlives a crash: to be awaited before it leaves.

        Without an intent there is nothing that it could have been asked for, once or twice.

        Raises:
            StoreUnavailable: it cannot be remembered, so it must not be done.
        """
        if _is_effect(target, action) and state.reading is not NOTHING:
            await self._count(state.first, (action.upstream, action.name))

    async def undone(self, state: RunFlow, target: Target, action: Action) -> None:
        """An effect that departed has failed, as the upstream says: it does not count."""
        if _is_effect(target, action):
            key, first = (action.upstream, action.name), state.first
            failed = first.failed.get(key, 0)
            if failed >= MAX_FAILED:
                return
            first.failed[key] = failed + 1
            first.done[key] = max(0, first.done.get(key, 0) - 1)
            if state.reading is not NOTHING:
                # If this is not kept, the run asks once more than it would have to.
                with contextlib.suppress(StoreUnavailable):
                    await self._count(first, key)

    async def mark(self, live: LiveRun, target: Target, action: Action) -> None:
        """An untrusted run is about to write: who reads it later must know.

        Raises:
            StoreUnavailable: it cannot be remembered, so it must not be written.
        """
        if not _persists(live, target, action):
            return
        await self._marks.add(action.upstream, self._keys(target, action), run=live.run.id)

    async def mark_made(
        self, live: LiveRun, target: Target, action: Action, result: JSONObject
    ) -> None:
        """An untrusted run has written: what the upstream calls the new thing is marked, too.

        Raises:
            StoreUnavailable: it cannot be remembered.
        """
        if not _persists(live, target, action):
            return
        made = [
            leaf.exact
            for leaf in fields.leaves(*result_values(result), effect=True)
            if leaf.kind is FieldKind.SYSTEM and names_id(leaf.name)
        ]
        if made:
            await self._marks.add(action.upstream, made[:MAX_MADE], run=live.run.id)

    def observe(
        self,
        state: RunFlow,
        target: Target,
        action: Action,
        result: JSONObject,
        *,
        record: str,
        failed: bool = False,
    ) -> Labels:
        """Take in a result, and say which labels it brings. Before it is delivered.

        `failed`: the upstream says that it did nothing; what it says then is an error's text.
        """
        tool = self._tool(target)
        said = result_values(result)
        effect = failed or _is_effect(target, action)
        documents = [{"error": each} for each in said] if failed else said
        # What a policy has hidden the run never sees, so it does not carry its labels either.
        found = [leaf for leaf in fields.leaves(*documents, effect=effect) if leaf.text != REDACTED]
        if effect:
            found = list(unechoed(found, [t for _, t in values(tool.subject, action.arguments)]))
        labels = tool.reviewed.floor
        kept: list[Leaf] = []
        for leaf, brings in tool.reviewed.apply(found):
            kept.append(leaf)
            if brings is not BOTTOM and brings is not labels:
                labels = labels.join(brings)
        marked = self._marked(target, action, kept, effect=effect)
        if marked:
            kept = [tainted(leaf, marked) for leaf in kept]
            labels = labels.join(UNTRUSTED)
        # Walked once, and no further than one of the two looks.
        given, again = tee(parts(tool.subject, action.arguments))
        asked_for = effect or selected(
            tool.subject, given, index=state.index, reading=state.reading
        )
        state.index.add(
            kept,
            record=record,
            selected=asked_for,
            linked=linked_records(kept, state.reading),
            looked_up=looked_up(
                tool.subject, again, kept, index=state.index, reading=state.reading
            ),
            about=about_records(kept, state.reading),
            made=effect and not failed,
        )
        if labels.untrusted:
            state.index.text_seen = True
        state.unsaved = True
        return labels

    def told(self, upstream: str) -> Labels:
        """What a message that belongs to no action brings: it may repeat all that was written."""
        return UNTRUSTED if self._marks.any(upstream) else BOTTOM

    # For operators and other services

    async def endorse(self, run_id: str, endorsed: Sequence[str]) -> None:
        """Values that a person has approved count as the principal's own in this run."""
        state = self._runs.get(run_id)
        if state is None:
            return
        for text in endorsed:
            state.endorsed.add(same(text, shape(text)))
        state.unsaved = True

    def add_intent(self, run_id: str, text: str) -> None:
        """The opener has said something more; `Runs` has made it durable."""
        state = self._runs.get(run_id)
        if state is not None:
            state.reading = joined(state.reading, read(text))

    def returned(self, child: str, parent: str) -> None:
        """A child run is over. What it brings back, its parent has not seen field by field."""
        del child
        state = self._runs.get(parent)
        if state is not None:
            state.index.phrase_seen = True
            state.index.restored = True
            state.unsaved = True

    async def save(self) -> None:
        """Write what has changed: called now and then, and at the end.

        Raises:
            StoreUnavailable: what was not written is still to be written.
        """
        while self._over:
            await self._store.delete_flow(self._over[-1])
            self._over.pop()
        for run_id, state in list(self._runs.items()):
            if state.unsaved:
                await self._write(run_id, state)

    async def save_run(self, run_id: str) -> None:
        """Write what is known of one run, though nothing has changed.

        For what is to go on after a crash: a run of which nothing is written is taken for one that
        may have read anything. Raises as `save`.
        """
        state = self._runs.get(run_id)
        if state is not None:
            await self._write(run_id, state)

    def ended(self, run_id: str, state: RunState) -> None:
        """A run is over; nothing asks about it any more."""
        del state
        self._runs.pop(run_id, None)
        self._over.append(run_id)

    # Inside

    async def _write(self, run_id: str, state: RunFlow) -> None:
        chunk = state.pending = (state.pending + state.index.unsaved())[-MAX_INDEX:]
        state.unsaved = False
        try:
            await self._store.add_flow(
                run_id, StoredFlow(index=chunk, phrase_seen=state.index.phrase_seen)
            )
        except BaseException:
            state.unsaved = True
            raise
        state.pending = state.pending.removeprefix(chunk)

    async def _count(self, first: RunFlow, tool: tuple[str, str]) -> None:
        # The store takes writes in the order in which they are given.
        await self._store.count_effects(first.run, *tool, first.done[tool])

    def _subject(self, target: Target, action: Action) -> tuple[_Tool, JSONObject] | None:
        match action.kind:
            case ActionKind.CALL_TOOL:
                return self._tool(target), action.arguments
            case ActionKind.ANSWER:
                # What a client answers to an upstream's question is sent to it.
                sent = msgspec.structs.replace(target.traits, effect=Effect.SEND)
                return self._tool(msgspec.structs.replace(target, traits=sent)), answered(action)
            case ActionKind.READ_RESOURCE if target.traits.reach is Reach.OPEN:
                return self._tool(target), {"uri": action.name}
            case ActionKind.GET_PROMPT | ActionKind.COMPLETE if target.traits.reach is Reach.OPEN:
                return self._tool(target), {"text": action.arguments}
            case _:
                return None

    def _marked(
        self, target: Target, action: Action, found: Sequence[Leaf], *, effect: bool
    ) -> frozenset[int]:
        """Which records of a result an untrusted run has written, as far as marks tell."""
        if not self._marks.any(action.upstream):
            return frozenset()  # before its keys are looked for
        marked = self._marks.within(action.upstream, found)
        if not effect:
            marked |= self._marks.asked(action.upstream, self._keys(target, action))
        return marked

    def _keys(self, target: Target, action: Action) -> list[str]:
        """Strict forms of what an action names: what a mark is put on, and looked up by."""
        if action.kind is ActionKind.READ_RESOURCE:
            # The last parts of an address can be the name under which it was written.
            parts = unquote(action.name, errors="replace").replace(":", "/").split("/")
            ends = ["/".join(parts[at:]) for at in range(len(parts))][-MAX_ENDS:]
            return [action.name, *(same(end, shape(end)) for end in ends if end)]
        return [
            same(text, shape(text))
            for role, text in values(self._tool(target).subject, action.arguments)
            if role in (Role.OBJECT, Role.PATH, Role.TITLE)
        ]

    def _tool(self, target: Target) -> _Tool:
        key = (target.upstream, target.name, target.pin, target.traits)
        found = self._tools.get(key)
        if found is None:
            body: Mapping[str, Any] = {}
            served = self._definition(target.upstream, target.name)
            if served is not None:
                body = served.body
            description = body.get("description")
            found = _Tool(target, description if isinstance(description, str) else "")
            if len(self._tools) >= MAX_SUBJECTS:
                self._tools.clear()
            self._tools[key] = found
        return found


def _is_effect(target: Target, action: Action) -> bool:
    return target.traits.effect is not _READ and action.kind is _CALL_TOOL


def _persists(live: LiveRun, target: Target, action: Action) -> bool:
    """Whether an untrusted run writes where others read."""
    return live.labels.untrusted and target.traits.persists and _is_effect(target, action)


def _key(salt: str) -> bytes:
    return hashlib.blake2b(salt.encode(), digest_size=32, person=b"flow/index").digest()


__all__ = ["Flow", "Known", "Nobody", "RunFlow"]
