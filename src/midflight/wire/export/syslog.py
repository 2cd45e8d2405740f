"""Frames of syslog: RFC 5424 messages, with octet counting (RFC 6587 §3.4.1) over streams."""

from __future__ import annotations

from datetime import UTC, datetime

from midflight.wire.export.sayings import Severity
from midflight.wire.export.telling import Told

FACILITY = 13
"""Log audit (RFC 5424 §6.2.1)."""

_SEVERITIES = {
    Severity.INFORMATIONAL: 6,
    Severity.LOW: 5,
    Severity.MEDIUM: 4,
    Severity.HIGH: 3,
    Severity.CRITICAL: 2,
}


def message(told: Told, body: str, *, host: str, process: int) -> bytes:
    """One message. `body` is UTF-8 without a byte order mark, which many collectors show.

    Args:
        told: of whom priority, time and MSGID are.
        body: the event in its own form, one line.
        host: HOSTNAME, at most 255 printable ASCII characters; others become `-`.
        process: PROCID.
    """
    priority = FACILITY * 8 + _SEVERITIES[told.severity]
    when = datetime.fromtimestamp(told.at, tz=UTC).isoformat(timespec="microseconds")
    when = when.replace("+00:00", "Z")
    head = f"<{priority}>1 {when} {_name(host, 255)} midflight {process} {_name(told.kind, 32)} - "
    return head.encode() + " ".join(body.splitlines()).encode()


def framed(messages: list[bytes]) -> bytes:
    """Messages for a stream: each with its length before it."""
    return b"".join(b"%d %s" % (len(each), each) for each in messages)


def _name(text: str, limit: int) -> str:
    shown = "".join(c if "!" <= c <= "~" else "-" for c in text[:limit])
    return shown or "-"


__all__ = ["FACILITY", "framed", "message"]
