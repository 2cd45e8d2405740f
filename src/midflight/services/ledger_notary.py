"""Follows the ledger in commit order and signs its Merkle root.

It never signs a rewritten past. A writer's own entries enter the tree from memory and not from the
store, and after a restart the tree goes on from the last signed checkpoint, whose signature and
root it checks. All of it runs on the ledger's thread.
"""

from __future__ import annotations

from collections.abc import Sequence

from midflight.domain.chain import Entry
from midflight.domain.checkpoint import (
    Checkpoint,
    VerifierKey,
    checkpoint_text,
    open_checkpoint,
    parse_checkpoint,
    parse_verifier_key,
    signed_note,
    split_note,
)
from midflight.domain.errors import LedgerUnavailable, Malformed, Misconfigured
from midflight.domain.merkle import Tree
from midflight.services.ports.keys import NoteSigner
from midflight.services.ports.ledger_store import LedgerStore, StoredCheckpoint

_HINT = (
    "Somebody changed the ledger's file. Verify a copy with `midflight ledger verify`, keep it as "
    "evidence, and start with a new ledger."
)


class Notary:
    """The growing tree and the key."""

    def __init__(self, store: LedgerStore, signer: NoteSigner | None) -> None:
        self._store = store
        self._signer = signer
        self._key: VerifierKey | None = None
        self._tree = Tree()
        self.damage = ""

    def open(self) -> None:
        """Rebuild the tree: from the last checkpoint where it holds, else from the first entry.

        Raises:
            LedgerUnavailable: the stored entries are not those that were signed.
        """
        if self._signer is None:
            return
        self._key = parse_verifier_key(self._signer.verifier_key())
        last = self._store.last_checkpoint()
        if last is not None:
            try:
                self._tree = self._resume(last)
            except Malformed as error:
                raise LedgerUnavailable(
                    f"The ledger's last checkpoint is damaged: {error.message}", hint=_HINT
                ) from error
        self._catch_up(None)

    def committed(self, first: int, entries: Sequence[Entry]) -> None:
        """Take in what this writer has just appended at position `first`. Never raises.

        With 0 for a place that is not known, the next call catches up from the store.
        """
        if self._signer is None or self.damage or first == 0:
            return
        try:
            if first != self._tree.size + 1:
                self._catch_up(first - 1)
            append = self._tree.append
            for entry in entries:
                append(entry.hash)
        except LedgerUnavailable:
            return  # damage is noted; a store that does not answer is caught up with later

    def sign(self) -> str:
        """Sign the tree over all that is stored now, store the note and return it.

        Raises:
            Misconfigured: there is no key.
            LedgerUnavailable: the store does not answer, or was tampered with.
        """
        if self._signer is None or self._key is None:
            raise Misconfigured(
                "The ledger has no checkpoint key.", hint="Run `midflight init` to make one."
            )
        if self.damage:
            raise LedgerUnavailable(self.damage, hint=_HINT)
        self._catch_up(None)
        tree = self._tree
        checkpoint = Checkpoint(origin=self._signer.name, size=tree.size, root=tree.root())
        text = checkpoint_text(checkpoint)
        note = signed_note(text, key=self._key, signature=self._signer.sign(text.encode()))
        stored = StoredCheckpoint(size=tree.size, note=note, peaks=tree.peaks())
        self._store.add_checkpoint(stored)
        return note

    def _resume(self, last: StoredCheckpoint) -> Tree:
        assert self._key is not None, "only called with a signer"
        try:
            checkpoint = open_checkpoint(last.note, self._key)
        except Malformed:
            # An earlier key, perhaps: then the range is not trusted and every entry is read.
            text, _ = split_note(last.note)
            checkpoint = parse_checkpoint(text)
        else:
            tree = Tree.resume(last.size, last.peaks)
            if tree.size == checkpoint.size and tree.root() == checkpoint.root:
                return tree
        tree = Tree()
        for position, leaf in self._store.hashes():
            if position != tree.size + 1:
                raise Malformed(f"Position {tree.size + 1} is missing.")
            tree.append(leaf)
            if position == checkpoint.size:
                break
        if tree.size != checkpoint.size or tree.root() != checkpoint.root:
            raise Malformed(f"The first {checkpoint.size} entries are not those that were signed.")
        return tree

    def _catch_up(self, until: int | None) -> None:
        """Take in entries of other writers, up to a position or to the end."""
        size = self._store.size() if until is None else until
        if size < self._tree.size:
            raise self._damaged(f"The ledger has {size} entries and had {self._tree.size}.")
        if size == self._tree.size:
            return
        for position, leaf in self._store.hashes(after=self._tree.size):
            if position > size:
                break
            if position != self._tree.size + 1:
                raise self._damaged(f"Position {self._tree.size + 1} of the ledger is missing.")
            self._tree.append(leaf)

    def _damaged(self, why: str) -> LedgerUnavailable:
        self.damage = why
        return LedgerUnavailable(why, hint=_HINT)


__all__ = ["Notary"]
