"""Whoever notices instructions in a text. A sign, and never a reason to block by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class InjectionText(Protocol):
    """Called in a thread, for one piece of text at a time. May raise anything."""

    def kinds(self, text: str) -> Sequence[str]:
        """Kinds of what it takes for instructions; none if nothing is."""
        ...


__all__ = ["InjectionText"]
