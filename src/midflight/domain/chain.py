"""Ledger entries and their hash chain: pure functions; see `services/ledger.py` for the verb.

Each writer (a process) has a chain of its own, so that writers need not wait for each other; the
Merkle tree of `domain/merkle.py` runs over the entries of all writers in commit order. The chain
is not keyed: it shows accidents and clumsy hands. Who rewrites a whole chain is found by the
signed roots (`domain/checkpoint.py`).
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from midflight.domain.errors import Malformed
from midflight.domain.records import Record
from midflight.domain.value import Value

WRITER_LENGTH = 8
HASH_LENGTH = 32
GENESIS = hashlib.sha256(b"midflight/genesis/v1").digest()

# Copied for each entry: a new hash is looked up in OpenSSL by its name, which takes 1 µs of 4.
_BEGUN = hashlib.sha256(b"midflight/entry/v1")
_RECORD_ID = re.compile(r"([0-9a-f]{8})-([1-9][0-9]{0,17})\Z")
_WRITER = re.compile(r"[0-9a-f]{8}\Z")

# Deterministic: dictionaries by key, sets by value; structs stay in the order of declaration.
# It costs nothing (0.35 µs for an outcome, measured with and without).
_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(Record)


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

    @property
    def id(self) -> str:
        """The record id, which is all that other parts know of an entry."""
        return f"{self.writer}-{self.seq}"


class Damaged(Value):
    """What stands in a stored ledger where an entry should be; `text` says what is wrong."""

    text: str


def entry_hash(writer: bytes, seq: int, prev: bytes, body: bytes) -> bytes:
    """SHA-256 over tag, writer (8 bytes), seq (8 bytes, big-endian), prev (32 bytes) and body.

    All but the last part have a fixed length, so no two entries share one input.
    """
    digest = _BEGUN.copy()
    digest.update(b"".join((writer, seq.to_bytes(8), prev, body)))
    return digest.digest()


def link(writer: str, seq: int, prev: bytes, body: bytes) -> Entry:
    """The entry that follows `prev` in a writer's chain."""
    digest = entry_hash(writer.encode(), seq, prev, body)
    return Entry(writer=writer, seq=seq, prev=prev, body=body, hash=digest)


def is_intact(entry: Entry) -> bool:
    """Whether an entry from outside is well formed and its hash is the hash of its content."""
    return (
        _WRITER.match(entry.writer) is not None
        and 0 < entry.seq < 1 << 63
        and len(entry.prev) == HASH_LENGTH
        and entry.hash == entry_hash(entry.writer.encode(), entry.seq, entry.prev, entry.body)
    )


def is_writer(text: str) -> bool:
    """Whether `text` can name a writer: 8 lower-case hex characters."""
    return _WRITER.match(text) is not None


def record_id(writer: str, seq: int) -> str:
    """The id of a record: `<writer>-<seq>`."""
    return f"{writer}-{seq}"


def parse_record_id(text: str) -> tuple[str, int]:
    """Writer and sequence number of a record id.

    Raises:
        Malformed: not a record id.
    """
    found = _RECORD_ID.match(text)
    if found is None:
        raise Malformed(
            f"{text[:40]!r} is not a record id.",
            hint="Record ids look like 0f3a9c21-42; `midflight ledger tail` shows some.",
        )
    return found[1], int(found[2])


def encode(record: Record) -> bytes:
    """The stored form of a record: tagged JSON.

    Total: text that UTF-8 cannot carry (a lone surrogate from some child's output) has the
    offending character replaced, because an action must not be able to prevent its own record.
    """
    try:
        return _ENCODER.encode(record)
    except UnicodeEncodeError:
        return _ENCODER.encode(_encodable(msgspec.to_builtins(record)))


def decode(body: bytes) -> Record:
    """The record of a stored form.

    Raises:
        Malformed: not a record, or one of a later version of Midflight.
    """
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(
            "The body of this entry is not a record that this version of Midflight knows.",
            hint="If the ledger was written by a later version, read it with that one.",
        ) from error


def _encodable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_encodable(k): _encodable(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case list() | tuple():
            return [_encodable(v) for v in value]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value


__all__ = [
    "GENESIS",
    "HASH_LENGTH",
    "WRITER_LENGTH",
    "Damaged",
    "Entry",
    "decode",
    "encode",
    "entry_hash",
    "is_intact",
    "is_writer",
    "link",
    "parse_record_id",
    "record_id",
]
