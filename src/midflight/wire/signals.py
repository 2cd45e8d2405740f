"""The body of a signal: strict JSON, in the form that Standard Webhooks recommends.

    {"type": "finding",
     "timestamp": "2026-11-26T18:00:00Z",
     "data": {"run": "run_…", "strength": "fair", "seen": "the model's answers look jailbroken"}}

`data` names a `run`, a `workload`, or both. Unknown fields are refused: who says more than is read
should know. Words are one line of printable characters, since people will read them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from midflight.domain.errors import Malformed
from midflight.domain.finding import Strength
from midflight.domain.signal import Signal
from midflight.domain.value import Value
from midflight.wire import json

MAX_BODY = 16_384
MAX_WORDS = 200
MAX_NAME = 2_048


class _Data(Value, forbid_unknown_fields=True):
    strength: Literal["weak", "fair", "strong"]
    seen: str
    run: str = ""
    workload: str = ""
    usual: str = ""


class _Body(Value, forbid_unknown_fields=True):
    type: Literal["finding"]
    data: _Data
    timestamp: str = ""


def decode_signal(body: bytes) -> Signal:
    """The signal of a body whose signature holds.

    Raises:
        Malformed: it is none; the message names the field and repeats no value.
    """
    if len(body) > MAX_BODY:
        raise Malformed(f"A signal is at most {MAX_BODY} bytes.")
    try:
        data = msgspec.convert(json.decode(body), _Body).data
    except msgspec.ValidationError as error:
        raise Malformed(f"The body is no signal: {error}.") from None
    if not data.run and not data.workload:
        raise Malformed("A signal is about a run or a workload, and this names none.")
    if max(len(data.run), len(data.workload)) > MAX_NAME:
        raise Malformed(f"A name in a signal is at most {MAX_NAME} characters.")
    for name, words, least in (("seen", data.seen, 1), ("usual", data.usual, 0)):
        if not least <= len(words) <= MAX_WORDS or not words.isprintable():
            raise Malformed(f"{name} is {least} to {MAX_WORDS} printable characters on one line.")
    return Signal(
        strength=Strength[data.strength.upper()],
        seen=data.seen,
        run=data.run,
        workload=data.workload,
        usual=data.usual,
    )


__all__ = ["MAX_BODY", "MAX_NAME", "MAX_WORDS", "decode_signal"]
