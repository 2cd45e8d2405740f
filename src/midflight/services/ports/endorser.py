"""Endorsing values: what an approval tells the flow of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Endorser(Protocol):
    """Takes the values that a person vouched for."""

    async def endorse(self, run_id: str, values: Sequence[str], /) -> None:
        """From now on these values are endorsed in this run. Again: nothing changes.

        In effect when it returns. A run that is not loaded here asks when it is
        (`Approvals.endorsed`), so nothing needs to be kept for it.
        """
        ...


__all__ = ["Endorser"]
