"""Where injection gets credentials from: the broker, as far as one permitted action needs it.

`services/broker.py` implements it. Every lease that was given is given back with `done`; a lease
that is replaced is revoked when its last use is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from midflight.domain.decision import Deny
from midflight.domain.identity import Workload
from midflight.domain.lease import Credential, Lease, Secret
from midflight.domain.traits import Traits
from midflight.domain.value import Discreet
from midflight.services.live_run import LiveRun


class Held(Discreet):
    """A lease with its credential, in memory while it is used."""

    shown = ("lease",)

    lease: Lease
    secret: Secret
    credential: Credential


class Leases(Protocol):
    """See the module."""

    def credentials_for(self, upstream: str) -> Sequence[Credential]:
        """The credentials that are bound to an upstream, by name. From memory; hot."""
        ...

    async def lease_for(
        self,
        live: LiveRun,
        workload: Workload,
        credential: str,
        *,
        upstream: str,
        traits: Traits,
    ) -> Held | Deny:
        """A lease of the run, its own or a new one, or why not. It counts as one use.

        Raises:
            Unavailable, Misconfigured: the backend is away, or will never work as configured.
        """
        ...

    def done(self, held: Held) -> None:
        """One use is over."""
        ...

    def check(self, held: Held) -> None:
        """Raise `Interrupted` if it may not be used (any more); in the turn of the write."""
        ...

    def on_gone(self, listener: Callable[[Lease], None]) -> None:
        """Call in the turn in which a lease ceases to be usable."""
        ...

    def on_replaced(self, listener: Callable[[Lease, Held], None]) -> None:
        """Call when a newer lease has taken the place of an older one."""
        ...


__all__ = ["Held", "Leases"]
