"""Group commit: what is queued when a flush starts goes to disk in one flush, in order.

The part of the ledger that lives on the event loop. At most one flush runs at a time; while it
runs the next group gathers. A group that the disk refused goes back to the front of the queue and
is tried again, so order and chain are kept whatever happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from midflight.domain.chain import Entry
from midflight.domain.errors import LedgerUnavailable
from midflight.services.ledger_thread import LedgerThread

_FIRST_RETRY_S = 0.05
_LAST_RETRY_S = 2.0

Prepare = Callable[[Sequence[Entry], bool], Callable[[], None]]
"""(batch, whether the flush before it failed) -> the blocking work that makes it durable."""


class GroupCommit:
    """Queue, waiters and timers of one writer.

    Args:
        thread: where the blocking work is done.
        prepare: makes the work for a batch; called on the loop when its flush starts.
        flushed: told how many entries have just become durable.
        refused: told that a flush failed.
        lazy_s: how long an entry that nobody waits for may lie in the queue.
    """

    def __init__(
        self,
        thread: LedgerThread,
        *,
        loop: asyncio.AbstractEventLoop,
        prepare: Prepare,
        flushed: Callable[[int], None],
        refused: Callable[[], None],
        lazy_s: float,
    ) -> None:
        self._thread = thread
        self._loop = loop
        self._prepare = prepare
        self._on_flushed = flushed
        self._on_refused = refused
        self._lazy_s = lazy_s
        self._queue: list[Entry] = []
        self._flying: list[Entry] = []
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._timer: asyncio.Handle | None = None
        self._retry_s = _FIRST_RETRY_S
        self._stopped = False
        self.failure: LedgerUnavailable | None = None
        self.durable_seq = 0
        self.backlog_bytes = 0

    @property
    def backlog(self) -> int:
        """How many entries are not durable."""
        return len(self._queue) + len(self._flying)

    def pending(self) -> list[Entry]:
        """The entries that are not durable, in order."""
        return self._flying + self._queue

    def add(self, entry: Entry) -> None:
        """Queue an entry; it is flushed soon, with the others."""
        self._queue.append(entry)
        self.backlog_bytes += len(entry.body)
        if self._timer is None and not self._flying:
            self._timer = self._loop.call_later(self._lazy_s, self._flush)

    async def durable(self, seq: int) -> None:
        """Wait for an entry to be durable. `LedgerUnavailable`, at once while the disk refuses."""
        if seq <= self.durable_seq:
            return
        if self.failure is not None:
            raise self.failure
        await self._wait(seq)

    async def try_now(self, seq: int) -> None:
        """As `durable`, but without waiting for the timer of a retry."""
        if seq > self.durable_seq:
            await self._wait(seq)

    def stop(self) -> list[Entry]:
        """Flush no more, fail every waiter, and hand over what is not durable."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._fail(LedgerUnavailable("The ledger is closed."))
        return self.pending()

    async def _wait(self, seq: int) -> None:
        if self._stopped:
            raise LedgerUnavailable("The ledger is closed.")
        future: asyncio.Future[None] = self._loop.create_future()
        if not self._waiting and not self._flying:
            # In the next turn of the loop, so that all that is appended in this one comes along.
            self._schedule(now=True)
        self._waiting.append((seq, future))
        await future

    def _schedule(self, *, now: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if now:
            self._timer = self._loop.call_soon(self._flush)
        else:
            self._timer = self._loop.call_later(self._lazy_s, self._flush)

    def _flush(self) -> None:
        self._timer = None
        if self._flying or not self._queue or self._stopped:
            return
        self._flying, self._queue = self._queue, []
        self._thread.post(self._prepare(self._flying, self.failure is not None), self._flushed)

    def _flushed(self, _: None, error: BaseException | None) -> None:
        batch, self._flying = self._flying, []
        if error is not None:
            self._queue = batch + self._queue
            self._refused(error)
            return
        self.durable_seq = batch[-1].seq
        self.backlog_bytes = sum(len(entry.body) for entry in self._queue)
        self.failure, self._retry_s = None, _FIRST_RETRY_S
        still: list[tuple[int, asyncio.Future[None]]] = []
        for waiter in self._waiting:
            if waiter[0] > self.durable_seq:
                still.append(waiter)
            elif not waiter[1].done():
                waiter[1].set_result(None)
        self._waiting = still
        if self._queue and not self._stopped:
            self._schedule(now=bool(still))
        self._on_flushed(len(batch))

    def _refused(self, error: BaseException) -> None:
        if isinstance(error, LedgerUnavailable):
            self.failure = error
        else:
            name = type(error).__name__
            self.failure = LedgerUnavailable(f"The ledger cannot be written ({name}).")
            self.failure.__cause__ = error
        self._fail(self.failure)
        if not self._stopped:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(self._retry_s, self._flush)
            self._retry_s = min(self._retry_s * 2, _LAST_RETRY_S)
        self._on_refused()

    def _fail(self, failure: LedgerUnavailable) -> None:
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            if not future.done():
                # One exception object a waiter: a shared one would gather their tracebacks.
                future.set_exception(LedgerUnavailable(failure.message, hint=failure.hint))


__all__ = ["GroupCommit", "Prepare"]
