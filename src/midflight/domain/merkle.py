"""The Merkle tree over a ledger: RFC 6962 §2.1 with SHA-256, kept as a compact range.

A leaf is an entry's hash, in commit order. The compact range holds only the roots of the perfect
subtrees (at most one for each bit of the size), so a ledger of a million entries needs 20 hashes
to go on growing. Inclusion and consistency proofs are not here: verifiers of a whole ledger
recompute roots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from midflight.domain.errors import Malformed

_HASH_LENGTH = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


class Tree:
    """A growing tree. Not a value: `append` changes it in place."""

    __slots__ = ("_peaks", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._peaks: list[bytes] = []

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._size

    def append(self, leaf: bytes) -> None:
        """Add one leaf: its hash is SHA-256(0x00 || leaf), a node's SHA-256(0x01 || l || r)."""
        sha256 = hashlib.sha256
        peaks = self._peaks
        node = sha256(b"\x00" + leaf).digest()
        remaining = self._size
        while remaining & 1:
            node = sha256(b"\x01" + peaks.pop() + node).digest()
            remaining >>= 1
        peaks.append(node)
        self._size += 1

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add several leaves in order."""
        for leaf in leaves:
            self.append(leaf)

    def root(self) -> bytes:
        """The tree head: 32 bytes; of no leaves, the hash of nothing."""
        if not self._peaks:
            return EMPTY_ROOT
        *rest, node = self._peaks
        for left in reversed(rest):
            node = hashlib.sha256(b"\x01" + left + node).digest()
        return node

    def peaks(self) -> bytes:
        """The compact range, largest subtree first: what `resume` needs beside the size."""
        return b"".join(self._peaks)

    @classmethod
    def resume(cls, size: int, peaks: bytes) -> Tree:
        """A tree from its size and compact range.

        Raises:
            Malformed: the range does not have the form that a tree of that size has.
        """
        if size < 0 or len(peaks) != _HASH_LENGTH * size.bit_count():
            raise Malformed("The stored Merkle range does not belong to a tree of that size.")
        tree = cls()
        tree._size = size
        tree._peaks = [peaks[i : i + _HASH_LENGTH] for i in range(0, len(peaks), _HASH_LENGTH)]
        return tree


__all__ = ["EMPTY_ROOT", "Tree"]
