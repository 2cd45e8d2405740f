"""A lane: one thread with one SQLite connection, and a queue of operations before it.

Whatever waits when the lane is free is done in one transaction, so that all share one flush (group
commit): 16 callers pay for one. Operations are plain functions of a connection; they read and
write through it and keep nothing elsewhere, because a lane may roll back and call them again.

Above stands `sqlite.py`, which has one lane for what changes and one for what only reads.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from midflight.domain.errors import MidflightError, StoreUnavailable

T = TypeVar("T")
Operation: TypeAlias = Callable[[Connection], T]

# Bounds how long the first of a batch waits for the last, and how much one rollback undoes.
MAX_BATCH = 256


class _Job:
    """An operation, the future of who waits for it, and what came of it."""

    __slots__ = ("error", "future", "is_apart", "operation", "result")

    def __init__(
        self, operation: Operation[Any], future: asyncio.Future[Any], *, is_apart: bool
    ) -> None:
        self.operation = operation
        self.future = future
        self.is_apart = is_apart
        self.result: Any = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        """Tell who waits. On the event loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Lane:
    """See the module. Belongs to the event loop that started it."""

    def __init__(self, connect: Callable[[], Connection], *, name: str) -> None:
        """`connect` opens the connection; it is called in the lane's thread."""
        self._connect = connect
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Start the thread and open its connection. `StoreUnavailable` if that fails."""
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        # A daemon: an interpreter that ends without `stop` must not hang. What was acknowledged is
        # durable, and what was not is rolled back by SQLite.
        self._thread = threading.Thread(
            target=self._work, args=(opened,), name=self._name, daemon=True
        )
        self._thread.start()
        try:
            await opened
        except BaseException:
            self._loop = None
            raise

    async def stop(self) -> None:
        """Do what is queued, close the connection and end the thread. Again: nothing."""
        self._loop = None
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    async def run(self, operation: Operation[T], *, is_apart: bool = False) -> T:
        """Do `operation` in a transaction and return its result once that is committed.

        `is_apart` does it outside of any transaction. A caller that is cancelled does not take the
        operation back. Errors of `operation` from Midflight's tree pass; everything the database
        says is `StoreUnavailable`, and then nothing of the operation is in effect, unless the
        commit itself broke: that is known at the next read.
        """
        loop = self._loop
        if loop is None:
            raise StoreUnavailable(
                "The store is closed.", hint="Open it, or start Midflight again."
            )
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(operation, future, is_apart=is_apart))
        return await future

    # In the thread

    def _work(self, opened: asyncio.Future[None]) -> None:
        first = _Job(lambda _: None, opened, is_apart=True)
        try:
            connection = self._connect()
        except Exception as error:  # noqa: BLE001 -- told to who opens
            first.error = _translate(error)
            self._tell([first])
            return
        self._tell([first])
        try:
            while (jobs := self._take()) is not None:
                self._do(connection, jobs)
                self._tell(jobs)
        finally:
            connection.close()

    def _take(self) -> list[_Job] | None:
        """The jobs to do next: one apart, or all that share a transaction. None: stop."""
        job = self._jobs.get()
        if job is None:
            return None
        jobs = [job]
        while not jobs[-1].is_apart and len(jobs) < MAX_BATCH:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)
                break
            jobs.append(job)
        return jobs

    def _do(self, connection: Connection, jobs: list[_Job]) -> None:
        """Do all in one transaction; if one of several fails, each again in its own."""
        if jobs[-1].is_apart:
            *jobs, apart = jobs
            if jobs:
                self._do(connection, jobs)
            self._do_one(connection, apart)
            return
        if len(jobs) == 1:
            self._do_one(connection, jobs[0])
            return
        try:
            with connection.begin():
                for job in jobs:
                    job.result = job.operation(connection)
        except Exception:  # noqa: BLE001 -- each gets its own answer below
            # No savepoints: after some errors (disk full) SQLite rolls the whole transaction back
            # by itself, and what followed would commit without what came before.
            for job in jobs:
                self._do_one(connection, job)

    def _do_one(self, connection: Connection, job: _Job) -> None:
        try:
            if job.is_apart:
                job.result = job.operation(connection)
            else:
                with connection.begin():
                    job.result = job.operation(connection)
        except Exception as error:  # noqa: BLE001 -- told to who waits
            job.error = _translate(error)

    def _tell(self, jobs: list[_Job]) -> None:
        loop = jobs[0].future.get_loop()
        try:
            loop.call_soon_threadsafe(_settle_all, jobs)
        except RuntimeError:
            return  # the loop is closed, so nobody waits


def _settle_all(jobs: list[_Job]) -> None:
    for job in jobs:
        job.settle()


def _translate(error: Exception) -> Exception:
    """What the caller gets. Never a statement's parameters: they hold secrets of runs."""
    if isinstance(error, MidflightError):
        return error
    match error:
        case DBAPIError():
            said = str(error.orig)
        case SQLAlchemyError() | OverflowError() | UnicodeError() | OSError():
            said = type(error).__name__
        case _:
            return error  # a fault of ours: not dressed up as the database's
    return StoreUnavailable(
        f"The store did not answer ({said}), so nothing that needs it may happen.",
        hint="Look at the disk's space and rights, or run `midflight doctor`.",
    )


__all__ = ["MAX_BATCH", "Lane", "Operation"]
