"""The `systemd` attestor: the unit of a process, by its control group (systemd.unit(5))."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from midflight.adapters.attestation.proc import fact, unit_of
from midflight.adapters.attestation.proc_files import cgroup_of
from midflight.domain.attestation import Process, Selector


class SystemdAttestor:
    """`systemd:id:UNIT`; of a user's own manager it is `user@UID.service`, whatever runs in it."""

    type = "systemd"

    def __init__(self, cgroup: Callable[[int], str | None] = cgroup_of) -> None:
        """`cgroup` gives the control group of a process."""
        self._cgroup = cgroup

    async def attest(self, process: Process) -> Sequence[Selector]:
        """Its unit, or nothing."""
        path = await asyncio.to_thread(self._cgroup, process.pid)
        return fact("systemd", "id", (path and unit_of(path)) or "")


__all__ = ["SystemdAttestor"]
