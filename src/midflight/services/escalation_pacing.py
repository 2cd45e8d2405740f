"""Whom is told what now: what belongs together in one message, and not too often.

One contact gets one message for all that waits of one group, at most one a minute of each group,
and so many messages a minute altogether; what is more comes as one digest. Decides and tells
nobody. Above: `escalation_telling.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from midflight.domain.notice import Notice
from midflight.domain.value import Value
from midflight.services.escalation_words import loudest_first
from midflight.services.ports.clock import Clock

MAX_BATCH = 500
"""Notices of one message."""
_PREFIX = "msg_"


class Pace(Value):
    """How often one contact is told.

    Attributes:
        per_minute: messages of all kinds.
        group_s: seconds between two of the same group.
        repeat_s: until the last of all contacts, who has not answered, is told again.
    """

    per_minute: int = 6
    group_s: int = 60
    repeat_s: int = 86_400


class Batch(Value):
    """Notices that go to one contact in one message."""

    contact: str
    message: str
    thread: str
    notices: tuple[Notice, ...]
    is_digest: bool = False


class Pacing:
    """See the module. What was told when is known to this process alone."""

    def __init__(self, pace: Pace, clock: Clock) -> None:
        self._pace = pace
        self._clock = clock
        # When each contact was told, and of which group, in monotonic seconds of this process.
        self._sent: dict[str, list[float]] = {}
        self._groups: dict[tuple[str, str], float] = {}

    def batches(self, due: Sequence[Notice]) -> list[Batch]:
        """What is told in this tick. What has to wait for its pace is simply not in it."""
        mono = self._clock.monotonic()
        found: list[Batch] = []
        fresh: dict[str, dict[str, list[Notice]]] = {}
        again: dict[tuple[str, str], list[Notice]] = {}
        for notice in due:
            if notice.sending:
                again.setdefault((notice.contact, notice.sending), []).append(notice)
            else:
                groups = fresh.setdefault(notice.contact, {})
                groups.setdefault(notice.group or notice.id, []).append(notice)
        # What may have been sent before goes again whole, under its id; receivers drop it.
        for (who, message), told in again.items():
            is_digest = any(message in each.threads for each in told)
            thread = message if is_digest else _thread(told)
            found.append(
                Batch(
                    contact=who,
                    message=message,
                    thread=thread,
                    notices=tuple(told),
                    is_digest=is_digest,
                )
            )
        for contact, groups in fresh.items():
            found += self._fresh(contact, groups, mono)
        return found

    def _fresh(
        self, contact: str, groups: Mapping[str, Sequence[Notice]], mono: float
    ) -> list[Batch]:
        sent = self._sent.setdefault(contact, [])
        sent[:] = [at for at in sent if mono - at < 60]
        ready = {
            group: notices
            for group, notices in groups.items()
            if mono - self._groups.get((contact, group), float("-inf")) >= self._pace.group_s
        }
        room = self._pace.per_minute - len(sent)
        if not ready or room <= 0:
            return []
        # The last message that there is room for takes all the rest with it.
        waiting = [(each, name) for name, notices in ready.items() for each in notices]
        group_of = {each.id: name for each, name in waiting}
        ordered = loudest_first([each for each, _ in waiting])
        names = list(dict.fromkeys(group_of[each.id] for each in ordered))
        alone = names if len(names) <= room else names[: room - 1]
        rest = names[len(alone) :]
        found = [self._batch(contact, ready[name]) for name in alone]
        if rest:
            found.append(
                self._batch(contact, [each for name in rest for each in ready[name]], digest=True)
            )
        sent.extend(mono for _ in found)
        for group in ready:
            self._groups[contact, group] = mono
        if len(self._groups) > 10_000:  # a bound; forgetting only tells somebody earlier
            self._groups = {k: at for k, at in self._groups.items() if mono - at < 60}
        return found

    def _batch(self, contact: str, notices: Sequence[Notice], *, digest: bool = False) -> Batch:
        kept = tuple(notices[:MAX_BATCH])
        names = " ".join(f"{each.id}.{each.step}" for each in kept)
        made = _PREFIX + hashlib.sha256(f"{contact} {names}".encode()).hexdigest()[:32]
        thread = made if digest else _thread(kept)
        return Batch(contact=contact, message=made, thread=thread, notices=kept, is_digest=digest)


def _thread(notices: Sequence[Notice]) -> str:
    """What receivers call these: as the first of them was called before, or by its id.

    Not as a digest, which was about others as well.
    """
    first = notices[0]
    return next((each for each in first.threads if not each.startswith(_PREFIX)), first.id)


__all__ = ["MAX_BATCH", "Batch", "Pace", "Pacing"]
