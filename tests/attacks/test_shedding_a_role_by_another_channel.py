"""Somebody answers by a channel that does not know what his account says against him."""

from __future__ import annotations

from pathlib import Path

import pytest
from approver_kit import OPERATOR, approving

from midflight.domain.errors import Forbidden
from midflight.domain.identity import Author
from midflight.domain.records import ApprovalAnswered

pytestmark = pytest.mark.anyio

WAYS = ("slack:T0OURS/U0ADA", "webhook:pager/ada", "peer-uid:1000", "operator-token:ada")


@pytest.mark.parametrize("way", WAYS)
async def test_who_is_of_the_owner_by_his_account_is_so_in_every_channel(
    tmp_path: Path, way: str
) -> None:
    groups = {"approvals": {"groups": {"security": ["ada", "bob"]}}}
    async with approving(tmp_path, approvers="security, !owner", **groups) as served:
        await served.accounts.add("ada", OPERATOR, groups=["team-one"])
        approval = await served.ask()
        with pytest.raises(Forbidden, match="none of the approvers"):
            await served.desk.approve(approval, author=Author(name="ada", proof=way))
        assert await served.records(ApprovalAnswered) == []
        # Another of the same group is nobody's own.
        done = await served.desk.approve(approval, author=Author(name="bob", proof=way))
        assert done.state.value == "approved"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verb", ["approve", "refuse"])
async def test_a_disabled_account_answers_by_no_channel(
    tmp_path: Path, way: str, verb: str
) -> None:
    groups = {"approvals": {"groups": {"team-one": ["ada"]}}}
    async with approving(tmp_path, **groups) as served:
        await served.accounts.add("ada", OPERATOR)
        await served.accounts.change("ada", OPERATOR, disabled=True)
        approval = await served.ask()
        with pytest.raises(Forbidden, match="disabled"):
            await getattr(served.desk, verb)(approval, author=Author(name="ada", proof=way))
        assert (await served.desk.show(approval)).state.value == "pending"
        assert await served.records(ApprovalAnswered) == []


async def test_groups_of_an_account_give_nothing_where_nobody_signed_in_to_it(
    tmp_path: Path,
) -> None:
    async with approving(tmp_path, approvers="security") as served:
        await served.accounts.add("ada", OPERATOR, groups=["security"])
        approval = await served.ask()
        with pytest.raises(Forbidden, match="none of the approvers"):
            await served.desk.approve(approval, author=Author(name="ada", proof="slack:T0/U0"))
