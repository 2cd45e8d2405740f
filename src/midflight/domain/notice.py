"""A notice: an open question, whom it is told to, in which order, and how it ends.

    open ──► acknowledged   somebody has it; nobody else is told
         ──► resolved       the question is answered, lifted, reviewed, or over
    acknowledged ──► resolved

While open it is told to one contact after another: `step` is who is next, `due_at` when. What is
being told is written down first (`sending`), so that a process that dies in between tells the same
again under the same id, and a receiver can drop what it has. Pure: `services/escalation.py` keeps
notices, `services/escalation_telling.py` tells them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import msgspec

from midflight.domain.errors import Conflict
from midflight.domain.plain import plain
from midflight.domain.value import Value

MAX_CHAIN = 10
"""Contacts that one question goes to."""
MAX_ATTEMPTS = 5
"""Tries to reach one contact before the next one is told."""
MAX_FACTS = 12
MAX_FACT = 200
MAX_TOLD = 50
"""Tellings that a notice remembers; the ledger has all."""


class NoticeKind(enum.StrEnum):
    """What a notice is about. Stored in records: append, never change."""

    APPROVAL = "approval"
    FINDING = "finding"
    REVOCATION = "revocation"
    LEASE = "lease"
    BREAK_GLASS = "break_glass"


class NoticeState(enum.StrEnum):
    """States of a notice. Stored: append, never change."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Severity(enum.StrEnum):
    """How loud it is told; the words of PagerDuty's Events API."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


TRANSITIONS: dict[NoticeState, frozenset[NoticeState]] = {
    NoticeState.OPEN: frozenset({NoticeState.ACKNOWLEDGED, NoticeState.RESOLVED}),
    NoticeState.ACKNOWLEDGED: frozenset({NoticeState.RESOLVED}),
    NoticeState.RESOLVED: frozenset(),
}
"""What may follow what."""


class Contact(Value):
    """Somebody who can be told: a person, a team, a rota.

    Attributes:
        name: as owners, approvers and escalation contacts are called.
        channels: where, in order: the first one that takes a message has told the contact.
        every: tell on all of the channels instead.
        next: who is told when this one does not answer.
        answer_within: seconds this one has for an acknowledgement.
    """

    name: str
    channels: tuple[str, ...] = ()
    every: bool = False
    next: str = ""
    answer_within: int = 900


class Told(Value):
    """One telling: to whom, by which channels, when, under which id."""

    contact: str
    channels: tuple[str, ...]
    at: int
    message: str


class Notice(Value):
    """One open question.

    Attributes:
        id: `ntc_` and 26 characters.
        kind, subject: what it is about: `apr_…`, `fnd_…`, `rev_…`, a lease, `brk_…`.
        title: what it says, in Midflight's own words.
        facts: name and value of what people should know; values may be strangers' words.
        severity: how loud.
        owner, workload, run: whose question it is; empty where there is none.
        digest: of the action, for an approval.
        group: notices of the same group are told together.
        chain: contacts in order; empty where nobody can be told.
        together: how many of them are told at once, before anybody has time to answer.
        ends_with_ack: nothing else ends it, so an acknowledgement does.
        created_at, expires_at: Unix seconds; 0 where it does not end by itself.
        state: see there.
        step: whom to tell next: an index into `chain`, which its last entry goes on behind.
        due_at: when, in Unix seconds.
        wait: seconds from then back to when that was set; a clock that was stepped back shows.
        attempts: how often that was tried in vain.
        sending: id of the message that is being told now, else empty.
        threads: what receivers call it: what an acknowledgement names, and a resolution ends.
        told: the tellings, oldest first.
        by, proof, ended_at, why: who acknowledged it and how that is known; when and why it ended.
        version: counts the changes, so that two of them cannot cross.
    """

    id: str
    kind: NoticeKind
    subject: str
    title: str
    facts: tuple[tuple[str, str], ...] = ()
    severity: Severity = Severity.WARNING
    owner: str = ""
    workload: str = ""
    run: str = ""
    digest: str = ""
    group: str = ""
    chain: tuple[str, ...] = ()
    together: int = 1
    ends_with_ack: bool = False
    created_at: int = 0
    expires_at: int = 0
    state: NoticeState = NoticeState.OPEN
    step: int = 0
    due_at: int = 0
    wait: int = 0
    attempts: int = 0
    sending: str = ""
    threads: tuple[str, ...] = ()
    told: tuple[Told, ...] = ()
    by: str = ""
    proof: str = ""
    acknowledged_at: int = 0
    ended_at: int = 0
    why: str = ""
    version: int = 0

    def __repr__(self) -> str:
        return f"Notice(id={self.id!r}, subject={self.subject!r}, state={self.state.value!r})"

    @property
    def contact(self) -> str:
        """Who is told next; empty where nobody can be."""
        return self.chain[min(self.step, len(self.chain) - 1)] if self.chain else ""

    @property
    def is_exhausted(self) -> bool:
        """Whether everybody has been told and nobody has answered."""
        return self.step >= len(self.chain)

    def is_due(self, now: int) -> bool:
        """Whether somebody is to be told now.

        A clock that was stepped back makes it due, too: rather early than never.
        """
        if self.state is not NoticeState.OPEN or not self.chain:
            return False
        return now >= self.due_at or self.due_at - now > self.wait


def chain_of(
    first: Sequence[str], *, contacts: Mapping[str, Contact], default: str = ""
) -> tuple[str, ...]:
    """Whom a question goes to: those of `first` that are known, then each `next` of the last.

    Nobody twice. Where none of `first` is known: `default` and those behind it.
    """
    chain = list(dict.fromkeys(name for name in first if name in contacts))[:MAX_CHAIN]
    if not chain and default in contacts:
        chain.append(default)
    while chain and len(chain) < MAX_CHAIN:
        following = contacts[chain[-1]].next
        if following not in contacts or following in chain:
            break
        chain.append(following)
    return tuple(chain)


def facts_of(pairs: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Facts as notices keep them: few, short, one line each; empty ones are left out."""
    kept = [(name, plain(value, MAX_FACT)) for name, value in pairs.items() if value]
    return tuple(kept[:MAX_FACTS])


def begun(notice: Notice, message: str, thread: str) -> Notice:
    """It is about to be told in `message`. `Conflict` unless it is open.

    One that is being told already keeps its message: it may have arrived. Without a `thread` it is
    only counted there and not shown, so that whoever acknowledges the thread does not mean it.
    """
    if notice.state is not NoticeState.OPEN:
        raise Conflict(f"{notice.id} is {notice.state.value}, so nobody is told any more.")
    is_new = thread and thread not in notice.threads
    threads = (*notice.threads, thread) if is_new else notice.threads
    return _after(notice, sending=notice.sending or message, threads=threads[-MAX_TOLD:])


def told(
    notice: Notice, *, now: int, wait: int, channels: Sequence[str], contact: str, message: str
) -> Notice:
    """It was told; the next one's turn is in `wait` seconds. One that has ended stays as it is."""
    if notice.sending != message:
        return notice
    telling = Told(contact=contact, channels=tuple(channels), at=now, message=message)
    return _after(
        notice,
        sending="",
        step=notice.step + 1,
        attempts=0,
        due_at=now + wait,
        wait=wait,
        told=(*notice.told, telling)[-MAX_TOLD:],
    )


def also_told(notice: Notice, telling: Told) -> Notice:
    """It was told, though it was acknowledged or ended while it was: its end is told there, too."""
    if telling in notice.told:
        return notice
    return _after(notice, told=(*notice.told, telling)[-MAX_TOLD:])


def missed(notice: Notice, *, now: int, wait: int, final: bool) -> Notice:
    """It did not reach anybody: again in `wait` seconds, or the next one now.

    `final`: trying again would not help.
    """
    if not notice.sending:
        return notice
    attempts = notice.attempts + 1
    if not final and attempts < MAX_ATTEMPTS:
        return _after(notice, attempts=attempts, due_at=now + wait, wait=wait)
    # The last contact is all that is left, so it is tried again, at leisure, by the same message:
    # what seemed to be lost may have arrived.
    is_last = notice.step >= len(notice.chain) - 1
    return _after(
        notice,
        sending=notice.sending if is_last else "",
        attempts=0,
        step=notice.step + (not is_last),
        due_at=now + (wait if is_last else 0),
        wait=wait if is_last else 0,
    )


def acknowledged(notice: Notice, *, by: str, proof: str, now: int) -> Notice:
    """Somebody has it. `Conflict` if somebody had it before, or it has ended."""
    if notice.state is not NoticeState.OPEN:
        raise Conflict(
            f"{notice.id} is {notice.state.value}"
            + (f" by {notice.by}" if notice.by else "")
            + ", so it cannot be acknowledged.",
            hint="midflight open shows what still waits.",
        )
    is_over = notice.ends_with_ack
    return _after(
        notice,
        state=NoticeState.RESOLVED if is_over else NoticeState.ACKNOWLEDGED,
        by=by,
        proof=proof,
        acknowledged_at=now,
        ended_at=now if is_over else 0,
        why="acknowledged" if is_over else "",
        sending="",
    )


def resolved(notice: Notice, *, now: int, why: str) -> Notice:
    """The question is no longer one. One that has ended stays as it is."""
    if notice.state is NoticeState.RESOLVED:
        return notice
    return _after(notice, state=NoticeState.RESOLVED, ended_at=now, why=why, sending="")


def _after(notice: Notice, **changes: object) -> Notice:
    return msgspec.structs.replace(notice, version=notice.version + 1, **changes)


__all__ = [
    "MAX_ATTEMPTS",
    "MAX_CHAIN",
    "MAX_FACT",
    "TRANSITIONS",
    "Contact",
    "Notice",
    "NoticeKind",
    "NoticeState",
    "Severity",
    "Told",
    "acknowledged",
    "also_told",
    "begun",
    "chain_of",
    "facts_of",
    "missed",
    "resolved",
    "told",
]
