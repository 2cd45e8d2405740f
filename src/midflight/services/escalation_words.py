"""What a message says: the questions of one contact in one message. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter

from midflight.domain.notice import Notice, NoticeKind, Severity
from midflight.services.ports.notify import Item, Message, Telling

MAX_ITEMS = 10
"""Questions that one message shows; the number of the others stands below."""

_LOUD = list(Severity)
_MANY = {
    NoticeKind.APPROVAL: "actions wait for approval",
    NoticeKind.FINDING: "findings",
    NoticeKind.REVOCATION: "revocations",
    NoticeKind.LEASE: "credentials cannot be taken back",
    NoticeKind.BREAK_GLASS: "break-glass openings",
}


def rank(notice: Notice) -> tuple[int, int]:
    """What is told first has the smallest: the loudest, and of these the oldest."""
    return -_LOUD.index(notice.severity), notice.created_at


def loudest_first(notices: Sequence[Notice]) -> Sequence[Notice]:
    """In the order in which a message shows them.

    What is critical comes first, then workloads in turn: one that makes much noise must not push
    the questions of others out of sight.
    """
    turns: Counter[str] = Counter()
    ordered: list[tuple[bool, int, int, Notice]] = []
    for number, each in enumerate(sorted(notices, key=rank)):
        whose = each.workload or each.owner
        is_critical = each.severity is Severity.CRITICAL
        ordered.append((not is_critical, 0 if is_critical else turns[whose], number, each))
        turns[whose] += 1
    return [each for *_, each in sorted(ordered, key=itemgetter(0, 1, 2))]


def message_of(
    message: str,
    thread: str,
    *,
    contact: str,
    notices: Sequence[Notice],
    items: Sequence[Item],
    at: int,
    is_digest: bool = False,
) -> Message:
    """The message about some notices in this order, and what stands in it of the first of them."""
    kinds = {each.kind for each in notices}
    if len(notices) == 1:
        title = notices[0].title
    elif len(kinds) == 1:
        title = f"{len(notices)} {_MANY[notices[0].kind]}"
    else:
        title = f"{len(notices)} open questions"
    return Message(
        id=message,
        thread=thread,
        telling=Telling.OPENED,
        contact=contact,
        title=f"{title} (digest)" if is_digest else title,
        severity=notices[0].severity,
        at=at,
        items=tuple(items),
        more=len(notices) - len(items),
    )


__all__ = ["MAX_ITEMS", "loudest_first", "message_of", "rank"]
