"""The official suite of the protocol: Midflight loses nothing of what its upstream does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from conformance import official_suite
from conformance.forwarder import forwarding
from conformance.official_suite import Check, Run
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

# Checks that the suite itself reports as information, neither passed nor failed, when a server
# does as Midflight does; by (scenario, check).
NEITHER = {
    # Lists are answered from the catalogue, at once and as JSON: there is no stream to look at.
    ("server-sse-multiple-streams", "server-sse-streams-functional"),
    # An upstream that closes its stream is asked again by Midflight; its client's stays open.
    # That a client may come back is tested in functional/test_gateway_resumption.py.
    ("server-sse-polling", "server-sse-disconnect-resume"),
}

# A legacy server asks one question at a time, as requests without names. So a modern client gets
# one at a time, under a name of Midflight's choice, and these scenarios want others.
OTHER_QUESTIONS = {
    "input-required-result-basic-elicitation",
    "input-required-result-ignore-extra-params",
    "input-required-result-multiple-input-requests",
}


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
    show(f"{version}, {upstream} upstream", direct, through)
    assert_all_passes(direct)
    assert_all_passes({REBINDING: through[REBINDING]})
    if upstream == "legacy":
        direct = {name: found for name, found in direct.items() if name not in OTHER_QUESTIONS}
    assert_nothing_lost(direct, through)


async def test_nothing_of_the_tasks_extension_is_lost_through_midflight(tmp_path: Path) -> None:
    async with reference() as url, midflight(tmp_path, url) as governed:
        direct = await tasks(url, tmp_path / "direct")
        through = await tasks(governed, tmp_path / "through")
    show("tasks extension", direct, through)
    assert_all_passes(direct)
    assert_nothing_lost(direct, through)


async def tasks(url: str, folder: Path) -> dict[str, list[Check]]:
    """Runs the scenarios of the extension, which belong to no suite."""
    found: dict[str, list[Check]] = {}
    for name in TASKS:
        found |= await official_suite.run(url, folder / name, "--scenario", f"tasks-{name}")
    return found


def show(title: str, direct: Run, through: Run) -> None:
    print(f"\n{title}\n{official_suite.table(direct, through)}")  # noqa: T201 -- for people


def assert_all_passes(result: Run) -> None:
    failing = official_suite.failures(result)
    assert not failing, "\n".join(failing)


def assert_nothing_lost(direct: Run, through: Run) -> None:
    missing = official_suite.lost(direct, through, neither=NEITHER)
    assert not missing, "\n".join(missing)
