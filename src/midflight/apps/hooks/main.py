"""Wires the hooks of a plane: which there are, who may press, and where Slack takes an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from midflight.apps.compose import Plane
from midflight.apps.gateway.noise import Noise
from midflight.apps.hooks.front import SEGMENT, HooksFront
from midflight.apps.hooks.kinds import webhook_keys
from midflight.apps.server.asgi import App


def hook_fronts(plane: Plane, *, noise: Noise) -> dict[str, App]:
    """The front for `GatewayApp`, by its first segment; none where no hook is set.

    Raises:
        Misconfigured: the secret of a webhook cannot be read, or is none.
    """
    hooks = plane.settings.hooks
    if not hooks:
        return {}
    for name, hook in hooks.items():
        if hook.kind == "webhook":
            # Read again with each message; here so that a start fails.
            webhook_keys(name, hook, now=plane.clock.now())
    tasks: set[asyncio.Task[None]] = set()

    def aside(work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def reply(channel: str, where: str, text: str) -> None:
        # Aside: Slack wants its answer within three seconds, whatever its own servers do.
        aside(plane.escalating.replies.reply(channel, where, text))

    front = HooksFront(
        hooks,
        pressing=plane.escalating.pressing,
        clock=plane.clock,
        noise=noise,
        reply=reply,
    )
    return {SEGMENT: front}


__all__ = ["hook_fronts"]
