"""What stands in a message about one notice, on one channel: facts, arguments, buttons.

Arguments stand where the operator lets a channel have them; they are opened for the message alone.
A button that says yes is there only beside everything that the yes is about: nobody is to agree to
what he was not shown. Above: `escalation_telling.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from midflight.domain.errors import MidflightError
from midflight.domain.notice import Notice, NoticeKind
from midflight.domain.obligation import is_masked
from midflight.domain.plain import plain
from midflight.domain.provenance import ArgumentFacts
from midflight.domain.ticket import Ticket, Verb, sign_ticket
from midflight.domain.traits import Role
from midflight.domain.value import JSON, JSONObject, Value
from midflight.services.approval_desk import ApprovalStatus
from midflight.services.ports.clock import Clock
from midflight.services.ports.notify import Button, Item

MAX_ARGUMENTS = 12
MAX_ARGUMENT = 200
HIDDEN = "[not shown here]"
TICKET_S = 7 * 86_400
"""For how long a button that only acknowledges works."""


class Answering(Value):
    """What a channel may do.

    Attributes:
        may_answer: yes and no of an approval come back from it.
        may_acknowledge: acknowledgements do.
        arguments: it may see what the judged arguments of an action are.
    """

    may_answer: bool = False
    may_acknowledge: bool = False
    arguments: bool = False


class Shows(Protocol):
    """Shows an approval with its arguments (`ApprovalDesk.show`)."""

    async def show(self, approval_id: str) -> ApprovalStatus:
        """`NotFound` if there is none."""
        ...


class EscalationItems:
    """See the module. `key` must be set before the first message."""

    def __init__(
        self,
        *,
        shows: Shows,
        clock: Clock,
        channels: Mapping[str, Answering],
        is_secret: Callable[[str, str], bool],
        link: Callable[[Notice], str] = lambda _notice: "",
    ) -> None:
        """`is_secret` says of (name, text) whether it looks like a credential."""
        self.key = b""
        self._shows = shows
        self._clock = clock
        self._channels = channels
        self._is_secret = is_secret
        self._link = link

    async def item(self, notice: Notice, channel: str) -> Item:
        """What stands there."""
        may = self._channels.get(channel, Answering())
        # A reason, a name or what a detector saw may repeat a credential.
        facts = tuple(
            (name, HIDDEN if self._is_secret("", value) else value) for name, value in notice.facts
        )
        is_whole = False
        if notice.kind is NoticeKind.APPROVAL and may.arguments:
            shown, is_whole = await self._arguments(notice)
            facts = (*facts, *shown)
        return Item(
            notice=notice.id,
            subject=notice.subject,
            title=notice.title,
            facts=facts,
            buttons=tuple(self._buttons(notice, channel, may, may_agree=is_whole)),
            link=self._link(notice),
        )

    async def _arguments(self, notice: Notice) -> tuple[list[tuple[str, str]], bool]:
        """The arguments, with where they come from; and whether that is all there is to see."""
        try:
            status = await self._shows.show(notice.subject)
        except MidflightError:
            return [], False
        if status.arguments is None or status.digest != notice.digest:
            return [], False
        shown: list[tuple[str, str]] = []
        origins = status.facts.flow.arguments
        is_whole = True
        for path, text in _leaves([status.arguments, *_besides(status.params)]):
            if len(shown) >= MAX_ARGUMENTS:
                return shown, False
            name = plain(path, 60)
            value = plain(text, MAX_ARGUMENT)
            roles = [each for each in origins if each.path == path]
            if self._is_hidden(path, text, roles):
                value, is_whole = HIDDEN, False
            elif value != text or name != path:
                # Shortened, or with characters that hide: to be looked at where it can be read.
                is_whole = False
            came = ", ".join(dict.fromkeys(each.origin.value for each in roles))
            # Under a name that none of our own facts has: an argument may be called like one.
            shown.append((f"argument {name}", f"{value} ({came})" if came else value))
        return shown, is_whole

    def _is_hidden(self, path: str, text: str, roles: Sequence[ArgumentFacts]) -> bool:
        return (
            is_masked(text)
            or any(each.role is Role.CREDENTIAL for each in roles)
            or self._is_secret(path, text)
        )

    def _buttons(
        self, notice: Notice, channel: str, may: Answering, *, may_agree: bool
    ) -> Iterator[Button]:
        if may.may_answer and notice.kind is NoticeKind.APPROVAL:
            until = notice.expires_at
            if may_agree:
                yield self._button("Approve", Verb.APPROVE, notice, channel, until)
            yield self._button("Refuse", Verb.REFUSE, notice, channel, until, is_danger=True)
        if may.may_acknowledge:
            until = int(self._clock.now()) + TICKET_S
            yield self._button("I have it", Verb.ACKNOWLEDGE, notice, channel, until)

    def _button(
        self,
        label: str,
        verb: Verb,
        notice: Notice,
        channel: str,
        until: int,
        *,
        is_danger: bool = False,
    ) -> Button:
        is_answer = verb is not Verb.ACKNOWLEDGE
        ticket = Ticket(
            verb=verb,
            subject=notice.subject if is_answer else notice.id,
            digest=notice.digest if is_answer else "",
            channel=channel,
            expires_at=until,
        )
        return Button(label=label, ticket=sign_ticket(ticket, self.key), is_danger=is_danger)


def _besides(params: JSONObject | None) -> list[JSON]:
    return [params] if params else []


def _leaves(values: Sequence[JSON]) -> Iterator[tuple[str, str]]:
    """Every value with its path, in order; empty lists and objects as what they are."""
    for value in values:
        yield from _leaves_of(value, "")


def _leaves_of(value: JSON, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case dict() if value:
            for name, inner in value.items():
                yield from _leaves_of(inner, f"{path}.{name}" if path else name)
        case list() if value:
            for number, inner in enumerate(value):
                yield from _leaves_of(inner, f"{path}[{number}]")
        case dict() | list():
            if path:
                yield path, "none"
        case str():
            yield path, value
        case bool():
            yield path, "true" if value else "false"
        case None:
            yield path, "null"
        case _:
            yield path, str(value)


__all__ = ["HIDDEN", "Answering", "EscalationItems", "Shows"]
