"""What reads a secret that settings only refer to (`env:NAME`, `file:PATH`, `sealed:ID`).

Read at use and kept nowhere, so that a secret that was changed is used changed.
"""

from __future__ import annotations

from typing import Protocol


class References(Protocol):
    """Reads references. A callable, so that one function can be one."""

    async def __call__(self, reference: str) -> str:
        """What the reference names, without white space around it; it may have several lines.

        Raises:
            Misconfigured: not a reference, or it names nothing. The message holds no secret.
            Unavailable: it cannot be read now.
        """
        ...


__all__ = ["References"]
