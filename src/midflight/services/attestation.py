"""Attestation of a local process: what every attestor establishes about it, or a refusal.

The process is held while it is looked at, and looked at again afterwards: if it ended, was replaced
by another of its number or became another user meanwhile, nothing that was found counts. An
attestor that does not answer in time leaves its selectors out; what is missing can only make fewer
entries match. Few processes of one user are looked at at once, since attestors read files that
their user chooses, in threads that all share: what that costs is that user's alone, or that of the
broker which asks. Below: `ports/attestation.py`, `ports/processes.py`. Above: the Workload API.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from typing import Any
from weakref import WeakValueDictionary

import structlog

from midflight.domain.attestation import Attested, Process, Selector
from midflight.domain.errors import MidflightError, NotFound, Unauthenticated
from midflight.services.ports.attestation import Attestor
from midflight.services.ports.processes import HeldProcess, Processes

TIMEOUT_S = 5.0
AT_ONCE = 2
"""Processes of one user that are looked at for one who asks; further ones wait for their turn."""

_Whose = tuple[int, str | None]
_log: Any = structlog.get_logger(__name__)


class Attestation:
    """See the module."""

    def __init__(
        self, *, attestors: Sequence[Attestor], processes: Processes, timeout_s: float = TIMEOUT_S
    ) -> None:
        """`timeout_s` is for all attestors together."""
        self._attestors = tuple(attestors)
        self._processes = processes
        self._timeout_s = timeout_s
        # Gone with the last who waits for it.
        self._turns: WeakValueDictionary[_Whose, asyncio.Semaphore] = WeakValueDictionary()

    async def attest(self, process: Process, *, by: str | None = None) -> Attested:
        """What is established about a process that connected, or that `by` asks for in its stead.

        Raises:
            Unauthenticated: the kernel does not vouch for it, or it is not that process any more.
        """
        if process.pid <= 0 or not process.start:
            raise _not_it("the kernel does not say which process connected")
        try:
            held = self._processes.hold(process.pid)
        except NotFound as error:
            raise _not_it(error.message.rstrip(".")) from None
        with closing(held):
            _check(held, process)
            async with self._turn(process.uid, by):
                found = await asyncio.gather(
                    *(self._ask(each, process) for each in self._attestors)
                )
            _check(held, process)
        selectors = frozenset(selector for part in found for selector in part)
        return Attested(selectors=selectors, process=process.start, uid=process.uid)

    def _turn(self, uid: int, by: str | None) -> asyncio.Semaphore:
        turn = self._turns.get((uid, by))
        if turn is None:
            turn = self._turns[uid, by] = asyncio.Semaphore(AT_ONCE)
        return turn

    async def _ask(self, attestor: Attestor, process: Process) -> Sequence[Selector]:
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await attestor.attest(process)
        except (MidflightError, TimeoutError) as error:
            why = error.message if isinstance(error, MidflightError) else "It took too long."
            _log.warning("attestor_silent", attestor=attestor.type, why=why)
            return ()
        except Exception as error:  # noqa: BLE001 -- a bug in one source must not open or close all
            _log.warning("attestor_failed", attestor=attestor.type, error=type(error).__name__)
            return ()
        # None may speak in the name of another.
        return [selector for selector in found if selector.type == attestor.type]


def _check(held: HeldProcess, process: Process) -> None:
    if held.start != process.start:
        raise _not_it("another process has its number by now")
    uid = held.uid()
    if uid is None or not held.alive():
        raise _not_it("it has ended")
    if uid != process.uid:
        raise _not_it("it runs as another user than when it connected")


def _not_it(why: str) -> Unauthenticated:
    return Unauthenticated(
        f"The caller cannot be established: {why}.",
        hint="Call from the process that needs the identity, and wait there for the answer.",
    )


__all__ = ["AT_ONCE", "TIMEOUT_S", "Attestation"]
