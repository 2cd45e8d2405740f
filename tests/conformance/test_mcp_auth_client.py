"""The MCP conformance suite's scenarios for clients that must authorize, with Midflight as one.

The suite starts an upstream and its authorization servers, and judges what it sees; it runs once a
revision of MCP, all scenarios side by side. What Midflight does is in `mcp_auth_client.py`.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance.mcp_auth_client import doorkeeper
from conformance.official_suite import Check, client_scenarios, run_client

pytestmark = [pytest.mark.conformance, pytest.mark.mcp_conformance]

KNOCK = Path(__file__).with_name("mcp_auth_knock.py")
CALLED = r"called\Z"
MIXED_UP = r"Forbidden: The answer does not come from "

# What becomes of it, besides what the suite says: a refusal is by the check that is meant.
CLAIMED: Mapping[str, str] = {
    "auth/2025-03-26-oauth-metadata-backcompat": CALLED,
    "auth/authorization-server-migration": CALLED,
    "auth/basic-cimd": CALLED,
    "auth/client-credentials-basic": CALLED,
    "auth/client-credentials-jwt": CALLED,
    "auth/dpop": CALLED,
    "auth/dpop-nonce": CALLED,
    "auth/enterprise-managed-authorization": CALLED,
    "auth/iss-normalized": MIXED_UP,
    "auth/iss-not-advertised": CALLED,
    "auth/iss-supported": CALLED,
    "auth/iss-supported-missing": MIXED_UP,
    "auth/iss-unexpected": MIXED_UP,
    "auth/iss-wrong-issuer": MIXED_UP,
    "auth/metadata-default": CALLED,
    "auth/metadata-issuer-mismatch": r"Misconfigured: .* that of another issuer",
    "auth/metadata-var1": CALLED,
    "auth/metadata-var2": CALLED,
    "auth/metadata-var3": CALLED,
    "auth/offline-access-not-supported": CALLED,
    "auth/offline-access-scope": CALLED,
    "auth/pre-registration": CALLED,
    "auth/resource-mismatch": r"Misconfigured: .* that of another resource",
    "auth/scope-from-scopes-supported": CALLED,
    "auth/scope-from-www-authenticate": CALLED,
    "auth/scope-omitted-when-undefined": CALLED,
    # Asked once and never again: wider scopes are an operator's to give.
    "auth/scope-retry-limit": r"UpstreamUnavailable: .* status 403",
    "auth/scope-step-up": CALLED,
    "auth/token-endpoint-auth-basic": CALLED,
    "auth/token-endpoint-auth-none": CALLED,
    "auth/token-endpoint-auth-post": CALLED,
    "auth/wif-jwt-bearer": CALLED,
}

NOT_CLAIMED: Mapping[str, str] = {
    "auth/2025-03-26-oauth-endpoint-fallback": "Endpoints are guessed at the upstream's own host "
    "when nobody names any. The revisions since 2025-06-18 have no such thing, and a guess is no "
    "ground for showing anybody a credential.",
}

RUNS: Mapping[str, tuple[str, ...]] = {
    "2025-11-25": ("--suite", "all", "--spec-version", "2025-11-25"),
    "2026-07-28": ("--suite", "all", "--spec-version", "2026-07-28"),
    "extension": ("--suite", "extensions"),
    "2025-03-26": ("--suite", "backcompat"),
}
"""Marks that the suite lists scenarios with, and the run that holds those. The marks 2025-06-18 are
of scenarios that later revisions have as well."""


@dataclass(frozen=True)
class Played:
    """One scenario of one run: what the suite says, and what Midflight said."""

    checks: tuple[Check, ...]
    outcome: str


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], Played]:
    """By scenario and run."""
    found: dict[tuple[str, str], Played] = {}

    async def play(mark: str) -> None:
        folder = tmp_path_factory.mktemp("suite")
        async with doorkeeper(folder) as door:
            command = f"{sys.executable} -I -S {KNOCK} {door.path}"
            checks = await run_client(command, folder / "results", *RUNS[mark])
        for scenario, each in checks.items():
            if scenario.startswith("auth/"):
                found[scenario, mark] = Played(tuple(each), door.outcomes[scenario])

    for mark in RUNS:
        asyncio.run(play(mark))
    return found


def test_every_scenario_of_the_suite_is_claimed_or_has_a_reason() -> None:
    assert not CLAIMED.keys() & NOT_CLAIMED.keys()
    listed = {name for name in client_scenarios() if name.startswith("auth/")}
    assert CLAIMED.keys() | NOT_CLAIMED.keys() == listed


def test_every_scenario_is_run_at_every_revision_that_it_is_listed_with(
    played: Mapping[tuple[str, str], Played],
) -> None:
    listed = {
        (name, mark)
        for name, marks in client_scenarios().items()
        for mark in marks
        if name.startswith("auth/") and mark in RUNS
    }
    assert played.keys() == listed


@pytest.mark.parametrize("scenario", sorted(CLAIMED))
def test_every_check_of_a_scenario_passes(
    played: Mapping[tuple[str, str], Played], scenario: str
) -> None:
    runs = {mark: one for (name, mark), one in played.items() if name == scenario}
    assert runs
    for mark, one in runs.items():
        assert re.match(CLAIMED[scenario], one.outcome), (mark, one.outcome)
        assert one.checks, mark
        assert {check.status for check in one.checks} == {"SUCCESS"}, (mark, one.checks)
