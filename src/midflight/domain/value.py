"""What every domain value is made of: a frozen msgspec struct, and the JSON type."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias, dataclass_transform

import msgspec

# `Any` stands for the recursion: JSON values are compared, digested and encoded, never guessed at.
# Not quoted: msgspec resolves the fields of a struct in the struct's own module.
JSON: TypeAlias = dict[str, Any] | list[Any] | str | int | float | bool | None
JSONObject: TypeAlias = dict[str, Any]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class _ValueMeta(msgspec.StructMeta):
    """Tells type checkers what msgspec does: values are frozen and keyword-only."""


class Value(msgspec.Struct, frozen=True, kw_only=True, metaclass=_ValueMeta):
    """Base of all domain values.

    Frozen and keyword-only. Making one costs 0.07 µs (a frozen dataclass 1.1 µs, measured),
    which is why the hot path can be ordinary functions over values.
    """


class Discreet(Value):
    """A value that carries what callers or upstreams say: its repr shows none of that.

    Reprs end up in tracebacks and logs. `shown` names the fields that may be seen there.
    """

    shown: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.shown)
        return f"{type(self).__name__}({fields})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in self.shown]


__all__ = ["JSON", "Discreet", "JSONObject", "Value"]
