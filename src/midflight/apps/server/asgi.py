"""The ASGI 3 types that the apps of this package share. Names only, no behaviour."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any, TypeAlias

# Scopes and events are open dictionaries by the ASGI specification, so `Any` is their value type.
Scope: TypeAlias = "MutableMapping[str, Any]"
Event: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Request headers as ASGI has them: lower-case name and value, in order of arrival."""


def header_values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Every value of a header, in order. `name` is lower case."""
    return [value for key, value in headers if key == name]


__all__ = ["App", "Event", "Headers", "Receive", "Scope", "Send", "header_values"]
