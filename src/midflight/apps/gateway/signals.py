"""`POST /signals/NAME` of the gateway: a signed word from elsewhere about a run.

The order is: which source, bounds, signature and time, then the body, then what the source may say.
A source that is not there is answered as one whose signature does not hold: strangers do not learn
the names. Answers: 202 with `record`, `strength` and `workload`; refusals are errors of the tree.
Above: `app.py`. Below: `wire/webhook.py`, `wire/signals.py`, `services/signals.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from midflight.apps.gateway.noise import Noise
from midflight.apps.server.asgi import Receive, Scope, Send
from midflight.apps.server.body import check_json, read_body
from midflight.apps.server.peer import scope_peer
from midflight.apps.server.respond import send_error, send_json
from midflight.apps.webhooks import webhook_of
from midflight.domain.errors import Malformed, MidflightError
from midflight.services.ports.clock import Clock
from midflight.services.signals import Signals, Taken
from midflight.wire import json
from midflight.wire.signals import MAX_BODY, decode_signal
from midflight.wire.webhook import Key, verify

PREFIX = "/signals"


class SignalFront:
    """Serves what is below `/signals`."""

    def __init__(
        self,
        signals: Signals,
        *,
        keys: Mapping[str, Sequence[Key]],
        noise: Noise,
        clock: Clock,
    ) -> None:
        """`keys` by source; at least one source."""
        self._signals = signals
        self._keys = dict(keys)
        # For sources that are not there: as much work as the first that is, and nothing holds.
        first = next(iter(self._keys.values()))
        self._nobody = tuple(msgspec.structs.replace(key, until=0) for key in first)
        self._noise = noise
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, whose Host and Origin were checked."""
        try:
            taken = await self._take(scope, receive)
        except MidflightError as error:
            self._noise.refused(error.message, peer=scope_peer(scope).address)
            await send_error(send, error)
            return
        answer = {
            "record": taken.record,
            "strength": taken.strength.name.lower(),
            "workload": taken.workload,
        }
        await send_json(send, json.encode(answer), status=202)

    async def _take(self, scope: Scope, receive: Receive) -> Taken:
        if scope["method"] != "POST":
            raise Malformed("Signals are sent by POST.")
        check_json(scope["headers"])
        name = str(scope["path"]).removeprefix(PREFIX).removeprefix("/")
        body = await read_body(receive, scope["headers"], limit=MAX_BODY)
        keys = self._keys.get(name, self._nobody)
        sent = verify(webhook_of(scope["headers"]), body, keys=keys, now=self._clock.now())
        return await self._signals.take(name, decode_signal(body), id=sent.id, until=sent.until)


__all__ = ["PREFIX", "SignalFront"]
