"""Times as people write them: `90`, `90s`, `10m`, `2h`, `7d`, and points in time.

Light on purpose (no pydantic, no rich): settings and the command line both read them.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

_DURATION = re.compile(r"(?P<number>[0-9]{1,9})\s*(?P<unit>s|m|h|d)?\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str | int) -> int:
    """Whole seconds of a duration; a bare number is seconds.

    Raises:
        ValueError: not a duration, or negative.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        if text < 0:
            raise ValueError("is negative; a duration is a number of seconds or 90s, 10m, 2h, 7d")
        return text
    found = _DURATION.match(str(text).strip())
    if found is None:
        raise ValueError("is not a duration; write a number of seconds or 90s, 10m, 2h, 7d")
    return int(found["number"]) * _SECONDS[found["unit"] or "s"]


def moment(text: str, *, now: float) -> float:
    """Unix seconds of a point in time: ISO 8601 with an offset, or a duration from `now`.

    Raises:
        ValueError: neither, without an offset, or not in the future.
    """
    try:
        at = now + seconds(text)
    except ValueError:
        try:
            parsed = datetime.fromisoformat(text.strip())
        except ValueError:
            raise ValueError(
                "is neither a duration (30m, 2h) nor a time (2030-01-31T12:00:00+00:00)"
            ) from None
        if parsed.tzinfo is None:
            raise ValueError("has no offset; write 2030-01-31T12:00:00Z or +02:00") from None
        at = parsed.timestamp()
    if not math.isfinite(at) or at <= now:
        raise ValueError("is not in the future")
    return at


def iso(at: float) -> str:
    """UTC, to the second, for people: `2030-01-31 12:00:00Z`."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ")


__all__ = ["iso", "moment", "seconds"]
