"""Settings that name where a secret is, and nothing else: `env:NAME` or `file:PATH`."""

from __future__ import annotations

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


Secret = Annotated[Reference, BeforeValidator(secret_reference)]

__all__ = ["Secret", "secret_reference"]
