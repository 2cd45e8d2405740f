"""An OpenID provider that asks people on their own devices, as this server is a client of it.

OpenID Connect Client-Initiated Backchannel Authentication (CIBA) Core 1.0, poll mode.
"""

from __future__ import annotations

import enum
from typing import Protocol

from midflight.domain.value import Discreet


class Started(Discreet):
    """A question on its way (§7.3): its name, and how long and how often to ask. Seconds."""

    shown = ("expires_in", "interval")

    auth_req_id: str
    expires_in: int
    interval: int


class Word(enum.Enum):
    """What a provider says of a question (§11)."""

    PENDING = "authorization_pending"
    SLOW_DOWN = "slow_down"
    DENIED = "access_denied"
    EXPIRED = "expired_token"
    AGREED = "agreed"


class Polled(Discreet):
    """The answer to a poll. `subject` is whose ID token it is, verified, where he agreed."""

    shown = ("word",)

    word: Word
    subject: str = ""


class BackchannelProvider(Protocol):
    """Errors: `UpstreamUnavailable` when it does not answer; `Unauthenticated` when it refuses."""

    @property
    def issuer(self) -> str:
        """Its issuer, exactly."""
        ...

    async def start(self, *, login_hint: str, binding_message: str, expires_s: int) -> Started:
        """Ask somebody."""
        ...

    async def poll(self, auth_req_id: str) -> Polled:
        """Whether he has answered.

        `Unauthenticated` if the ID token does not hold, or is of another question.
        """
        ...


__all__ = ["BackchannelProvider", "Polled", "Started", "Word"]
