"""Marks: what untrusted runs have written into upstreams that persist.

A note that an untrusted run wrote is untrusted to whoever reads it a day later, in another run and
after a restart (second-order injection). Marks are by key where a key is known (an id, a path, a
title), else on the whole upstream. They are keyed hashes, durable before the write leaves, and held
in memory for reading. Above: `flow.py`. Below: `ports/flow_store.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
from collections.abc import Iterable, Sequence

from midflight.domain.errors import NotFound
from midflight.domain.flow.atoms import Shape, shape
from midflight.domain.flow.fields import Leaf
from midflight.domain.identity import Author
from midflight.domain.traits import FieldKind
from midflight.services.changes import record_change
from midflight.services.ports.clock import Clock
from midflight.services.ports.flow_store import SEVERAL, FlowStore, Marked
from midflight.services.ports.recorder import Recorder
from midflight.services.sealing import Sealer

WHOLE = -1
"""In place of a record's number: everything that the upstream returns."""
MAX_MARKS = 200_000
"""Marks of one upstream; beyond them the whole upstream is marked."""

_ANY = "*"
_SECRET = "midflight:marks"  # noqa: S105 -- the name of a secret
_KINDS = frozenset({FieldKind.SYSTEM, FieldKind.NAME, FieldKind.OWN})


class Marks:
    """See the module."""

    def __init__(
        self, *, store: FlowStore, sealer: Sealer, clock: Clock, recorder: Recorder
    ) -> None:
        """`start` it before use."""
        self._recorder = recorder
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._key = b""
        # For each key the run that is known to have marked it, None if any may have.
        self._marks: dict[str, dict[str, str | None]] = {}
        # So that what is marked while others are forgotten stays known.
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Read all marks.

        Raises:
            StoreUnavailable: without them nothing may be called trusted.
        """
        self._key = await self._sealer.derive(_SECRET, purpose="marks")
        for upstream, key in await self._store.list_marks():
            self._marks.setdefault(upstream, {})[key] = None

    async def add(self, upstream: str, keys: Sequence[str], *, run: str) -> None:
        """Mark values (in strict form) as keys of what an untrusted run writes; none: everything.

        Raises:
            StoreUnavailable: not marked, so it must not be written.
        """
        hashed = [self._hash(form) for key in keys if _tells(key) for form in _forms(key)] or [_ANY]
        async with self._turn:
            known = self._marks.setdefault(upstream, {})
            if len(known) >= MAX_MARKS:
                hashed = [_ANY]
            # What another run has marked is marked again: it may be forgotten for that one alone.
            new = [key for key in dict.fromkeys(hashed) if known.get(key) not in (run, SEVERAL)]
            if new:
                await self._store.put_marks(upstream, new, run=run, at=int(self._clock.now()))
                known.update({key: SEVERAL if key in known else run for key in new})

    async def made(self, upstream: str | None = None) -> Sequence[Marked]:
        """Which runs have marked what, and since when."""
        return await self._store.marked(upstream)

    async def clear(self, upstream: str, *, author: Author, run: str | None = None) -> int:
        """Forget marks, because somebody has looked at what was written; how many.

        Those that several runs have made stay when it is for one run.

        Raises:
            NotFound: there are none.
            LedgerUnavailable: the marks stay.
        """
        async with self._turn:
            return await self._clear(upstream, author=author, run=run)

    async def _clear(self, upstream: str, *, author: Author, run: str | None) -> int:
        if not [entry for entry in await self._store.marked(upstream) if run in (None, entry.run)]:
            raise NotFound(
                f"Nothing of {upstream} is marked{f' by {run}' if run else ''}.",
                hint="midflight mark list shows what is.",
            )
        await record_change(
            self._recorder,
            at=self._clock.now(),
            what=f"mark.clear {upstream}",
            author=author,
            details={} if run is None else {"run": run},
        )
        cleared = await self._store.clear_marks(upstream, run=run)
        listed = await self._store.list_marks()
        self._marks[upstream] = {key: None for name, key in listed if name == upstream}
        return cleared

    def any(self, upstream: str) -> bool:
        """Whether an untrusted run has written anything there."""
        return bool(self._marks.get(upstream))

    def within(self, upstream: str, found: Iterable[Leaf]) -> frozenset[int]:
        """Numbers of the records of a result that hold a marked key; `WHOLE` for all of it."""
        known = self._marks.get(upstream)
        if not known:
            return frozenset()
        if _ANY in known:
            return frozenset({WHOLE})
        marked: set[int] = set()
        for leaf in found:
            if leaf.kind in _KINDS and any(self._hash(f) in known for f in _forms(leaf.exact)):
                marked.add(_home(leaf))
        return frozenset(marked)

    def asked(self, upstream: str, keys: Iterable[str]) -> frozenset[int]:
        """`WHOLE` if what a read asks for (values in strict form) is marked.

        What comes back need not repeat its key: the text of a document does not hold its name.
        """
        known = self._marks.get(upstream)
        if not known:
            return frozenset()
        hit = any(self._hash(form) in known for key in keys for form in _forms(key))
        return frozenset({WHOLE}) if hit else frozenset()

    def _hash(self, value: str) -> str:
        raw = value.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(raw, digest_size=16, key=self._key).hexdigest()


def _forms(key: str) -> list[str]:
    """A key, and for a path the other ways to write it: one file has many."""
    if "/" not in key and "\\" not in key:
        return [key]
    plain = posixpath.normpath(key.replace("\\", "/")).strip("/")
    return [key, plain, plain.rpartition("/")[2]]


def _home(leaf: Leaf) -> int:
    """The record that a key is the key of: the element of a list that it is in, however deep."""
    if not leaf.records:
        return WHOLE
    last = max((at for at, step in enumerate(leaf.path) if step is None), default=-1)
    above = sum(step is not None for step in leaf.path[: last + 1])
    return leaf.records[min(above, len(leaf.records) - 1)]


def _tells(key: str) -> bool:
    """Whether a value can be a key: not a bare word or a small number that is everywhere."""
    found = shape(key)
    if found is Shape.NUMBER:
        return len(key) > 0
    return found is not Shape.WORD or len(key) > 3


__all__ = ["WHOLE", "Marks"]
