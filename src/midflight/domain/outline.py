"""The outline of a record: what keeping the books needs, without decoding the rest.

Recovery and verification need only the tag and the links, so values they never look at cannot
stop them. It is not a speed-up for every kind (measured on a busy machine: 1.5 against 3.9 µs for
an intent of 1.2 KB, 1.6 against 0.4 µs for an outcome).
"""

from __future__ import annotations

from typing import get_args

import msgspec

from midflight.domain.errors import Malformed
from midflight.domain.records import Record
from midflight.domain.value import Value

INTENT = "intent"
OUTCOME = "outcome"
OBSERVED = "observed"

SETTLED = "ledger.settled"
"""What an `Observed` says when a later writer has ended the open intents of `subject`."""
CLOSED = "ledger.closed"
"""What an `Observed` says when the writer `subject`, its own, has ended in good order."""
DROPPED = "ledger.dropped"
"""What an `Observed` says when records were refused because the backlog was full."""
DAMAGED = "ledger.damaged"
"""What an `Observed` says when the stored ledger is not what this writer had seen before."""


class Outline(Value):
    """Of any record.

    Attributes:
        kind: the record's tag.
        ends: for an outcome, the record id of the intent it ends, if it has one.
        what, subject: of an `Observed`.
    """

    kind: str
    ends: str | None = None
    what: str = ""
    subject: str = ""


class _Stored(msgspec.Struct):
    type: str
    intent: msgspec.Raw = msgspec.Raw(b"null")
    what: str = ""
    subject: str = ""


_KINDS = frozenset(str(kind.__struct_config__.tag) for kind in get_args(Record))
_DECODER = msgspec.json.Decoder(_Stored)
_ENDED = msgspec.json.Decoder(str | None)


def outline(body: bytes) -> Outline:
    """The outline of a record's stored form.

    Raises:
        Malformed: not a record that this version knows.
    """
    try:
        stored = _DECODER.decode(body)
        if stored.type in _KINDS:
            ends = _ENDED.decode(stored.intent) if stored.type == OUTCOME else None
            return Outline(kind=stored.type, ends=ends, what=stored.what, subject=stored.subject)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("The body of this entry is not a record.") from error
    raise Malformed(
        f"The body of this entry is a record of a kind that is not known: {stored.type[:40]!r}.",
        hint="If the ledger was written by a later version of Midflight, read it with that one.",
    )


__all__ = [
    "CLOSED",
    "DAMAGED",
    "DROPPED",
    "INTENT",
    "OBSERVED",
    "OUTCOME",
    "SETTLED",
    "Outline",
    "outline",
]
