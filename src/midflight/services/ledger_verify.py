"""The offline verifier: reads a stored ledger once, in order, and names what is wrong with it.

Needs nothing but the entries, the checkpoints and, to say more than "consistent", the public key
and a checkpoint that was published where the ledger's keeper cannot reach. What each part can tell:

- an entry's hash: that entry was altered;
- a writer's chain: entries were dropped, moved, copied, or altered with their hash made again;
- a signed checkpoint: the entries before it are those that were signed, so also a chain that was
  forged from some entry on, and entries of different writers that changed places;
- a published checkpoint: the same against whoever holds the signing key, and a cut tail.

Streaming: memory grows with writers, open intents and one bit an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from midflight.domain.chain import Damaged, Entry
from midflight.domain.checkpoint import (
    Checkpoint,
    VerifierKey,
    open_checkpoint,
    parse_checkpoint,
    parse_verifier_key,
    split_note,
)
from midflight.domain.errors import Malformed
from midflight.domain.merkle import Tree
from midflight.domain.problems import Problem, ProblemKind, Report
from midflight.services.ledger_books import Books
from midflight.services.ledger_chains import Chains

_MAX_PROBLEMS = 1_000
_MAX_OPEN = 100
_PROGRESS_EVERY = 10_000


def verify(
    entries: Iterable[tuple[int, Entry | Damaged]],
    checkpoints: Sequence[tuple[int, str]],
    *,
    verifier_key: str | None,
    published: str | None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Verify a stored ledger.

    Read the checkpoints before the entries when a writer may be running.

    Args:
        entries: (position, entry) in stored order.
        checkpoints: (size, signed note) as stored.
        verifier_key: the ledger's public key, `<name>+<hash>+<base64>`; without it signatures are
            not checked, and roots only show accidents.
        published: the text of a checkpoint that was kept elsewhere.
        progress: called with the number of entries read, now and then.

    Raises:
        Malformed: the verifier key or the published checkpoint is not one at all.
    """
    key = None if verifier_key is None else parse_verifier_key(verifier_key)
    found: list[Problem] = []
    heads = _Heads(found, checkpoints, key=key, published=published)
    chains, books, tree = Chains(), Books(), Tree()
    count = more = 0
    given_up = False
    for position, entry in entries:
        if isinstance(entry, Damaged):
            text = f"At position {position}, {entry.text}."
            found.append(Problem(kind=ProblemKind.UNREADABLE, position=position, text=text))
            continue
        count += 1
        try:
            problems, is_first = chains.take(position, entry)
        except OverflowError:
            text = "The ledger is in too many pieces to be followed from here on."
            found.append(Problem(kind=ProblemKind.UNREADABLE, position=position, text=text))
            given_up = True
            break
        if is_first:
            problems += books.take(position, entry)
        tree.append(entry.hash)
        heads.reached(tree)
        found += problems
        if len(found) > 2 * _MAX_PROBLEMS:
            more += len(found) - _MAX_PROBLEMS
            del found[_MAX_PROBLEMS:]
        if progress is not None and count % _PROGRESS_EVERY == 0:
            progress(count)
    found += islice(chains.finish(), _MAX_PROBLEMS)
    if not given_up:
        found += heads.finish(tree)
    found.sort(key=_weight)
    still_open = list(books.open_intents())
    return Report(
        problems=tuple(found[:_MAX_PROBLEMS]),
        more=more + max(0, len(found) - _MAX_PROBLEMS),
        entries=count,
        writers=len(chains),
        intents=books.intents,
        outcomes=books.outcomes,
        checkpoints=len(checkpoints),
        open=tuple(still_open[:_MAX_OPEN]),
        open_count=len(still_open),
        signed_up_to=heads.signed_up_to,
        published_up_to=heads.published_up_to,
        root=tree.root().hex(),
    )


class _Heads:
    """The checkpoints, and how far they hold."""

    def __init__(
        self,
        found: list[Problem],
        checkpoints: Sequence[tuple[int, str]],
        *,
        key: VerifierKey | None,
        published: str | None,
    ) -> None:
        self._found = found
        self._key = key
        self._expected: dict[int, list[tuple[bytes, bool]]] = {}
        self._good = 0  # the last position up to which some root held
        self._broken = False
        self.signed_up_to = 0
        self.published_up_to: int | None = None
        for size, note in checkpoints:
            try:
                checkpoint = self._open(note)
            except Malformed as error:
                self._bad(size, f"The checkpoint at {size} does not hold: {error.message}")
                continue
            if checkpoint.size != size:
                self._bad(size, f"The checkpoint stored at {size} speaks of {checkpoint.size}.")
            self._expect(checkpoint, outside=False)
        if published is not None:
            self.published_up_to = 0
            split_note(published)
            try:
                checkpoint = self._open(published)
            except Malformed as error:
                self._bad(None, f"The published checkpoint does not hold: {error.message}")
            else:
                self._expect(checkpoint, outside=True)
        if 0 in self._expected:
            self.reached(Tree())

    def reached(self, tree: Tree) -> None:
        """Compare where a checkpoint was made over what has been read so far."""
        expected = self._expected.pop(tree.size, None)
        if expected is None:
            return
        root = tree.root()
        for signed, outside in expected:
            if signed == root:
                self._hold(tree.size, outside=outside)
            elif not self._broken or outside:
                self._rewritten(tree.size, outside=outside)
        if any(signed != root for signed, _ in expected):
            self._broken = True
        else:
            self._good = tree.size

    def finish(self, tree: Tree) -> list[Problem]:
        """The checkpoints that speak of entries which are not there."""
        found: list[Problem] = []
        for size, expected in sorted(self._expected.items()):
            outside = any(published for _, published in expected)
            which = "published" if outside else "stored"
            found.append(
                Problem(
                    kind=ProblemKind.CUT_TAIL,
                    position=tree.size + 1,
                    last_position=size,
                    text=f"The {which} checkpoint speaks of {size} entries and there are "
                    f"{tree.size}: the tail was cut off.",
                )
            )
        return found

    def _open(self, note: str) -> Checkpoint:
        if self._key is not None:
            return open_checkpoint(note, self._key)
        text, _ = split_note(note)
        return parse_checkpoint(text)

    def _expect(self, checkpoint: Checkpoint, *, outside: bool) -> None:
        self._expected.setdefault(checkpoint.size, []).append((checkpoint.root, outside))

    def _hold(self, size: int, *, outside: bool) -> None:
        if outside:
            self.published_up_to = size
        # Without a key nobody knows who signed.
        if self._key is not None:
            self.signed_up_to = max(self.signed_up_to, size)

    def _bad(self, size: int | None, text: str) -> None:
        self._found.append(Problem(kind=ProblemKind.BAD_CHECKPOINT, position=size, text=text))

    def _rewritten(self, size: int, *, outside: bool) -> None:
        which = "published" if outside else "signed"
        self._found.append(
            Problem(
                kind=ProblemKind.REWRITTEN,
                position=self._good + 1,
                last_position=size,
                text=f"The entries at positions {self._good + 1} to {size} are not those that the "
                f"{which} checkpoint at {size} was made over.",
            )
        )


def _weight(problem: Problem) -> int:
    """Chain first: what is wrong with records often follows from it."""
    order = list(ProblemKind)
    return order.index(problem.kind)


__all__ = ["verify"]
