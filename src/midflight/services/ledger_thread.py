"""One thread that does the ledger's blocking work, in the order in which it was given.

Plainer than an executor because it is on the hot path: no future is made for a flush, and one
`call_soon_threadsafe` brings its result back. The thread never touches the ledger's own state.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class LedgerThread:
    """Starts with the first work and belongs to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._work: SimpleQueue[tuple[Callable[[], Any], Callable[[Any, Any], None]] | None] = (
            SimpleQueue()
        )
        # A daemon: a process that ends without closing must not hang on the ledger, and what was
        # acknowledged is on disk already.
        self._thread = threading.Thread(target=self._run, name="midflight-ledger", daemon=True)
        self._thread.start()

    def post(
        self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]
    ) -> None:
        """Do `work` on the thread, then call `done(result, error)` on the loop."""
        self._work.put((work, done))

    async def call(self, work: Callable[[], T]) -> T:
        """Do `work` on the thread and wait for it. It is done even if the waiting is cancelled."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def done(result: T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.post(work, done)
        return await future

    def stop(self) -> None:
        """End the thread after the work it was given, and wait for that."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            work, done = item
            result, error = None, None
            try:
                result = work()
            except BaseException as raised:  # noqa: BLE001 -- it is handed to whoever asked
                error = raised
            # The loop may be closed: then nobody waits any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(done, result, error)
            del item, work, done, result, error


__all__ = ["LedgerThread"]
