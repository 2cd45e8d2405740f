"""When a credential that cannot be taken back ends by itself: what its backend said, or the latest.

The handle of such a lease is that time; there is nothing else to tell the backend by.
"""

from __future__ import annotations

import re

from midflight.domain.lease import Lease

UNKNOWN_S = 60
"""How long after its lease was written down a credential may still have been asked for."""
_SECONDS = re.compile(r"[0-9]{1,12}\Z")


def native_handle(ends: int) -> str:
    """The handle of a lease whose credential ends then (Unix seconds)."""
    return str(ends)


def native_end(lease: Lease, *, unknown: int) -> int:
    """When its credential ends (Unix seconds); `unknown` if nobody knows whether it was made."""
    return int(lease.handle) if _SECONDS.match(lease.handle) else unknown


__all__ = ["UNKNOWN_S", "native_end", "native_handle"]
