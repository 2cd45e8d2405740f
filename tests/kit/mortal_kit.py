"""A process that lends and dies at one moment of it: what its store and its backend have is left.

`MortalStore` and `MortalBackend` call what they are given around each step; `Mortal` kills its own
process at one of them. `killed` runs a test file as that process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from midflight.adapters.clock import SystemClock
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.lease import Lease, Revocability
from midflight.services.ports.credential_backend import CredentialBackend, Issued

STORE = ("create_lease", "activate_lease", "renew_lease", "begin_revoking", "finish_lease")
BACKEND = ("issue", "renew", "revoke")
POINTS = [f"{when} {step}" for step in (*STORE, *BACKEND) for when in ("before", "after")]
Die = Callable[[str, str], None]


class Mortal:
    """Kills its process at one moment."""

    def __init__(self, moment: str) -> None:
        self.moment = moment

    def __call__(self, when: str, step: str) -> None:
        if self.moment == f"{when} {step}":
            os.kill(os.getpid(), signal.SIGKILL)


class MortalStore(SqliteStore):
    """A store whose process dies around a step."""

    die: Die = lambda _self, _when, _step: None

    async def create_lease(self, lease: Lease, *, holder: str) -> None:
        self.die("before", "create_lease")
        await super().create_lease(lease, holder=holder)
        self.die("after", "create_lease")

    async def activate_lease(self, lease_id: str, *, handle: str, expires_at: int) -> bool:
        self.die("before", "activate_lease")
        done = await super().activate_lease(lease_id, handle=handle, expires_at=expires_at)
        self.die("after", "activate_lease")
        return done

    async def renew_lease(self, lease_id: str, *, before: int, expires_at: int) -> bool:
        self.die("before", "renew_lease")
        done = await super().renew_lease(lease_id, before=before, expires_at=expires_at)
        self.die("after", "renew_lease")
        return done

    async def begin_revoking(self, lease_ids: Any, *, now: int, until: int) -> Sequence[Lease]:
        self.die("before", "begin_revoking")
        moved = await super().begin_revoking(lease_ids, now=now, until=until)
        self.die("after", "begin_revoking")
        return moved

    async def finish_lease(self, lease_id: str) -> bool:
        self.die("before", "finish_lease")
        done = await super().finish_lease(lease_id)
        self.die("after", "finish_lease")
        return done


class MortalBackend:
    """A backend whose process dies around a call."""

    def __init__(self, inner: CredentialBackend, die: Die) -> None:
        self._inner, self._die = inner, die

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def revocability(self) -> Revocability:
        return self._inner.revocability

    async def issue(self, lease: Lease) -> Issued:
        self._die("before", "issue")
        issued = await self._inner.issue(lease)
        self._die("after", "issue")
        return issued

    async def renew(self, lease: Lease, *, expires_at: int) -> int:
        self._die("before", "renew")
        ends = await self._inner.renew(lease, expires_at=expires_at)
        self._die("after", "renew")
        return ends

    async def revoke(self, lease: Lease) -> None:
        self._die("before", "revoke")
        await self._inner.revoke(lease)
        self._die("after", "revoke")


class LateClock(SystemClock):
    """The system's clock, that can be ahead of its time: a lease is old at once."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def killed(program: str, *words: str) -> None:
    """Run a test file as the process that dies. It fails if that did not die by SIGKILL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, *words,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    _, errors = await process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()[-2_000:]


__all__ = [
    "BACKEND",
    "POINTS",
    "STORE",
    "Die",
    "LateClock",
    "Mortal",
    "MortalBackend",
    "MortalStore",
    "killed",
]
