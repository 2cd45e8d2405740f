"""Operations on open questions: seeing what waits, for whom and since when; saying who has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.notice import Notice, NoticeKind, NoticeState, Severity
from midflight.domain.value import Value


class WantedNotices(Input):
    """Which notices: those that are not over, or all of the last 30 days."""

    every: bool = False


class NamedNotice(Input):
    """A notice by its id, or by the id of what it is about."""

    id: str


class OpenQuestion(Value):
    """Something that waits for people.

    Attributes:
        notice, kind, subject, title, severity: what it is.
        owner, workload, run: whose it is; the owner is empty where none is registered.
        state: `open`, or `acknowledged` by `by`.
        age_s: for how long it has waited.
        told: who was told, in order.
        next: who is told next, or again; empty where nobody can be.
        next_at: when, in Unix seconds; 0 where nobody will be.
        is_exhausted: everybody was told and nobody has answered.
        expires_at: when it ends by itself, in Unix seconds; 0: it does not.
    """

    notice: str
    kind: NoticeKind
    subject: str
    title: str
    severity: Severity
    owner: str
    workload: str
    run: str
    state: NoticeState
    by: str
    age_s: int
    told: Sequence[str]
    next: str
    next_at: int
    is_exhausted: bool
    expires_at: int


class NoticeVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._escalation = plane.escalating.escalation
        self._clock = plane.clock

    async def list_open(self, given: Empty, operator: Operator) -> Sequence[OpenQuestion]:
        """What waits for people, oldest first."""
        del given, operator
        now = int(self._clock.now())
        return [_question(each, now=now) for each in await self._escalation.open_notices()]

    async def list_notices(self, given: WantedNotices, operator: Operator) -> Sequence[Notice]:
        """Notices as they are kept."""
        del operator
        if given.every:
            return await self._escalation.history()
        return await self._escalation.open_notices()

    async def show_notice(self, given: NamedNotice, operator: Operator) -> Notice:
        """One notice."""
        del operator
        return await self._escalation.show(given.id)

    async def acknowledge(self, given: NamedNotice, operator: Operator) -> Notice:
        """The operator has it."""
        return await self._escalation.acknowledge(given.id, author=operator.author)

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/open",
                summary="What waits for people: how long, whose, who is told next and when.",
                input=Empty,
                answer=list[OpenQuestion],
                act=self.list_open,
            ),
            Operation(
                method="GET",
                path="/v1/notices",
                summary="Notices: whom open questions were told to.",
                input=WantedNotices,
                answer=list[Notice],
                act=self.list_notices,
            ),
            Operation(
                method="GET",
                path="/v1/notices/{id}",
                summary="One notice, with everybody who was told.",
                input=NamedNotice,
                answer=Notice,
                act=self.show_notice,
            ),
            Operation(
                method="POST",
                path="/v1/notices/{id}/acknowledge",
                summary="Say that you have it: nobody else is told.",
                input=NamedNotice,
                answer=Notice,
                act=self.acknowledge,
            ),
        )


def _question(notice: Notice, *, now: int) -> OpenQuestion:
    is_told_on = notice.state is NoticeState.OPEN and bool(notice.chain)
    return OpenQuestion(
        notice=notice.id,
        kind=notice.kind,
        subject=notice.subject,
        title=notice.title,
        severity=notice.severity,
        owner=notice.owner,
        workload=notice.workload,
        run=notice.run,
        state=notice.state,
        by=notice.by,
        age_s=max(0, now - notice.created_at),
        told=[each.contact for each in notice.told],
        next=notice.contact if is_told_on else "",
        next_at=notice.due_at if is_told_on else 0,
        is_exhausted=notice.is_exhausted and notice.state is NoticeState.OPEN,
        expires_at=notice.expires_at,
    )


__all__ = ["NamedNotice", "NoticeVerbs", "OpenQuestion", "WantedNotices"]
