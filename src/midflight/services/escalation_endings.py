"""Telling those who keep track of a question (PagerDuty, Opsgenie) who has it, and its end.

At least once, as far as anybody listens: a try that fails is repeated, and what ended shortly
before a process died is told again by the next one. Receivers take the same twice.
Above: `escalation_telling.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog

from midflight.domain.notice import Notice, NoticeState
from midflight.domain.value import Value
from midflight.services.escalation import Escalation
from midflight.services.ports.clock import Clock
from midflight.services.ports.notify import Channel, Message, NotDelivered, Telling

LATELY_S = 3_600
"""How far back a new process looks for what the last one may not have told."""
MAX_TRIES = 6
WAIT_S = 30
MAX_WAITING = 5_000

log = structlog.get_logger(__name__)


class _Ending(Value):
    notice: Notice
    tries: int = 0
    after: float = 0.0


class EscalationEndings:
    """See the module. One event loop."""

    def __init__(
        self,
        escalation: Escalation,
        *,
        channels: Mapping[str, Channel],
        clock: Clock,
        reach: Callable[[Channel, Message], Awaitable[None]],
    ) -> None:
        """`reach` tells one message on one channel, bounded; `NotDelivered` if it cannot."""
        self._escalation = escalation
        self._channels = channels
        self._clock = clock
        self._reach = reach
        self._waiting: list[_Ending] = []
        escalation.on_changed(self.add)

    def add(self, notice: Notice) -> None:
        """A notice was acknowledged, or has ended."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(_Ending(notice=notice))

    async def start(self) -> None:
        """Take up what ended lately."""
        since = int(self._clock.now()) - LATELY_S
        for notice in await self._escalation.history():
            if max(notice.ended_at, notice.acknowledged_at) > since:
                self.add(notice)

    async def tick(self) -> None:
        """Tell what is due."""
        mono = self._clock.monotonic()
        due = [each for each in self._waiting if each.after <= mono]
        if not due:
            return
        self._waiting = [each for each in self._waiting if each.after > mono]
        waiting = await self._escalation.open_notices()
        # A thread of several questions has somebody once all do, and ends with the last of them.
        unended = {thread for each in waiting for thread in each.threads}
        unanswered = {
            thread for each in waiting if each.state is NoticeState.OPEN for thread in each.threads
        }
        for ending in due:
            is_over = ending.notice.state is NoticeState.RESOLVED
            for thread in ending.notice.threads:
                if thread not in unended and is_over:
                    await self._tell(ending, thread, Telling.RESOLVED)
                elif thread not in unanswered:
                    await self._tell(ending, thread, Telling.ACKNOWLEDGED)

    async def _tell(self, ending: _Ending, thread: str, telling: Telling) -> None:
        notice = ending.notice
        for name in dict.fromkeys(name for each in notice.told for name in each.channels):
            channel = self._channels.get(name)
            if channel is None or not channel.tracks:
                continue
            message = Message(
                id=f"{notice.id}.{telling.value}",
                thread=thread,
                telling=telling,
                contact=notice.by,
                title=notice.title,
                severity=notice.severity,
                at=int(self._clock.now()),
            )
            try:
                await self._reach(channel, message)
            except NotDelivered as error:
                log.warning("end_not_told", channel=name, why=error.message)
                if not error.is_final and ending.tries + 1 < MAX_TRIES:
                    after = self._clock.monotonic() + WAIT_S * 2**ending.tries
                    self._waiting.append(
                        _Ending(notice=notice, tries=ending.tries + 1, after=after)
                    )
                    return


__all__ = ["LATELY_S", "EscalationEndings"]
