"""Keeps what was endorsed, for tests. Below: the `Endorser` port."""

from __future__ import annotations

from collections.abc import Sequence


class ListEndorser:
    """An `Endorser` that keeps values by run, each once."""

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}

    async def endorse(self, run_id: str, values: Sequence[str]) -> None:
        """Keep them."""
        known = self.values.setdefault(run_id, [])
        known.extend(value for value in dict.fromkeys(values) if value not in known)


__all__ = ["ListEndorser"]
