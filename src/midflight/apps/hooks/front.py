"""The ASGI app of `/hooks/<channel>`: signature first, each message once, then what it means.

    POST /hooks/<channel> of kind slack       a button was pressed (interactivity request URL)
                          of kind webhook     {"type": "button.pressed", "data": {person, ticket}}
                          of kind pagerduty   webhook subscription v3: an incident has somebody

Every refusal is recorded as noise. Above: the gateway's app. Below: `services/pressing.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from midflight.apps.gateway.noise import Noise
from midflight.apps.hooks.kinds import Said, understood
from midflight.apps.server.asgi import Receive, Scope, Send
from midflight.apps.server.body import read_body
from midflight.apps.server.peer import scope_peer
from midflight.apps.server.respond import send_error, send_json
from midflight.apps.settings_escalation import HookSection
from midflight.domain.errors import (
    Conflict,
    Malformed,
    MidflightError,
    Misconfigured,
    NotFound,
    Unavailable,
)
from midflight.services.ports.clock import Clock
from midflight.services.pressing import Pressing
from midflight.wire import json

SEGMENT = "/hooks"
MAX_BODY = 65_536

Reply = Callable[[str, str, str], Awaitable[None]]
"""(channel, where, text): tells whoever pressed what came of it; fails in silence"""


class HooksFront:
    """See the module."""

    def __init__(
        self,
        hooks: Mapping[str, HookSection],
        *,
        pressing: Pressing,
        clock: Clock,
        noise: Noise,
        reply: Reply,
    ) -> None:
        """`hooks` by channel."""
        self._hooks = hooks
        self._pressing = pressing
        self._clock = clock
        self._noise = noise
        self._reply = reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, whose Host and Origin were checked."""
        name = scope["path"].removeprefix(f"{SEGMENT}/")
        try:
            hook = self._hooks.get(name)
            if hook is None:
                raise NotFound("There is nothing here.")
            if scope["method"] != "POST":
                raise Malformed("A hook is called by POST.")
            body = await read_body(receive, scope["headers"], MAX_BODY)
            text = await self._taken(name, hook, scope, body)
        except MidflightError as error:
            self._noise.refused(f"{name[:32]}: {error.message}", peer=scope_peer(scope).address)
            await send_error(send, _for_strangers(error))
            return
        await send_json(send, json.encode({"message": text}))

    async def _taken(self, name: str, hook: HookSection, scope: Scope, body: bytes) -> str:
        said = understood(name, hook, scope["headers"], body, now=self._clock.now())
        try:
            text = await self._pressing.take(name, said.once, lambda: self._means(name, said))
        except MidflightError as error:
            await self._tell(name, said, error.message)
            raise
        if text is None:
            # Not an error: senders repeat what they had no answer to. It means nothing twice.
            self._noise.refused(
                f"{name}: the same message came again", peer=scope_peer(scope).address
            )
            return "This was taken before."
        await self._tell(name, said, text)
        return text

    async def _means(self, name: str, said: Said) -> str:
        if said.author is None:
            return "Nothing to do."
        if said.ticket:
            return await self._pressing.press(name, said.ticket, author=said.author)
        try:
            return await self._pressing.acknowledge_thread(said.thread, author=said.author)
        except (NotFound, Conflict) as error:
            # Somebody else's incident, or one that is over: an error would only be sent again.
            return error.message

    async def _tell(self, name: str, said: Said, text: str) -> None:
        if said.answer_to:
            await self._reply(name, said.answer_to, text)


def _for_strangers(error: MidflightError) -> MidflightError:
    """What is wrong with our own settings is for the log; the sender may try again."""
    if isinstance(error, Misconfigured):
        return Unavailable("This hook cannot be served now.")
    return error


__all__ = ["MAX_BODY", "SEGMENT", "HooksFront", "Reply"]
