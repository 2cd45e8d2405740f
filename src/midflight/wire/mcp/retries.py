"""What a request is about, whatever round it is in: the same for it and for its retries."""

from __future__ import annotations

from typing import Final

from midflight.domain.canonical import sha256_hex
from midflight.wire.jsonrpc import Request

_DIFFER: Final = frozenset({"inputResponses", "requestState", "_meta"})
"""What differs between a request and its retry (2026-07-28, Multi Round-Trip Requests)."""


def subject_of(request: Request) -> str:
    """SHA-256, in hex, of the method and of the params that a retry repeats."""
    params = {name: value for name, value in request.params.items() if name not in _DIFFER}
    return sha256_hex([request.method, params])


__all__ = ["subject_of"]
