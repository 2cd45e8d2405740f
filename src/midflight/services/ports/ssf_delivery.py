"""What carries SETs: pushes to receivers (RFC 8935), and polls of transmitters (RFC 8936)."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from midflight.domain.outside_token import Hint
from midflight.domain.security_event import SecurityEvent, SetRefused
from midflight.domain.value import Value


class Carried(enum.Enum):
    """What became of a push."""

    TAKEN = "taken"
    REFUSED = "refused"
    """The receiver will not take this SET, however often it comes (RFC 8935 §2.3)."""
    FAILED = "failed"
    """Nobody took it; it may be tried again."""


class Pushed(Value):
    """The end of one push. `why` is for operators: an error code, a status, or what broke."""

    outcome: Carried
    why: str = ""


class Pushes(Protocol):
    """Pushes SETs to where receivers want them, and nowhere inside."""

    def problem(self, url: str) -> str:
        """Why nothing is ever pushed to this URL, or an empty text. Asks nobody."""
        ...

    async def push(self, url: str, text: str, *, authorization: str) -> Pushed:
        """Push one SET. Never raises."""
        ...


class Polls(Protocol):
    """Polls one transmitter."""

    async def poll(
        self, *, acks: Sequence[str], errors: Mapping[str, SetRefused]
    ) -> tuple[Mapping[str, str], bool]:
        """Acknowledge, and ask what is there: SETs by id, and whether there are more.

        Raises:
            Unavailable: no answer, or none that can be used; nothing counts as acknowledged.
        """
        ...


class Sets(Protocol):
    """Reads SETs: `midflight.wire.ssf` satisfies it as a module. `SetRefused` for all else."""

    @property
    def HEADER(self) -> Mapping[str, str]:  # noqa: N802 -- a constant of the module
        """Of a SET that is made here."""
        ...

    def hint(self, text: str) -> Hint:
        """Which key a SET names, unverified."""
        ...

    def verify_set(
        self,
        text: str,
        *,
        issuer: str,
        audience: str,
        jwks: Mapping[str, Any],
        now: float,
        max_age_s: int,
    ) -> SecurityEvent:
        """The event of a SET that holds now."""
        ...


__all__ = ["Carried", "Polls", "Pushed", "Pushes", "Sets"]
