"""Echoes: what Midflight put into calls is taken out of whatever an upstream says.

`Echoes` knows which secrets went to which upstream while their leases live, and some time longer;
`ScrubbedUpstream` stands around an adapter, so that nothing of an upstream gets past: results,
errors, progress, questions, notices, what it says of itself, and the words of the adapter's own
errors. Where nothing was leased it costs one look into a dictionary.

An upstream that repeats a credential is a finding: it is counted and recorded, once a call.
Not here: what is placed (`injection.py`), which forms are found (`domain/scrubbing.py`).
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec

from midflight.domain.action import Action
from midflight.domain.errors import LedgerUnavailable, MidflightError
from midflight.domain.lease import Placement
from midflight.domain.records import Observed
from midflight.domain.scrubbing import Scrubber
from midflight.domain.value import JSONObject
from midflight.services.ports.clock import Clock
from midflight.services.ports.injection import NOTHING, Attachment
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.telemetry import Telemetry
from midflight.services.ports.upstream import (
    ClientRequest,
    Flight,
    NoticeHandler,
    Reply,
    RunSeat,
    ServerInfo,
    Sink,
    Upstream,
)

MAX_LEASES = 4_096
"""Leases of one upstream whose secrets are remembered, those not used for long forgotten first."""
MAX_OTHERS = 32
"""Leases of other runs, the newest, that are looked for in what a run is told: it bounds the price
of one answer. What belongs to no run is looked through for all."""


class Echoes:
    """See the module. One event loop."""

    def __init__(self, *, recorder: Recorder, clock: Clock, telemetry: Telemetry) -> None:
        self._recorder = recorder
        self._clock = clock
        self._telemetry = telemetry
        self._sent: dict[str, OrderedDict[str, tuple[str, frozenset[str]]]] = {}
        self._scrubbers: dict[tuple[str, str], Scrubber] = {}

    def sent(self, upstream: str, run: str, lease: str, secrets: frozenset[str]) -> None:
        """These secrets are about to go to the upstream."""
        known = self._sent.setdefault(upstream, OrderedDict())
        before = known.get(lease)
        if before is not None:
            known.move_to_end(lease)  # it is in use: others are forgotten first
            if secrets <= before[1]:
                return
        known[lease] = (run, secrets if before is None else secrets | before[1])
        if len(known) > MAX_LEASES:
            known.popitem(last=False)
        for key in [key for key in self._scrubbers if key[0] == upstream]:
            del self._scrubbers[key]

    def scrubber(self, upstream: str, run: str) -> Scrubber | None:
        """What takes out of an answer to `run` (empty: to nobody's) what must not be in it."""
        known = self._sent.get(upstream)
        if not known:
            return None
        found = self._scrubbers.get((upstream, run))
        if found is None:
            own = [secrets for of, secrets in known.values() if of == run]
            others = [secrets for of, secrets in known.values() if of != run]
            if run:
                others = others[-MAX_OTHERS:]
            if len(self._scrubbers) > MAX_LEASES:
                self._scrubbers.clear()
            found = Scrubber(secret for secrets in (*own, *others) for secret in secrets)
            self._scrubbers[upstream, run] = found
        return found

    def found(self, upstream: str, run: str, *, where: str, count: int) -> None:
        """An upstream has repeated what it was given."""
        self._telemetry.count("credential_echoes", count)
        with contextlib.suppress(LedgerUnavailable):  # it counts what it could not take
            self._recorder.append(
                Observed(
                    at=self._clock.now(),
                    what="credential_echoed",
                    subject=upstream,
                    details={"run": run, "where": where, "removed": count},
                )
            )


class ScrubbedUpstream:
    """An upstream out of whose words leased credentials are taken. See the module."""

    def __init__(self, inner: Upstream, echoes: Echoes) -> None:
        self._inner = inner
        self._echoes = echoes

    @property
    def name(self) -> str:
        """Its name in the settings."""
        return self._inner.name

    @property
    def placements(self) -> frozenset[Placement]:
        """How a credential can be placed into a call of it."""
        return self._inner.placements

    async def start(self, notices: NoticeHandler) -> None:
        """See `Upstream.start`."""

        def scrubbed(run: str, method: str, params: JSONObject) -> None:
            scrubber = self._echoes.scrubber(self.name, run)
            if scrubber is not None:
                params, count = scrubber.object(params)
                if count:
                    self._echoes.found(self.name, run, where=method, count=count)
            notices(run, method, params)

        await self._inner.start(scrubbed)

    async def describe(self, *, attachment: Attachment = NOTHING) -> ServerInfo:
        """See `Upstream.describe`."""
        if attachment is NOTHING:
            info = await self._inner.describe()
        else:
            info = await self._inner.describe(attachment=attachment)
        scrubber = self._echoes.scrubber(self.name, "")
        if scrubber is None:
            return info
        said, count = scrubber.object({"info": info.info, "capabilities": info.capabilities})
        instructions, more = scrubber.text(info.instructions)
        if not count + more:
            return info
        self._echoes.found(self.name, "", where="server", count=count + more)
        return msgspec.structs.replace(
            info, info=said["info"], capabilities=said["capabilities"], instructions=instructions
        )

    def call(
        self,
        action: Action,
        *,
        seat: RunSeat,
        flight: Flight,
        sink: Sink,
        attachment: Attachment = NOTHING,
    ) -> Awaitable[Reply]:
        """See `Upstream.call`."""
        return self._scrubbed(action, seat=seat, flight=flight, sink=sink, attachment=attachment)

    async def _scrubbed(
        self,
        action: Action,
        *,
        seat: RunSeat,
        flight: Flight,
        sink: Sink,
        attachment: Attachment,
    ) -> Reply:
        # Asked anew for whatever comes back: while a call waits, others bring secrets there.
        def latest() -> Scrubber | None:
            return self._echoes.scrubber(self.name, seat.run)

        around = _ScrubbedSink(sink, latest)
        try:
            reply = await self._inner.call(
                action, seat=seat, flight=flight, sink=around, attachment=attachment
            )
            scrubber = latest()
            if scrubber is None:
                return reply
            removed = around.removed
            result, error = reply.result, reply.error
            if result is not None:
                result, count = scrubber.object(result)
                removed += count
            if error is not None:
                error, count = scrubber.object(error)
                removed += count
            if not removed:
                return reply
            around.removed = removed
            return msgspec.structs.replace(reply, result=result, error=error, removed=removed)
        except MidflightError as error:
            scrubber = latest()
            if scrubber is not None:
                error.message, said = scrubber.text(error.message)
                error.hint, hinted = scrubber.text(error.hint)
                around.removed += said + hinted
                error.args = (error.message,)
            raise
        finally:
            if around.removed:
                self._echoes.found(self.name, seat.run, where=action.method, count=around.removed)

    def release(self, lease: str, *, drain: bool) -> None:
        """See `Upstream.release`."""
        self._inner.release(lease, drain=drain)

    async def end_run(self, run: str) -> None:
        """See `Upstream.end_run`."""
        await self._inner.end_run(run)

    async def close(self) -> None:
        """See `Upstream.close`."""
        await self._inner.close()


class _ScrubbedSink:
    """The caller's side of one call."""

    __slots__ = ("_latest", "_sink", "removed")

    def __init__(self, sink: Sink, latest: Callable[[], Scrubber | None]) -> None:
        self._sink = sink
        self._latest = latest
        self.removed = 0

    @property
    def capabilities(self) -> JSONObject:
        """The client's."""
        return self._sink.capabilities

    @property
    def takes_input_required(self) -> bool:
        """The client's."""
        return self._sink.takes_input_required

    async def notify(self, method: str, params: JSONObject) -> None:
        """Without what must not be in it."""
        await self._sink.notify(method, self._scrubbed(params))

    async def ask(self, request: ClientRequest) -> JSONObject:
        """Without what must not be in it."""
        params = self._scrubbed(request.params)
        if params is not request.params:
            request = msgspec.structs.replace(request, params=params)
        return await self._sink.ask(request)

    def _scrubbed(self, params: JSONObject) -> JSONObject:
        scrubber = self._latest()
        if scrubber is None:
            return params
        params, count = scrubber.object(params)
        self.removed += count
        return params


__all__ = ["MAX_LEASES", "MAX_OTHERS", "Echoes", "ScrubbedUpstream"]
