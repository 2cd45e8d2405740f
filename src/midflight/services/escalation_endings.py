"""Telling those who keep track of a question (PagerDuty, Opsgenie) who has it, and its end.

At least once, as far as anybody listens: a try that fails is repeated, and what ended shortly
before a process died is told again by the next one. Receivers take the same twice.
Above: `escalation_telling.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
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
    """What may have to be told; `done` are (thread, telling, channel) that have heard."""

    notice: Notice
    tries: int = 0
    after: float = 0.0
    done: frozenset[tuple[str, Telling, str]] = frozenset()


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
        self._wait(_Ending(notice=notice))

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
        heard: set[tuple[str, Telling, str]] = set()
        down: set[str] = set()
        for ending in due:
            is_over = ending.notice.state is NoticeState.RESOLVED
            wanted: list[tuple[str, Telling]] = []
            for thread in ending.notice.threads:
                if thread not in unended and is_over:
                    wanted.append((thread, Telling.RESOLVED))
                elif thread not in unanswered:
                    wanted.append((thread, Telling.ACKNOWLEDGED))
            await self._tell(ending, wanted, heard=heard, down=down)

    # Inside

    async def _tell(
        self,
        ending: _Ending,
        wanted: Sequence[tuple[str, Telling]],
        *,
        heard: set[tuple[str, Telling, str]],
        down: set[str],
    ) -> None:
        """Tell each of the channels once; all that failed is tried again as one.

        `heard` is what was told in this round, and `down` which channels failed in it: one that
        hangs must not be waited for again and again.
        """
        failed, done = False, set(ending.done)
        for thread, telling in wanted:
            for name in self._tracking(ending.notice):
                said = (thread, telling, name)
                if said in done or said in heard:
                    done.add(said)
                elif name not in down and await self._told(ending.notice, thread, telling, name):
                    heard.add(said)
                    done.add(said)
                else:
                    down.add(name)
                    failed = True
        if failed and ending.tries + 1 < MAX_TRIES:
            after = self._clock.monotonic() + WAIT_S * 2**ending.tries
            again = msgspec.structs.replace(
                ending, tries=ending.tries + 1, after=after, done=frozenset(done)
            )
            self._wait(again)

    async def _told(self, notice: Notice, thread: str, telling: Telling, name: str) -> bool:
        """Whether that is settled: it was taken, or never will be."""
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
            await self._reach(self._channels[name], message)
        except NotDelivered as error:
            log.warning("end_not_told", channel=name, why=error.message)
            return error.is_final
        return True

    def _tracking(self, notice: Notice) -> Sequence[str]:
        names = dict.fromkeys(name for each in notice.told for name in each.channels)
        return [name for name in names if name in self._channels and self._channels[name].tracks]

    def _wait(self, ending: _Ending) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(ending)
        else:
            log.warning("end_not_told", notice=ending.notice.id, why="too many wait")


__all__ = ["LATELY_S", "EscalationEndings"]
