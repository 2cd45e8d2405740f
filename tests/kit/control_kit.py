"""A real plane on SQLite with its control socket, in a thread, for tests of operators' verbs.

Only the upstream is scripted. The client is this process, which the plane knows as its own; tests
that need another process start one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from store_kit import with_schema
from thread_kit import in_a_thread

from midflight.apps.compose import Plane
from midflight.apps.compose_parts import Parts, parts
from midflight.apps.control.client import ControlClient
from midflight.apps.gateway.main import control_listeners
from midflight.apps.server.listeners import Bound
from midflight.apps.server.serve import serving
from midflight.apps.settings import Settings, load
from midflight.domain.traits import Reach
from midflight.testing import ScriptedUpstream

T = TypeVar("T")

OPERATOR = "olivia"
WORKLOAD = "spiffe://midflight.internal/agents/triage"
READ_TOOL = {
    "name": "read_ticket",
    "description": "Reads a ticket.",
    "inputSchema": {"type": "object", "properties": {"id": {"type": "integer"}}},
}
SEND_TOOL = {
    "name": "send_mail",
    "description": "Sends a mail.",
    "inputSchema": {"type": "object", "properties": {"to": {"type": "string"}}},
}


class RunningPlane:
    """A plane that serves its control socket; made by `running_plane`."""

    def __init__(self, config: Path, plane: Plane, loop: asyncio.AbstractEventLoop) -> None:
        self.config = config
        self.plane = plane
        self.bound: tuple[Bound, ...] = ()
        self._loop = loop

    @property
    def client(self) -> ControlClient:
        return ControlClient(self.plane.settings.control_socket)

    @property
    def upstream(self) -> ScriptedUpstream:
        found = self.plane.parts.upstreams["desk"]
        assert isinstance(found, ScriptedUpstream)
        return found

    @property
    def api_port(self) -> int:
        return next(bound.port for bound in self.bound if bound.name == "control-api")

    def do(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run something on the plane's loop and wait for it."""

        async def run() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def register(self, workload: str = WORKLOAD, **more: Any) -> dict[str, Any]:
        fields = {"owner": "ann", "escalation": "oncall", "review_by": 4_000_000_000} | more
        return self.client.post("/v1/workloads", id=workload, **fields)

    def tool(self, name: str) -> dict[str, Any]:
        return next(t for t in self.client.get("/v1/tools") if t["name"] == name)

    def pin(self, name: str, effect: str, reach: str) -> None:
        self.client.post(
            "/v1/tools/pin",
            upstream="desk",
            name=name,
            digest=self.tool(name)["digest"],
            effect=effect,
            reach=reach,
        )

    def open_run(self, intent: str = "Answer the tickets of today.") -> str:
        return str(self.client.post("/v1/runs", workload=WORKLOAD, intent=intent)["id"])

    def records(self, kind: str) -> list[dict[str, Any]]:
        async def flushed() -> None:
            await self.plane.ledger.flush()

        self.do(flushed)
        found = self.client.get("/v1/records", count=1000)
        return [entry["record"] | {"id": entry["id"]} for entry in found if entry["kind"] == kind]


def scripted(settings: Settings) -> Parts:
    made = parts(settings)
    upstream = ScriptedUpstream("desk", [dict(READ_TOOL), dict(SEND_TOOL)])
    made.upstreams = {"desk": upstream}
    made.reaches = {"desk": Reach.CLOSED}
    return made


@contextlib.contextmanager
def running_plane(
    directory: Path, *, extra: str = "", operator_uid: int | None = None
) -> Iterator[RunningPlane]:
    """Serve a plane whose settings are in `directory`; the standard policies are active."""
    import midflight  # noqa: PLC0415 -- for its package data

    pack = Path(midflight.__file__).parent / "policies" / "standard"
    if not (directory / "policies").exists():
        shutil.copytree(pack, directory / "policies" / "standard")
    # Socket paths are short, and those of pytest are not.
    sockets = Path(tempfile.mkdtemp(prefix="mf-"))
    config = directory / "midflight.toml"
    config.write_text(
        f"""{extra}
[control]
socket = "{sockets}/c.sock"
listen = "127.0.0.1:0"
operators = {{ "{os.getuid() if operator_uid is None else operator_uid}" = "{OPERATOR}" }}

[[upstream]]
name = "desk"
command = "true"
""",
        encoding="utf-8",
    )
    settings = load(config)
    with_schema(settings.state.directory)

    @contextlib.asynccontextmanager
    async def serve(loop: asyncio.AbstractEventLoop) -> AsyncIterator[RunningPlane]:
        plane = Plane(settings, scripted(settings))
        running = RunningPlane(config, plane, loop)
        async with (
            plane.running(),
            serving(control_listeners(plane), telemetry=plane.telemetry) as bound,
        ):
            running.bound = bound
            yield running

    try:
        with in_a_thread(serve, name="plane") as running:
            yield running
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


__all__ = [
    "OPERATOR",
    "READ_TOOL",
    "SEND_TOOL",
    "WORKLOAD",
    "RunningPlane",
    "running_plane",
]
