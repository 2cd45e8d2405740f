"""What a message says: the questions of one contact in one message. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def message_of(
    message: str,
    thread: str,
    *,
    contact: str,
    notices: Sequence[Notice],
    item: Callable[[Notice], Item],
    at: int,
    is_digest: bool = False,
) -> Message:
    """The message about some notices, the loudest first."""
    ordered = sorted(notices, key=lambda each: (-_LOUD.index(each.severity), each.created_at))
    kinds = {each.kind for each in ordered}
    if len(ordered) == 1:
        title = ordered[0].title
    elif len(kinds) == 1:
        title = f"{len(ordered)} {_MANY[ordered[0].kind]}"
    else:
        title = f"{len(ordered)} open questions"
    return Message(
        id=message,
        thread=thread,
        telling=Telling.OPENED,
        contact=contact,
        title=f"{title} (digest)" if is_digest else title,
        severity=ordered[0].severity,
        at=at,
        items=tuple(item(each) for each in ordered[:MAX_ITEMS]),
        more=max(0, len(ordered) - MAX_ITEMS),
    )


__all__ = ["MAX_ITEMS", "message_of"]
