"""Ledger entries and their hash chain: pure functions; see `services/ledger.py` for the verb."""

from __future__ import annotations

from midflight.domain.value import Value


class Entry(Value):
    """One entry of a writer's chain.

    Attributes:
        writer: 8 hex characters, fresh for each process that writes.
        seq: 1, 2, 3 … within the writer.
        prev: hash of the writer's previous entry; for seq 1 the hash of the genesis text.
        body: the encoded record (canonical msgspec JSON of a `Record`).
        hash: over writer, seq, prev and body.
    """

    writer: str
    seq: int
    prev: bytes
    body: bytes
    hash: bytes


__all__ = ["Entry"]
