"""What establishes facts about a local process: one adapter a source (`adapters/attestation`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.attestation import Process, Selector


class Attestor(Protocol):
    """One source of selectors. Fails closed: what it cannot establish it leaves out."""

    @property
    def type(self) -> str:
        """The type of its selectors: `unix`, `docker`, `k8s`, `systemd`."""
        ...

    async def attest(self, process: Process) -> Sequence[Selector]:
        """Facts about a process that is alive; empty if this source knows nothing of it.

        The caller checks afterwards that the process has not been replaced meanwhile.
        `Unavailable` if the source does not answer: then nothing is known, not "no facts".
        """
        ...


__all__ = ["Attestor"]
