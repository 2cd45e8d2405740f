"""Policy as agents meet it at the gateway: none at all, a bad change, and what lists show."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from bare_client import Modern, modern

from gateways import Gateway
from midflight.domain.errors import Misconfigured
from midflight.domain.identity import Author
from midflight.domain.records import Observed
from midflight.wire.refusal import REFUSAL
from servers.sdk_server import TOOLS, Served, over_http

pytestmark = pytest.mark.anyio

RUNS = '@id("runs") permit (principal, action == Action::"open_run", resource);\n'
READS = '@id("reads") permit (principal, action in Action::"read", resource);\n'
OLIVIA = Author(name="olivia", proof="peer-uid:1000")


@contextlib.asynccontextmanager
async def gateway_of(
    gateway_factory: Any, served: Served | None = None, *, policy: str
) -> AsyncIterator[Gateway]:
    async with (
        over_http(served) as url,
        gateway_factory(
            [{"name": "one", "url": url, "reach": "closed"}],
            policy=policy,
            approvals={"wait": {"hold": "0s"}},  # nobody answers here
        ) as gateway,
    ):
        await gateway.pin_all()
        yield gateway


async def code_of(agent: Modern, tool: str, **arguments: Any) -> str:
    """The code that a call is refused with, or an empty string."""
    result = (await agent.call(tool, **arguments))["result"]
    return result["_meta"][REFUSAL]["code"] if result["isError"] else ""


async def shown(agent: Modern) -> set[str]:
    return {tool["name"] for tool in (await agent.ask("tools/list"))["result"]["tools"]}


def policy_file(tmp_path: Path) -> Path:
    return tmp_path / "policies" / "test.cedar"


# None at all


async def test_without_a_policy_the_plane_is_up_and_denies_everything(
    gateway_factory: Any, tmp_path: Path
) -> None:
    served = Served()
    async with gateway_of(gateway_factory, served, policy="") as gateway, modern(gateway) as agent:
        async with httpx2.AsyncClient(trust_env=False) as http:
            ready = await http.get(f"{gateway.url}/readyz")
        assert (ready.status_code, ready.json()["missing"]) == (503, ["policy"])
        for tool in ("add", "slow"):
            assert await code_of(agent, tool) == "no_policy"
        assert (await agent.ask("tools/list"))["error"]["data"][REFUSAL]["code"] == "no_policy"
        read = await agent.ask("resources/read", uri="sample://greeting")
        assert read["error"]["data"][REFUSAL]["code"] == "no_policy"
        # The first policies count as soon as they are there.
        policy_file(tmp_path).write_text(RUNS + READS)
        assert await gateway.plane.policies.reload_if_changed()
        assert await code_of(agent, "add", a=1, b=1) == ""
    assert served.calls == ["add"]


async def test_policies_that_went_away_leave_the_last_ones_in_force(
    gateway_factory: Any, tmp_path: Path
) -> None:
    policy = RUNS + READS
    async with gateway_of(gateway_factory, policy=policy) as gateway, modern(gateway) as agent:
        assert await code_of(agent, "add", a=1, b=1) == ""
        policy_file(tmp_path).unlink()
        assert not await gateway.plane.policies.reload_if_changed()
        assert await code_of(agent, "add", a=1, b=1) == ""


# A bad change


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        (RUNS + READS + "permit (principal, action\n", "test.cedar:", "unexpected"),
        (RUNS + READS + "\n\npermit (principal, action, resource);", "test.cedar:5", "@id"),
        (
            RUNS
            + READS
            + '\n@id("typo") permit (principal, action, resource) when { context.rum.untrusted };',
            "test.cedar:4",
            "rum",
        ),
    ],
    ids=["syntax", "no id", "no such attribute"],
)
async def test_a_bad_set_is_refused_with_file_line_and_reason_and_the_old_one_stays(
    text: str, place: str, why: str, gateway_factory: Any, tmp_path: Path
) -> None:
    async with (
        gateway_of(gateway_factory, policy=RUNS + READS) as gateway,
        modern(gateway) as agent,
    ):
        policies = gateway.plane.policies
        before = policies.version
        policy_file(tmp_path).write_text(text)
        with pytest.raises(Misconfigured) as refused:
            await policies.activate(OLIVIA)
        assert any(place in problem and why in problem for problem in refused.value.problems)
        # Found by itself, too, and then said and recorded.
        policy_file(tmp_path).write_text(text + "\n")
        assert not await policies.reload_if_changed()
        assert any(place in problem and why in problem for problem in policies.problems)
        assert policies.version == before
        assert await code_of(agent, "add", a=1, b=1) == ""
        await gateway.plane.ledger.flush()
        tail = [found.record for found in await gateway.plane.ledger.tail(50)]
        [observed] = [r for r in tail if isinstance(r, Observed) and r.what == "policy.refused"]
        assert any(place in problem for problem in observed.details["problems"])


async def test_a_good_change_counts_for_the_next_action_of_a_running_session(
    gateway_factory: Any, tmp_path: Path
) -> None:
    served = Served()
    async with (
        gateway_of(gateway_factory, served, policy=RUNS + READS) as gateway,
        modern(gateway) as agent,
    ):
        assert await code_of(agent, "add", a=1, b=1) == ""
        tool = 'resource == Tool::"one/add"'
        stopped = f'@id("no-add") forbid (principal, action, {tool});\n'
        policy_file(tmp_path).write_text(RUNS + READS + stopped)
        assert await gateway.plane.policies.reload_if_changed()
        assert await code_of(agent, "add", a=1, b=1) == "policy"
        assert "add" not in await shown(agent)
    assert served.calls == ["add"]


# What lists show

LISTED = (
    RUNS
    + """
@id("few") permit (principal, action == Action::"call_tool::one/add", resource)
  when { context.args.a < 10 };
@id("all-asked") permit (principal, action == Action::"call_tool::one/echo", resource);
@id("asks") @approvers("security")
  forbid (principal, action == Action::"call_tool::one/echo", resource)
  unless { context.approval.granted };
@id("told") permit (principal, action == Action::"call_tool::one/tell", resource);
@id("never") forbid (principal, action == Action::"call_tool::one/tell", resource);
"""
)


async def test_a_list_hides_what_no_argument_and_no_approval_could_permit_and_nothing_else(
    gateway_factory: Any,
) -> None:
    served = Served()
    async with (
        gateway_of(gateway_factory, served, policy=LISTED) as gateway,
        modern(gateway) as agent,
    ):
        assert await shown(agent) == {"add", "echo"} < set(TOOLS)
        # What is hidden is denied, and what is shown may be.
        assert await code_of(agent, "tell", steps=1) == "policy"
        assert await code_of(agent, "describe", text="x") == "policy"
        assert await code_of(agent, "add", a=10, b=1) == "policy"
        assert await code_of(agent, "add", a=9, b=1) == ""
        asked = (await agent.call("echo", text="x"))["result"]
        assert asked["_meta"][REFUSAL]["code"] == "approval_required"
        assert "security" in str(asked["_meta"][REFUSAL])
    assert served.calls == ["add"]
