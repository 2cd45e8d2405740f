"""What an agent holds while a person is asked: a handle, by which it goes on with that very call.

A handle is no permission. It says which question a later request belongs to, and is worth nothing
to anybody but the caller and for the request that it was given for; whether the action may happen
is decided when it is tried again. Pure: `services/handles.py` gives and takes them.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from midflight.domain.value import Value

_HALF_A_DAY_S: Final = 43_200


class HeldForm(enum.StrEnum):
    """How the agent waits. Stored: append, never change."""

    CALL = "call"
    """It was answered "pending", and tries the same call again."""
    ROUND = "round"
    """It was answered that input is required (MCP 2026-07-28, multi round-trip requests)."""
    TASK = "task"
    """It was given a task, and polls it (MCP tasks extension)."""


class HeldState(enum.StrEnum):
    """Where it stands. Stored: append, never change."""

    WAITING = "waiting"
    ACTING = "acting"
    """The yes is being used for it; whoever finds it so after a restart does not do it again."""
    CANCELLED = "cancelled"


class Held(Value):
    """What is kept of a handle, under the hash of it.

    Attributes:
        key: SHA-256 of the handle, in hex: whoever reads the store cannot use any.
        form, state: see there.
        approval: the question that it waits for.
        workload, run: whose call it is, and in which run it was judged.
        bound: the run that the caller's proof names; empty for an implicit one.
        subject: SHA-256 of the request, without what differs in a retry.
        shown: whether the client was asked to open the approver's page, and answered.
        rounds: how often the client has come back already.
        created_at, expires_at: Unix seconds.
    """

    key: str
    form: HeldForm
    state: HeldState
    approval: str
    workload: str
    run: str
    bound: str
    subject: str
    shown: bool
    rounds: int
    created_at: int
    expires_at: int


def waiting_words(asked: Sequence[str], *, expires_at: int, now: int) -> str:
    """`Waiting for approval by payments-oncall, expires 12:40 UTC`: for agents and for people."""
    who = ", ".join(asked) or "an approver"
    return f"Waiting for approval by {who}, expires {when(expires_at, now=now)}"


def when(at: int, *, now: int) -> str:
    """A moment in words: `12:40 UTC`, with its date where the hour alone could be misread."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.strftime("%H:%M UTC" if abs(at - now) < _HALF_A_DAY_S else "%Y-%m-%d %H:%M UTC")


def iso(at: int) -> str:
    """A moment for machines (RFC 3339), in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = ["Held", "HeldForm", "HeldState", "iso", "waiting_words", "when"]
