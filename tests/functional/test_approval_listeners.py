"""Whoever wants to know hears of questions, and of what becomes of them."""

from __future__ import annotations

import pytest
from approval_kit import OWNER, AskingPlane

from midflight.domain.approval import ApprovalRequest
from midflight.domain.identity import Author
from midflight.testing import OPERATOR

pytestmark = pytest.mark.anyio


class Heard:
    def __init__(self, plane: AskingPlane) -> None:
        self.filed: list[ApprovalRequest] = []
        self.settled: list[tuple[str, str]] = []
        self._plane = plane
        plane.approvals.on_filed(self.filed.append)
        plane.approvals.on_settled(self._note)

    def _note(self, approval: str) -> None:
        # As the store has it in that very turn: who is told can look it up at once.
        stored = self._plane.store._approvals[approval]
        self.settled.append((approval, stored.state.value))


async def test_a_question_is_heard_of_once_however_often_the_agent_asks() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    heard = Heard(plane)
    approval = await plane.ask(run, to="bob@x.org")
    assert await plane.ask(run, to="bob@x.org") == approval
    assert [(r.id, r.run, r.name) for r in heard.filed] == [(approval, run, "send")]
    assert heard.settled == []
    await plane.close()


async def test_a_decision_is_heard_of_when_it_is_whole() -> None:
    plane = AskingPlane(groups={"security": ["bob"]})
    plane.asking.approvers = ("owner", "security")
    run = await plane.begin()
    heard = Heard(plane)
    both = await plane.ask(run, to="bob@x.org")
    await plane.desk.approve(both, author=OWNER)
    assert heard.settled == []
    await plane.desk.approve(both, author=Author(name="bob", proof="peer-uid:1002"))
    refused = await plane.ask(run, to="eve@x.org")
    await plane.desk.refuse(refused, author=OWNER)
    assert heard.settled == [(both, "approved"), (refused, "refused")]
    await plane.close()


async def test_an_end_without_an_answer_is_heard_of() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    heard = Heard(plane)
    late = await plane.ask(run, to="late@x.org")
    plane.clock.advance(601)
    await plane.approvals.sweep()
    orphan = await plane.ask(run, to="orphan@x.org")
    await plane.runs.close_run(run, author=OPERATOR)
    await plane.close()
    assert heard.settled == [(late, "expired"), (orphan, "void")]
