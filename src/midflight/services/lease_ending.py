"""Ending leases at their backends: tried until it is done, never given up, loud when it is stuck.

A lease comes here in state `revoking`, so it is used no more; what is left is to tell the backend.
Telling it twice does no harm, so whoever is unsure tells it again. Every move goes on record.
Below: the store, backends. Above: `broker.py`, `lease_reaper.py`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections.abc import Awaitable, Iterable
from typing import TypeVar

import msgspec
import structlog

from midflight.domain.errors import MidflightError, Unavailable
from midflight.domain.identity import Author
from midflight.domain.lease import Lease, LeaseState
from midflight.domain.records import LeaseMoved
from midflight.services.credentials import Credentials
from midflight.services.ports.clock import Clock
from midflight.services.ports.lease_store import MAX_WAIT_S, LeaseStore
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.telemetry import Telemetry

log = structlog.get_logger(__name__)
T = TypeVar("T")

CALL_S = 10.0
"""How long a backend may take for one call."""
CLAIM_S = 60
"""For how long a lease is one caller's to end; more than any call takes."""
STUCK_AFTER = 6
"""Failed tries after which somebody has to look. With the waits between them: a minute."""
AT_ONCE = 16
"""Calls at a time that end leases of one credential: a slow backend holds up no other."""
IN_A_TURN = 100
"""Leases that one turn of the event loop begins to end: some milliseconds of it."""
PATIENCE_S = 30.0
"""How much of one pass the leases of one credential may take; less than `CLAIM_S`."""

MIDFLIGHT = Author(name="midflight", proof="broker")


class Patience:
    """How long one pass bears with each backend: with none so long that others wait for it.

    A credential whose backend has not answered `AT_ONCE` calls in a row is not asked again in the
    pass, and none is asked after `PATIENCE_S`. Mutable; one event loop.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}
        self._silent: dict[str, int] = {}

    def is_late(self, credential: str) -> bool:
        """Its time in this pass is used up."""
        now = self._clock.monotonic()
        return now - self._since.setdefault(credential, now) > PATIENCE_S

    def is_silent(self, credential: str) -> bool:
        """Its backend does not answer."""
        return self._silent.get(credential, 0) >= AT_ONCE

    def heard(self, credential: str, *, answered: bool) -> None:
        """What came of one call."""
        self._silent[credential] = 0 if answered else self._silent.get(credential, 0) + 1


class LeaseEnding:
    """See the module."""

    def __init__(
        self,
        *,
        store: LeaseStore,
        credentials: Credentials,
        recorder: Recorder,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        """Shared by the broker and its reaper."""
        self._store = store
        self._credentials = credentials
        self._recorder = recorder
        self._clock = clock
        self._telemetry = telemetry
        self._rooms: dict[str, asyncio.Semaphore] = {}

    def patience(self) -> Patience:
        """For a pass of several calls of `end_all`."""
        return Patience(self._clock)

    async def end_all(
        self,
        leases: Iterable[Lease],
        *,
        author: Author = MIDFLIGHT,
        patience: Patience | None = None,
    ) -> int:
        """Try each once, several at a time; how many are gone now.

        Raises what went wrong first (`StoreUnavailable`), after all have been tried.
        """
        patience = patience or self.patience()
        tasks: list[asyncio.Task[bool]] = []
        try:
            for lease in leases:
                tasks.append(asyncio.create_task(self._end(lease, author, patience)))
                if len(tasks) % IN_A_TURN == 0:
                    await asyncio.sleep(0)
            done = await asyncio.gather(*tasks, return_exceptions=True)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise
        problems = [each for each in done if isinstance(each, BaseException)]
        for problem in problems:
            if not isinstance(problem, MidflightError):
                # No traceback: its frames hold secrets. Its claim ends, and then it is tried.
                log.error("lease_ending_broke", error=type(problem).__name__)
        for problem in problems:
            if isinstance(problem, MidflightError):
                raise problem
        return sum(each is True for each in done)

    async def _end(self, lease: Lease, author: Author, patience: Patience) -> bool:
        """Try once to end a lease in state `revoking`; whether it is gone now."""
        room = self._rooms.setdefault(lease.credential, asyncio.Semaphore(AT_ONCE))
        async with room:
            if patience.is_late(lease.credential):
                return False  # its claim ends, and then it is tried
            error, until = (
                ("Its backend has just not answered for others.", None)
                if patience.is_silent(lease.credential)
                else await self._tell(lease, patience)
            )
        if error:
            await self._failed(lease, error, author)
            return False
        if until is not None and until > self._clock.now():
            await self._wait_for_expiry(lease, until)
            return False
        if await self._store.finish_lease(lease.id):
            self.note(msgspec.structs.replace(lease, state=LeaseState.REVOKED), author=author)
        return True

    async def record(self, lease: Lease, *, author: Author = MIDFLIGHT, reason: str = "") -> None:
        """Put a move on record, and wait until it is. `LedgerUnavailable` if it cannot be."""
        await self._recorder.append(_moved(lease, self._clock.now(), author, reason)).durable()

    def note(self, lease: Lease, *, author: Author = MIDFLIGHT, reason: str = "") -> None:
        """Put a move on record as soon as the ledger takes it: ending waits for nobody."""
        try:
            self._recorder.append(_moved(lease, self._clock.now(), author, reason))
        except MidflightError as error:
            log.warning("lease_not_recorded", lease=lease.id, state=lease.state, why=error.message)

    async def note_all(self, leases: Iterable[Lease], *, author: Author, reason: str) -> None:
        """`note` each, a few in a turn: whoever has calls under way does not wait for thousands."""
        left = iter(leases)
        try:
            for number, lease in enumerate(left, 1):
                self.note(lease, author=author, reason=reason)
                if number % IN_A_TURN == 0:
                    await asyncio.sleep(0)
        finally:
            # Given up half-way, the rest is on record all the same.
            for lease in left:
                self.note(lease, author=author, reason=reason)

    # Inside

    async def _tell(self, lease: Lease, patience: Patience) -> tuple[str, int | None]:
        """Tell the backend: what went wrong, safe for strangers; until when it lives on."""
        try:
            backend = self._credentials.backend(lease.credential)
            until = await limited(backend.revoke(lease), lease.credential)
        except MidflightError as error:
            patience.heard(lease.credential, answered=not isinstance(error, Unavailable))
            return str(error), None
        except Exception as error:  # noqa: BLE001 -- a bug in one backend must not lose a lease
            # No traceback: its frames hold secrets.
            kind = type(error).__name__
            log.warning("lease_backend_broke", lease=lease.id, backend=lease.backend, error=kind)
            return f"The backend failed ({kind}).", None
        patience.heard(lease.credential, answered=True)
        return "", until

    async def _wait_for_expiry(self, lease: Lease, until: int) -> None:
        """It cannot be taken back: it is revoked when its backend has ended it, and not before."""
        ends = dt.datetime.fromtimestamp(until, dt.UTC)
        now = int(self._clock.now())
        await self._store.fail_revoking(
            lease.id,
            attempts=lease.attempts,
            next_try_at=min(until + 1, now + MAX_WAIT_S),
            error=(
                "Its backend cannot take it back; it is used no more and ends by itself at "
                f"{ends:%Y-%m-%d %H:%M:%S} UTC."
            ),
            stuck=False,
        )

    async def _failed(self, lease: Lease, error: str, author: Author) -> None:
        attempts = lease.attempts + 1
        is_stuck = attempts >= STUCK_AFTER
        after = msgspec.structs.replace(
            lease,
            attempts=attempts,
            next_try_at=int(self._clock.now()) + wait_s(lease.id, attempts),
            error=error,
            stuck=lease.stuck or is_stuck,
        )
        self._telemetry.count("lease_revocations_failed")
        log.warning("lease_not_revoked", lease=lease.id, credential=lease.credential, why=error)
        stored = await self._store.fail_revoking(
            lease.id,
            attempts=attempts,
            next_try_at=after.next_try_at,
            error=error,
            stuck=is_stuck,
        )
        if stored and is_stuck and not lease.stuck:
            self._telemetry.count("leases_got_stuck")
            log.error("lease_stuck", lease=lease.id, external=lease.external, why=error)
            self.note(after, author=author, reason=error)


async def limited(call: Awaitable[T], credential: str) -> T:
    """A backend's answer, or `Unavailable` if it takes too long."""
    try:
        async with asyncio.timeout(CALL_S):
            return await call
    except TimeoutError:
        raise Unavailable(
            f"The backend of credential {credential} did not answer within {CALL_S:.0f} s.",
            hint=f"midflight credential test {credential} tries to reach it.",
        ) from None


def wait_s(lease_id: str, attempts: int) -> int:
    """Seconds until the next try: doubling up to `MAX_WAIT_S`, less up to a third of it.

    What is taken off depends on the lease, so that those that failed together do not come together.
    """
    most = min(MAX_WAIT_S, 2 ** min(attempts, 30))
    spread = hashlib.sha256(f"{lease_id} {attempts}".encode()).digest()[0] / 255
    return max(1, round(most * (1 - spread / 3)))


def _moved(lease: Lease, now: float, author: Author, reason: str) -> LeaseMoved:
    return LeaseMoved(
        at=now,
        lease=lease.id,
        credential=lease.credential,
        backend=lease.backend,
        external=lease.external,
        run=lease.run,
        workload=lease.workload,
        state=lease.state.value,
        expires_at=lease.expires_at,
        author=author.name,
        proof=author.proof,
        reason=reason,
        stuck=lease.stuck,
    )


__all__ = [
    "CALL_S",
    "CLAIM_S",
    "IN_A_TURN",
    "MIDFLIGHT",
    "STUCK_AFTER",
    "LeaseEnding",
    "Patience",
    "limited",
    "wait_s",
]
