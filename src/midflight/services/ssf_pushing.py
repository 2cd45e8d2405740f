"""Pushes what waits, stream by stream, in order, until somebody takes it (RFC 8935).

One task a stream that is pushed, so that a receiver that hangs holds up nobody else. What a
receiver refuses for good is taken out and recorded; all else is tried again, ever more rarely, and
nothing behind it is sent before. Above: `apps/compose_ssf.py`. Below: the outbox, `Pushes`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from midflight.domain.errors import MidflightError
from midflight.domain.shared_stream import Method, Queued, Stream
from midflight.services.ports.ssf_delivery import Carried, Pushed, Pushes
from midflight.services.ports.ssf_store import SharedSignalStore
from midflight.services.sealed_secrets import SealedSecrets
from midflight.services.ssf_outbox import Outbox

log = structlog.get_logger(__name__)

BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds before the next try, after one, two … that failed; the last one goes on."""
AT_ONCE = 50


class Pushing:
    """See the module."""

    def __init__(
        self,
        *,
        store: SharedSignalStore,
        outbox: Outbox,
        sealed: SealedSecrets,
        pushes: Pushes,
        backoff_s: tuple[float, ...] = BACKOFF_S,
        in_standing: Callable[[str], Awaitable[bool]] | None = None,
    ) -> None:
        """`start` begins. `in_standing` says of a client whether it may be told anything now."""
        self._in_standing = in_standing
        self._store = store
        self._outbox = outbox
        self._sealed = sealed
        self._pushes = pushes
        self._backoff = backoff_s
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._hurry: dict[str, asyncio.Event] = {}
        self._running = False

    async def start(self) -> None:
        """Push what waits from before, and whatever comes."""
        self._running = True
        self._outbox.on_put(self._begin)
        for stream in await self._store.list_ssf_streams():
            self._begin(stream.id)

    async def close(self) -> None:
        """Stop. What was not taken waits in the store."""
        self._running = False
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def changed(self, stream_id: str) -> None:
        """A stream is another one now: what failed before may work at once."""
        if stream_id in self._hurry:
            self._hurry[stream_id].set()

    def _begin(self, stream_id: str) -> None:
        task = self._tasks.get(stream_id)
        if self._running and (task is None or task.done()):
            self._tasks[stream_id] = asyncio.get_running_loop().create_task(
                self._serve(stream_id), name=f"ssf push {stream_id}"
            )

    async def _serve(self, stream_id: str) -> None:
        """Until the stream is gone or not pushed any more: then the next event begins anew."""
        failures = 0
        with self._outbox.watching(stream_id) as woken:
            while True:
                woken.clear()
                try:
                    stream = await self._store.get_ssf_stream(stream_id)
                    if stream is None or stream.method is not Method.PUSH:
                        self._tasks.pop(stream_id, None)
                        return
                    why, some = await self._round(stream)
                except MidflightError as error:
                    why, some = error.message, True
                except Exception as error:  # noqa: BLE001 -- a bug must not end a stream for good
                    why, some = type(error).__name__, True
                if why:
                    failures += 1
                    if failures == 1:
                        self._outbox.observed("ssf.push_failing", stream_id, why=why)
                    log.warning("ssf_push_failed", stream=stream_id, why=why, tries=failures)
                    await self._pause(stream_id, failures)
                    continue
                if failures and some:
                    self._outbox.observed("ssf.push_works", stream_id, failures=failures)
                failures = 0 if some else failures
                if not some:
                    await woken.wait()

    async def _pause(self, stream_id: str, failures: int) -> None:
        """Wait for the next try. What is put meanwhile is no reason to try sooner."""
        hurry = self._hurry[stream_id] = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._backoff[min(failures, len(self._backoff)) - 1]):
                await hurry.wait()
        self._hurry.pop(stream_id, None)

    async def _round(self, stream: Stream) -> tuple[str, bool]:
        """Push what waits; (why it stopped, or empty, whether there was anything)."""
        waiting = await self._outbox.waiting(stream, limit=AT_ONCE)
        if not waiting:
            return "", False
        # Whoever polls shows a token each time; to whom is pushed shows nothing.
        if self._in_standing is not None and not await self._in_standing(stream.client):
            return "its client is gone, disabled or revoked", True
        authorization = (
            await self._sealed.open(stream.authorization) if stream.authorization else ""
        )
        for queued in waiting:
            # A receiver that has paused its stream in between gets nothing more.
            current = await self._store.get_ssf_stream(stream.id)
            if current != stream:
                return "", True
            pushed = await self._push(stream, queued, authorization)
            match pushed.outcome:
                case Carried.TAKEN:
                    await self._outbox.delivered(stream.id, [queued.event.jti])
                case Carried.REFUSED:
                    await self._outbox.refused(stream.id, queued.event.jti, pushed.why)
                case Carried.FAILED:
                    return pushed.why or "failed", True
        return "", True

    async def _push(self, stream: Stream, queued: Queued, authorization: str) -> Pushed:
        text = await self._outbox.signed(queued)
        return await self._pushes.push(stream.endpoint_url, text, authorization=authorization)


__all__ = ["AT_ONCE", "BACKOFF_S", "Pushing"]
