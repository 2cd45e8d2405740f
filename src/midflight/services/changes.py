"""A change that somebody made, on record before it counts: what `midflight record list` shows."""

from __future__ import annotations

from midflight.domain.identity import Author
from midflight.domain.records import Changed
from midflight.domain.value import JSONObject
from midflight.services.ports.recorder import Recorder


async def record_change(
    recorder: Recorder, *, at: float, what: str, author: Author, details: JSONObject
) -> None:
    """Append a `Changed`, at once, and wait until it is durable.

    Raises:
        LedgerUnavailable: it cannot be made durable.
    """
    ticket = recorder.append(
        Changed(at=at, what=what, author=author.name, proof=author.proof, details=details)
    )
    await ticket.durable()


__all__ = ["record_change"]
