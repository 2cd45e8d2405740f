"""Protocol versions that Midflight speaks, and how one is agreed on.

Versions are an enumerated set: a string that is not in it is unknown, however it sorts.
"""

from __future__ import annotations

from typing import Final

MODERN: Final = "2026-07-28"
LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26")
SUPPORTED: Final = (MODERN, *LEGACY)

# The first version whose clients send the MCP-Protocol-Version header.
VERSION_HEADER_SINCE: Final = "2025-06-18"

_OLDEST_FIRST: Final = tuple(reversed(SUPPORTED))


def is_modern(version: str) -> bool:
    """Whether requests of this version carry their own metadata instead of a session's."""
    return version == MODERN


def is_supported(version: str) -> bool:
    """Whether Midflight speaks this version."""
    return version in SUPPORTED


def between(version: str, first: str, last: str) -> bool:
    """Whether a supported version is one of `first` … `last`; False for any other string."""
    if version not in SUPPORTED:
        return False
    return _OLDEST_FIRST.index(first) <= _OLDEST_FIRST.index(version) <= _OLDEST_FIRST.index(last)


def negotiate(requested: str) -> str:
    """The version to answer an `initialize` with (2025-11-25, Lifecycle §Version Negotiation).

    The requested one if it is a legacy version we speak, else the latest of those: `initialize`
    exists in no other generation.
    """
    return requested if requested in LEGACY else LEGACY[0]


__all__ = [
    "LEGACY",
    "MODERN",
    "SUPPORTED",
    "VERSION_HEADER_SINCE",
    "between",
    "is_modern",
    "is_supported",
    "negotiate",
]
