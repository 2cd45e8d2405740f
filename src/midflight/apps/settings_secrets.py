"""Settings that name where a secret is, and nothing else: `env:NAME` or `file:PATH`.

While a secret is replaced, the one before holds until a time that is set beside it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator

from midflight.apps.settings_sections import BASE
from midflight.apps.settings_values import Reference, reference

_NONE = "is not where a secret is: env:NAME or file:PATH"


def secret_reference(value: Any) -> Reference:
    """`env:NAME` or `file:PATH`, for pydantic."""
    if isinstance(value, Reference):
        return value
    if not isinstance(value, str):
        raise ValueError(_NONE)  # noqa: TRY004 -- pydantic collects ValueError only
    found = reference(value, named="secret", base=BASE.get())
    if not found.secret:
        raise ValueError(_NONE)
    return found


def check_previous(previous: Reference | None, until: int | None) -> None:
    """For pydantic: a secret that is being replaced has an end.

    Raises:
        ValueError: one of them is without the other.
    """
    if (previous is None) != (until is None):
        raise ValueError("needs previous_secret and previous_until, or neither")


def _end(value: Any) -> int:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise ValueError("is not a time with its zone, such as 2027-01-31T12:00:00Z")
    return int(found.timestamp())


Secret = Annotated[Reference, BeforeValidator(secret_reference)]

End = Annotated[int, BeforeValidator(_end)]
"""When a secret ends: a date and time of TOML with its offset, kept as Unix seconds."""

__all__ = ["End", "Secret", "check_previous", "secret_reference"]
