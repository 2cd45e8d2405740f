"""Channels: where people are told that a question is open.

A destination comes from the settings and from nowhere else. What a message holds may be strangers'
words: a channel escapes them for its own format.
"""

from __future__ import annotations

import enum
from typing import Protocol

from midflight.domain.errors import Unavailable
from midflight.domain.notice import Severity
from midflight.domain.value import Value


class Telling(enum.StrEnum):
    """What a message means to its receiver."""

    OPENED = "trigger"
    ACKNOWLEDGED = "acknowledge"
    RESOLVED = "resolve"


class Button(Value):
    """Something that a person can press: a label, and the ticket that comes back when he does."""

    label: str
    ticket: str
    is_danger: bool = False


class Item(Value):
    """One question of a message.

    Attributes:
        notice, subject: ids.
        title: Midflight's own words.
        facts: name and value; the values may be strangers' words.
        buttons: answers that may be given on this channel.
        link: where to look at it, or empty.
    """

    notice: str
    subject: str
    title: str
    facts: tuple[tuple[str, str], ...] = ()
    buttons: tuple[Button, ...] = ()
    link: str = ""

    def __repr__(self) -> str:
        return f"Item(notice={self.notice!r}, subject={self.subject!r})"


class Message(Value):
    """What one contact is told at once.

    Attributes:
        id: the same whenever this very message is sent again.
        thread: what it belongs to; acknowledging and resolving name the same one.
        telling: what it means.
        contact: who is told.
        title: one line.
        severity: how loud.
        items: the questions; of a resolution, none.
        more: how many questions there are besides `items`.
        at: Unix seconds.
    """

    id: str
    thread: str
    telling: Telling
    contact: str
    title: str
    severity: Severity
    at: int
    items: tuple[Item, ...] = ()
    more: int = 0

    def __repr__(self) -> str:
        return f"Message(id={self.id!r}, telling={self.telling.value!r})"


class NotDelivered(Unavailable):
    """A message did not arrive, as far as is known.

    `is_final`: sending it again would end the same way. `after_s`: what the receiver asked to wait.
    Messages name the channel and never where it goes: an address may be a secret.
    """

    code = "not_delivered"
    http_status = 502

    def __init__(self, message: str, *, is_final: bool = False, after_s: int = 0) -> None:
        super().__init__(message)
        self.is_final = is_final
        self.after_s = after_s


class Channel(Protocol):
    """One way to tell people. Safe to call again with the same message."""

    @property
    def name(self) -> str:
        """As the settings call it."""
        ...

    @property
    def tracks(self) -> bool:
        """Whether it wants to hear that a thread was acknowledged or resolved."""
        ...

    async def tell(self, message: Message) -> None:
        """Tell. Bounded in time. `NotDelivered` unless the receiver took it."""
        ...


__all__ = ["Button", "Channel", "Item", "Message", "NotDelivered", "Telling"]
