"""The log of responses: what holds is in the store and on record, a moment after it holds.

A response takes effect in memory first, in the turn of its finding, and no disk holds it up. What
the store or the ledger did not take is tried again with every sweep, and that it is owed is said.
Above: `responses.py`. Below: the ports.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any

from midflight.domain.errors import LedgerUnavailable, MidflightError
from midflight.domain.records import Observed, Responded
from midflight.domain.response import Response
from midflight.domain.value import JSONObject
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.response_store import ResponseStore
from midflight.services.ports.telemetry import Telemetry

KEPT_S = 86_400
"""How long an entry stays in the store after its end: the limits look back at most so far."""


class ResponseLog:
    """See the module."""

    def __init__(
        self, *, store: ResponseStore, recorder: Recorder, clock: Clock, telemetry: Telemetry
    ) -> None:
        """Nothing is read before `entries`."""
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._telemetry = telemetry
        self._unstored: dict[str, Response] = {}
        self._unrecorded: dict[str, Response] = {}
        self._said: set[str] = set()
        self._beside: set[asyncio.Task[None]] = set()

    @property
    def owed(self) -> frozenset[str]:
        """Ids of entries that would be lost if the process ended now."""
        return frozenset(self._unstored)

    async def entries(self) -> Sequence[Response]:
        """What the store has, in order. `StoreUnavailable`: then nobody knows what holds."""
        return await self._store.list_responses()

    def note(self, response: Response) -> None:
        """Keep an entry that holds already. Returns at once."""
        self._unstored[response.id] = response
        self._record(response)
        self.aside(self._store_owed())

    async def keep(self, response: Response) -> None:
        """Keep an entry before it holds: it is on disk when this returns.

        Raises:
            StoreUnavailable, LedgerUnavailable: so it must not hold.
        """
        await self._store.append_response(response)
        ticket = self._recorder.append(Responded(at=self._clock.now(), response=response))
        await ticket.durable()

    async def settle(self) -> None:
        """Try again what is owed, and wait for it."""
        for response in list(self._unrecorded.values()):
            self._record(response)
        await self._store_owed()

    async def forget(self) -> None:
        """Forget what ended long ago."""
        await self._store.forget_responses(ended_before=self._clock.now() - KEPT_S)

    def aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the path of an action."""
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def close(self) -> None:
        """Finish what is under way."""
        while self._beside:
            await asyncio.gather(*self._beside, return_exceptions=True)

    def _record(self, response: Response) -> None:
        try:
            self._recorder.append(Responded(at=self._clock.now(), response=response))
            self._unrecorded.pop(response.id, None)
        except LedgerUnavailable:
            self._unrecorded[response.id] = response

    async def _store_owed(self) -> None:
        for response in list(self._unstored.values()):
            try:
                await self._store.append_response(response)
            except MidflightError as error:
                self._telemetry.count("responses_not_kept")
                self._say(response, error)
                return
            self._unstored.pop(response.id, None)
            self._said.discard(response.id)

    def _say(self, response: Response, error: MidflightError) -> None:
        if response.id in self._said:
            return
        self._said.add(response.id)
        details: JSONObject = {
            "why": error.message,
            "workload": response.workload,
            "owed": len(self._unstored),
        }
        with contextlib.suppress(LedgerUnavailable):
            self._recorder.append(
                Observed(
                    at=self._clock.now(),
                    what="response.not_kept",
                    subject=response.id,
                    details=details,
                )
            )


__all__ = ["KEPT_S", "ResponseLog"]
