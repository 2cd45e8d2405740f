"""The official suite of the protocol: Midflight loses nothing of what its upstream does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from conformance import official_suite
from conformance.forwarder import forwarding
from conformance.reference_server import reference
from gateways import running_gateway

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.conformance,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # The reference serves what 2026-07-28 deprecates, too; the suite asks for it.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

VERSIONS = ["2025-11-25", "2026-07-28"]
TASKS = [
    "lifecycle",
    "capability-negotiation",
    "wire-fields",
    "request-state-removal",
    "mrtr-input",
    "request-headers",
    "dispatch-and-envelope",
    "required-task-error",
    "mrtr-composition",
]
REBINDING = "dns-rebinding-protection"


@asynccontextmanager
async def midflight(folder: Path, upstream: str) -> AsyncIterator[str]:
    """The URL of a whole gateway before an upstream, for a client that has no token."""
    async with forwarding() as forwarder:
        here = f"127.0.0.1:{forwarder.port}"
        gateway_settings = {
            "listen": "127.0.0.1:0",
            "public_url": "http://127.0.0.1:8600",
            "allowed_hosts": (here,),
        }
        upstreams = [{"name": "reference", "url": upstream, "reach": "closed"}]
        async with running_gateway(folder, upstreams, gateway=gateway_settings) as gateway:
            await gateway.pin_all()

            async def authorize() -> str:
                return f"Bearer {await gateway.token()}"

            yield forwarder.forward_to(f"{gateway.url}/mcp", authorize)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("upstream", ["modern", "legacy"])
async def test_nothing_that_passes_directly_is_lost_through_midflight(
    upstream: str, version: str, tmp_path: Path
) -> None:
    suite = ("--suite", "all", "--spec-version", version)
    async with reference() as both, reference(legacy=True) as old:
        direct = await official_suite.run(both, tmp_path / "direct", *suite)
        async with midflight(tmp_path, both if upstream == "modern" else old) as governed:
            through = await official_suite.run(governed, tmp_path / "through", *suite)
    print(f"\n{version}, {upstream} upstream\n{official_suite.table(direct, through)}")
    failing = official_suite.failures(direct)
    assert not failing, "\n".join(failing)
    missing = official_suite.lost(direct, through)
    assert not missing, "\n".join(missing)
    assert not official_suite.failures({REBINDING: through[REBINDING]})


async def test_nothing_of_the_tasks_extension_is_lost_through_midflight(tmp_path: Path) -> None:
    async with reference() as url, midflight(tmp_path, url) as governed:
        direct = await tasks(url, tmp_path / "direct")
        through = await tasks(governed, tmp_path / "through")
    print(f"\ntasks extension\n{official_suite.table(direct, through)}")
    failing = official_suite.failures(direct)
    assert not failing, "\n".join(failing)
    missing = official_suite.lost(direct, through)
    assert not missing, "\n".join(missing)


async def tasks(url: str, folder: Path) -> dict[str, list[official_suite.Check]]:
    """Runs the scenarios of the extension: no suite holds them."""
    found: dict[str, list[official_suite.Check]] = {}
    for name in TASKS:
        found |= await official_suite.run(url, folder / name, "--scenario", f"tasks-{name}")
    return found
