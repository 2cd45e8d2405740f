"""A gateway with everything real but the network beyond loopback."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from store_kit import with_schema

from midflight.apps.compose import Plane
from midflight.apps.compose_parts import parts
from midflight.apps.gateway.main import serving_plane
from midflight.apps.settings import Settings
from midflight.domain.identity import Author, Workload
from midflight.domain.tool import PinnedKind
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.ports.clock import Clock

AGENT = "spiffe://midflight.internal/agents/one"
OPERATOR = Author(name="olivia", proof="test")
PERMIT_ALL = '@id("permit-all")\npermit(principal, action, resource);\n'


class Gateway:
    """A running gateway and what tests do with it."""

    def __init__(self, plane: Plane, url: str) -> None:
        self.plane = plane
        self.url = url

    async def pin_all(self, reach: Reach = Reach.CLOSED) -> None:
        """Fetch and pin everything as closed-world reads."""
        for name in self.plane.parts.upstreams:
            await self.plane.catalogue.refresh(name)
        traits = Traits(effect=Effect.READ, reach=reach, reviewed=True)
        for listed in self.plane.catalogue.listing():
            await self.plane.catalogue.pin(
                listed.upstream,
                listed.name,
                kind=listed.kind,
                author=OPERATOR,
                traits=traits if listed.kind is PinnedKind.TOOL else None,
            )

    async def token(self, run: str | None = None) -> str:
        """A token of the registered agent."""
        minted = await self.plane.identity.mint(workload=AGENT, run=run, author=OPERATOR)
        return minted.token

    async def open_run(self, intent: str = "Answer the tickets of today.", **more: Any) -> str:
        """A run of the registered agent; its id."""
        workload = await self.plane.inventory.get(AGENT)
        run = await self.plane.runs.open_run(
            workload=workload, intent=intent, author=OPERATOR, **more
        )
        return run.id

    @contextlib.asynccontextmanager
    async def client(
        self, path: str = "/mcp", *, mode: str = "auto", run: str | None = None, **more: Any
    ) -> AsyncIterator[Client]:
        """The official client, connected with a token."""
        headers = {"Authorization": f"Bearer {await self.token(run)}"}
        async with httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http:
            transport = streamable_http_client(f"{self.url}{path}", http_client=http)
            async with Client(transport, mode=mode, **more) as client:
                yield client


@contextlib.asynccontextmanager
async def running_gateway(
    folder: Path,
    upstreams: Sequence[dict[str, Any]],
    *,
    policy: str = PERMIT_ALL,
    clock: Clock | None = None,
    **more: Any,
) -> AsyncIterator[Gateway]:
    """A gateway over these upstreams (as in `midflight.toml`), one agent registered."""
    directory = folder / "policies"
    directory.mkdir(exist_ok=True)
    (directory / "test.cedar").write_text(policy, encoding="utf-8")
    settings = Settings(
        **{
            "gateway": {"listen": "127.0.0.1:0", "public_url": "http://127.0.0.1:8600"},
            "state": {"directory": with_schema(folder / "state")},
            "policy": {"directory": directory},
            "upstream": tuple(upstreams),
            **more,
        }
    )
    made = parts(settings)
    made.clock = clock or made.clock
    plane = Plane(settings, made)
    async with plane.running(), serving_plane(plane) as bound:
        await plane.inventory.register(
            Workload(
                id=AGENT,
                owner="team-one",
                escalation="oncall",
                review_by=int(plane.clock.now()) + 86_400,
            ),
            OPERATOR,
        )
        yield Gateway(plane, bound[0].url)
