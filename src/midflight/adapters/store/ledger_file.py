"""A ledger as JSON lines: what is handed to an auditor, and read back by the verifier.

    {"ledger":"midflight/v1"}
    {"position":1,"writer":"0f3a9c21","seq":1,"prev":"<hex>","hash":"<hex>","body":"<record>"}
    {"size":1,"checkpoint":"<signed note>"}

The body is carried as the exact text that was hashed. Read-only: nothing is ever appended to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from midflight.domain.chain import Damaged, Entry
from midflight.domain.errors import LedgerUnavailable, Malformed
from midflight.services.ports.ledger_store import LedgerReader

_FORM = "midflight/v1"
_MAX_LINE = 64 << 20


class _Head(msgspec.Struct):
    ledger: str


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    position: int
    writer: str
    seq: int
    prev: str
    hash: str
    body: str


class _Note(msgspec.Struct, forbid_unknown_fields=True):
    size: int
    checkpoint: str


_LINE = msgspec.json.Decoder(_Line)
_NOTE = msgspec.json.Decoder(_Note)


class LedgerFile:
    """See `LedgerReader`. `LedgerUnavailable` if it cannot be read or is not such a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self) -> None:
        """Look whether it is a ledger."""
        try:
            with self._path.open("rb") as file:
                head = msgspec.json.decode(file.readline(1_000), type=_Head)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _no_ledger(self._path) from error
        if head.ledger != _FORM:
            raise _no_ledger(self._path)

    def close(self) -> None:
        """Nothing is kept open."""

    def entries(
        self, *, after: int = 0, limit: int | None = None
    ) -> Iterator[tuple[int, Entry | Damaged]]:
        """See `LedgerReader.entries`. Lines in their order, whatever positions they claim."""
        given = 0
        for number, line in self._lines():
            if limit is not None and given >= limit:
                return
            if _is_note(line):
                continue
            position, entry = _entry(line, number)
            if position > after:
                given += 1
                yield position, entry

    def checkpoints(self) -> Sequence[tuple[int, str]]:
        """See `LedgerReader.checkpoints`."""
        notes: list[_Note] = []
        for _, line in self._lines():
            if _is_note(line):
                try:
                    notes.append(_NOTE.decode(line))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    # The verifier says that it does not hold; it must not go unnoticed.
                    notes.append(_Note(size=0, checkpoint="unreadable"))
        return sorted((note.size, note.checkpoint) for note in notes)

    def size(self) -> int:
        """See `LedgerReader.size`."""
        return max((position for position, _ in self.entries()), default=0)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """(line number, line) behind the head, in bounded memory."""
        try:
            with self._path.open("rb") as file:
                file.readline(_MAX_LINE)
                number = 1
                while line := file.readline(_MAX_LINE):
                    number += 1
                    if line.strip():
                        yield number, line
        except OSError as error:
            raise LedgerUnavailable(f"{self._path} cannot be read: {error.strerror}.") from error


def export(
    reader: LedgerReader, path: Path, *, progress: Callable[[int], None] | None = None
) -> int:
    """Write a ledger as JSON lines to a new file, readable by its owner; how many entries.

    Raises:
        Malformed: something in the ledger is not an entry; verify it in its own form.
        LedgerUnavailable: the file exists or cannot be written.
    """
    notes = reader.checkpoints()  # before the entries: a writer may be running
    encode = msgspec.json.encode
    count = 0
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encode(_Head(ledger=_FORM)) + b"\n")
            for position, entry in reader.entries():
                file.write(encode(_line(position, entry)) + b"\n")
                count += 1
                if progress is not None and count % 10_000 == 0:
                    progress(count)
            for size, note in notes:
                file.write(encode(_Note(size=size, checkpoint=note)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise LedgerUnavailable(f"{path} cannot be written: {error.strerror}.") from error
    return count


def _line(position: int, entry: Entry | Damaged) -> _Line:
    try:
        if isinstance(entry, Entry):
            return _Line(
                position=position,
                writer=entry.writer,
                seq=entry.seq,
                prev=entry.prev.hex(),
                hash=entry.hash.hex(),
                body=entry.body.decode(),
            )
    except UnicodeDecodeError:
        pass
    raise Malformed(
        f"What stands at position {position} is not an entry and cannot be exported.",
        hint="Verify the database itself: `midflight ledger verify ledger.sqlite3`.",
    )


def _entry(line: bytes, number: int) -> tuple[int, Entry | Damaged]:
    try:
        found = _LINE.decode(line)
        return found.position, Entry(
            writer=found.writer,
            seq=found.seq,
            prev=bytes.fromhex(found.prev),
            body=found.body.encode(),
            hash=bytes.fromhex(found.hash),
        )
    except ValueError:  # msgspec.DecodeError and UnicodeError are among its kinds
        return number, Damaged(text=f"line {number} is not an entry")


def _is_note(line: bytes) -> bool:
    return line.startswith(b'{"size":')


def _no_ledger(path: Path) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"{path} is not a ledger in the form of JSON lines.",
        hint="Give ledger.sqlite3, or a file that `midflight ledger export` has written.",
    )


__all__ = ["LedgerFile", "export"]
