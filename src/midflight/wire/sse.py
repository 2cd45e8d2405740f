"""Server-sent events: the stream decoder and encoder (WHATWG HTML §9.2).

Bounded: a line or an event that grows beyond the limit is refused instead of kept. The payload
stays bytes, since `wire.json` decides what UTF-8 is. Reconnecting is the adapter's business.
"""

from __future__ import annotations

from midflight.domain.errors import Malformed
from midflight.domain.value import Value

COMMENT = b":\n\n"
"""A keep-alive that every client ignores."""

_BOM = b"\xef\xbb\xbf"
_MAX_RETRY_DIGITS = 9


class Event(Value):
    """One dispatched event.

    Attributes:
        data: the data lines joined by line feeds.
        event: its type, `message` unless said.
        id: the stream's last event id when it was dispatched, or None if there was none yet.
        retry: milliseconds that this event asked to wait before reconnecting, or None.
    """

    data: bytes
    event: str = "message"
    id: str | None = None
    retry: int | None = None


class Decoder:
    """Bytes in, events out, whatever the chunks are.

    Lines end with CR, LF or CRLF; a byte order mark at the start and comments are dropped; an
    event without data is not dispatched, but its id and retry count (MCP 2025-11-25 primes
    streams so).
    """

    def __init__(self, max_event: int) -> None:
        """Refuse events whose lines together exceed `max_event` bytes."""
        self._max = max_event
        self._start: bytes | None = b""
        self._after_cr = False
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._event = ""
        self._event_retry: int | None = None
        self.last_event_id: str | None = None
        self.retry: int | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes and return the events they complete.

        Raises:
            Malformed: an event or line is longer than allowed. The decoder is of no use then.
        """
        data = self._without_bom(data)
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == 0x0A:
                data = data[1:]
        if not data:
            return []
        self._after_cr = data[-1] == 0x0D
        lines = data.splitlines()
        rest = b"" if data[-1] in b"\r\n" else lines.pop()
        events: list[Event] = []
        for line in lines:
            whole = line
            if self._line:
                whole = bytes(self._line) + line
                self._line.clear()
            self._bounded(len(whole))
            if not whole:
                event = self._dispatch()
                if event is not None:
                    events.append(event)
            elif whole[0] != 0x3A:
                self._field(whole)
        self._line += rest
        self._bounded(len(self._line))
        return events

    def _without_bom(self, data: bytes) -> bytes:
        if self._start is None:
            return data
        data = self._start + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._start = data
            return b""
        self._start = None
        return data.removeprefix(_BOM)

    def _bounded(self, more: int) -> None:
        if self._size + more > self._max:
            raise Malformed(
                f"An event of the stream is longer than {self._max} bytes.",
                hint="Raise the limit if the upstream is to be believed.",
            )

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data.append(value)
                # Each line counts, empty ones too: a million of them is not free.
                self._size += len(value) + 1
            case b"event":
                self._event = value.decode(errors="replace")
            case b"id" if b"\0" not in value:
                self.last_event_id = value.decode(errors="replace")
            case b"retry" if value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
                self.retry = self._event_retry = int(value)
            case _:
                pass

    def _dispatch(self) -> Event | None:
        data = b"\n".join(self._data)
        event = self._event or "message"
        retry = self._event_retry
        self._data = []
        self._size = 0
        self._event = ""
        self._event_retry = None
        if not data:
            return None
        return Event(data=data, event=event, id=self.last_event_id, retry=retry)


def encode(
    data: bytes,
    *,
    id: str | None = None,  # noqa: A002 -- the field's name
    event: str = "message",
    retry: int | None = None,
) -> bytes:
    """The bytes of one event. Line ends inside `data` become LF.

    Raises:
        Malformed: an id or type that would break out of its line.
    """
    for text in (event, id or ""):
        if "\r" in text or "\n" in text or "\0" in text:
            raise Malformed(
                "An event's id or type holds a line end or NUL.", hint="Use plain text there."
            )
    lines: list[bytes] = []
    if event:
        lines.append(b"event: " + event.encode())
    if id is not None:
        lines.append(b"id: " + id.encode())
    if retry is not None:
        lines.append(b"retry: %d" % retry)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines.extend(b"data: " + line for line in data.split(b"\n"))
    return b"\n".join(lines) + b"\n\n"


__all__ = ["COMMENT", "Decoder", "Event", "encode"]
