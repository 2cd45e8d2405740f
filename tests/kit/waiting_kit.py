"""A gateway whose policy has `payments-oncall` look at some tools, on a clock that tests move."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from bare_client import PREFIX, Modern, final

from gateways import Gateway, running_gateway
from midflight.domain.approval import ApprovalState
from midflight.domain.identity import Author
from midflight.services.waiting import Wait, Waiter
from midflight.testing import FakeClock
from servers.sdk_server import Served, over_http

ONCALL = Author(name="payments-oncall", proof="test")
PUBLIC_URL = "http://127.0.0.1:8600"
EXPIRES_S = 1_200
POLICY = (
    '@id("permit-all")\npermit(principal, action, resource);\n'
    '@id("ask") @reason("Somebody looks at it first.")\n'
    '@approvers("payments-oncall") @expires("20m")\n'
    'forbid(principal, action in Action::"call_tool", resource) when {\n'
    '  [Tool::"one/echo", Tool::"one/tell", Tool::"one/ask", Tool::"one/slow"].contains(resource)\n'
    "} unless { context.approval.granted };\n"
)
TASKS = f"{PREFIX}tasks"
OPENS_PAGES = {"elicitation": {"url": {}}}
POLLS_TASKS = {"extensions": {TASKS: {}}}


class WaitingGateway:
    """A gateway, its upstream, and who is in its waiting room."""

    def __init__(self, gateway: Gateway, served: Served, clock: FakeClock) -> None:
        self.gateway = gateway
        self.plane = gateway.plane
        self.served = served
        self.clock = clock
        self.room = gateway.plane.waiting[0]
        self._entered: asyncio.Queue[Waiter] = asyncio.Queue()
        enter = self.room.enter

        def noted(waiter: Waiter, *, for_s: float) -> Wait | None:
            wait = enter(waiter, for_s=for_s)
            self._entered.put_nowait(waiter)
            return wait

        self.room.enter = noted  # type: ignore[method-assign]

    async def entered(self) -> Waiter:
        """The next that has begun to wait, or is parked."""
        return await self._entered.get()

    async def pending(self) -> str:
        """The one question that waits for an answer."""
        (found,) = await self.plane.approval_desk.list(state=ApprovalState.PENDING)
        return found.id

    async def approve(self, approval: str | None = None) -> str:
        """Say yes."""
        approval = approval or await self.pending()
        await self.plane.approval_desk.approve(approval, author=ONCALL)
        return approval

    async def refuse(self) -> None:
        """Say no."""
        await self.plane.approval_desk.refuse(await self.pending(), author=ONCALL)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and have everybody notice."""
        self.clock.advance(seconds)
        await self.room.tick()

    async def states(self) -> Sequence[str]:
        """The states of all questions, newest first."""
        return [found.state.value for found in await self.plane.approval_desk.list()]

    def waiting(self) -> Sequence[str]:
        """What the registry says of whoever waits."""
        return [flight.note for flight in self.plane.interruption.flights() if flight.note]


@contextlib.asynccontextmanager
async def waiting_gateway(
    folder: Path, *, approvals: dict[str, Any] | None = None, legacy: bool = False, **more: Any
) -> AsyncIterator[WaitingGateway]:
    """See the module. `approvals` is that section of the settings."""
    served, clock = Served(), FakeClock()
    policy = more.pop("policy", POLICY)
    async with (
        over_http(served, legacy=legacy) as url,
        running_gateway(
            folder,
            [{"name": "one", "url": url, "reach": "closed"}],
            policy=policy,
            clock=clock,
            approvals=approvals or {},
            **more,
        ) as gateway,
    ):
        await gateway.pin_all()
        yield WaitingGateway(gateway, served, clock)


def request(
    client: Modern, capabilities: dict[str, Any], method: str = "tools/call", **params: Any
) -> dict[str, Any]:
    """A modern request of a client with these capabilities."""
    meta = {f"{PREFIX}clientCapabilities": capabilities, **params.pop("meta", {})}
    return client.request(method, **params, _meta=meta)


async def send(
    client: Modern, capabilities: dict[str, Any], method: str = "tools/call", **params: Any
) -> dict[str, Any]:
    """Send it; the final message."""
    return final(await client.post(request(client, capabilities, method, **params)))


__all__ = [
    "EXPIRES_S",
    "ONCALL",
    "OPENS_PAGES",
    "POLICY",
    "POLLS_TASKS",
    "PUBLIC_URL",
    "TASKS",
    "WaitingGateway",
    "request",
    "send",
    "waiting_gateway",
]
