"""One POST to where the settings say, and what its status means for trying again.

Over an address that was looked at first (`documents/exchange.py`): an operator may name a host of
his own network, and nobody can name what serves credentials of machines. No redirects; the answer
is read in bounds and shown to nobody.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import TypeAlias

from midflight.adapters.documents.exchange import (
    NO_ANSWER,
    Exchange,
    NotAsked,
    Reach,
    why_no_answer,
)
from midflight.services.ports.notify import NotDelivered

TIMEOUT_S = 10.0
MAX_ANSWER = 65_536
MAX_BODY = 131_072
_OWN = Reach(private=True, loopback=True)

Secret: TypeAlias = Callable[[], str]
"""Reads a secret when it is needed; it is kept nowhere."""


class Poster:
    """Sends for one channel. Errors name the channel, never the address, which may be a secret."""

    def __init__(
        self, name: str, *, tls: ssl.SSLContext | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        """`tls` verifies the receiver; default: the authorities of the system."""
        self._name = name
        self._exchange = Exchange(tls=tls, timeout_s=timeout_s)
        self._timeout = timeout_s

    async def post(self, url: str, body: bytes, *, headers: Sequence[tuple[str, str]] = ()) -> None:
        """POST one JSON document.

        Raises:
            NotDelivered: the receiver did not take it. Final unless waiting may help: no answer,
                408, 409, 425, 429 or 5xx.
        """
        if len(body) > MAX_BODY:
            raise NotDelivered(f"A message for {self._name} is too large.", is_final=True)
        lines = [("Content-Type", "application/json"), ("User-Agent", "midflight"), *headers]
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._exchange.asked(
                    "POST", url, limit=MAX_ANSWER, reach=_OWN, headers=lines, body=body
                ) as response,
            ):
                status = response.status
                after = response.header(b"retry-after")
        except NO_ANSWER as error:
            why = why_no_answer(error, timeout_s=self._timeout)
            raise NotDelivered(
                f"{self._name}: {why}.", is_final=isinstance(error, NotAsked)
            ) from None
        if 200 <= status < 300:
            return
        may_help = status in (408, 409, 425, 429) or status >= 500
        raise NotDelivered(
            f"{self._name} answered {status}.",
            is_final=not may_help,
            after_s=int(after) if after.isdigit() and len(after) <= 5 else 0,
        )


__all__ = ["MAX_ANSWER", "TIMEOUT_S", "Poster", "Secret"]
