"""Any bytes in any chunks: the same events, in bounded memory, or `Malformed`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["midflight.wire"]):
    from midflight.domain.errors import Malformed
    from midflight.wire import sse

_LIMIT = 64


def _events(pieces: list[bytes]) -> list[sse.Event] | None:
    decoder = sse.Decoder(_LIMIT)
    try:
        return [event for piece in pieces for event in decoder.feed(piece)]
    except Malformed:
        return None


def one_input(raw: bytes) -> None:
    if not raw:
        return
    step, data = raw[0] % 7 + 1, raw[1:]
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    whole = _events([data])
    if whole != _events(pieces):
        raise AssertionError("chunks changed the events")
    if any(len(event.data) > _LIMIT for event in whole or ()):
        raise AssertionError("an event is longer than allowed")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
