"""Something that is served in a thread of its own, with a loop of its own, while a test runs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

PATIENCE_S = 30.0
T = TypeVar("T")


@contextlib.contextmanager
def in_a_thread(
    serve: Callable[[asyncio.AbstractEventLoop], AbstractAsyncContextManager[T]], *, name: str
) -> Generator[T]:
    """What `serve` gives, until the test is done with it. What fails there fails the test."""
    ready = threading.Event()
    made: list[T] = []
    failed: list[BaseException] = []
    stop: list[Callable[[], object]] = []

    async def serving() -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        stop.append(lambda: loop.call_soon_threadsafe(stopping.set))
        async with serve(loop) as one:
            made.append(one)
            ready.set()
            await stopping.wait()

    def run() -> None:
        try:
            asyncio.run(serving())
        except BaseException as error:  # noqa: BLE001 -- told to the test below
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name=name)
    thread.start()
    try:
        assert ready.wait(PATIENCE_S), f"{name} is not ready"
        if made:
            yield made[0]
    finally:
        if made and not failed:
            stop[0]()
        thread.join(PATIENCE_S)
        if failed:
            raise failed[0]


__all__ = ["PATIENCE_S", "in_a_thread"]
