"""Fitting arguments to their shape: the caller's JSON becomes typed Cedar values, or a misfit.

A value that does not fit its declared type is never dropped and never passed on: a policy would
judge something else than what the tool receives. Keys that Cedar's JSON gives a meaning of its own
(`__entity`, `__extn`) are refused wherever they stand, typed or not. A `null` where the argument
is optional counts as absent, since Cedar has no `null`. Below: `shapes.py`. Above: `cedar.py`.
"""

from __future__ import annotations

import decimal
from collections.abc import Collection
from typing import Any, cast

from midflight.adapters.policy.shapes import RecordOf, Scalar, SetOf, Shape
from midflight.domain.value import JSONObject, Value

# Cedar `Long` is a signed 64-bit integer.
LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1
# Cedar `decimal`: a signed 64-bit integer of ten-thousandths.
DECIMAL_PLACES = 4
# Arguments nested deeper are refused: no tool needs it, and encoders recurse.
MAX_DEPTH = 64

# Looking up a member of an enum costs as much as what is done with it here.
_STRING, _LONG, _BOOL = Scalar.STRING, Scalar.LONG, Scalar.BOOL

_FORBIDDEN_KEYS = frozenset({"__entity", "__extn"})
_EXACT = decimal.Context(prec=400)
_UNDECLARED = "is not declared, and the tool declares all it takes"


class Misfit(Exception):
    """An argument that cannot be carried: its path and why. Its value is not repeated."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"Argument `{_shown(path)}` {why}.")


class Carried(Value):
    """Arguments as policy sees them: typed values by Cedar name, and paths of what has no type.

    `typed` is None for an action that has no typed arguments at all.
    """

    typed: JSONObject | None
    untyped: tuple[str, ...]


def carry(arguments: JSONObject, shape: RecordOf, *, wanted: Collection[str] | None) -> Carried:
    """Fit `arguments` to `shape`.

    Every declared argument is checked. Only those whose Cedar name is in `wanted` are carried
    (None: all), since no policy that applies looks at the others.

    Raises:
        Misfit: with the path of the argument and what would fit.
    """
    refuse_forbidden_keys(arguments)
    fitter = _Fitter()
    typed: JSONObject = {}
    for name, value in arguments.items():
        member = shape.members.get(name)
        seen = wanted is None or (member is not None and member.id in wanted)
        if member is not None and _is_plain(value, member.shape):
            if seen:
                typed[member.id] = value
        else:
            fitter.fit_member(value, shape, name, path=name, exact=seen, into=typed if seen else {})
    _demand_required(arguments, shape, path="")
    return Carried(typed=typed, untyped=tuple(fitter.untyped))


def _is_plain(value: object, shape: Shape | None) -> bool:
    """Whether this is a scalar that fits as it is: most arguments are, told at little cost."""
    if shape is _STRING:
        return type(value) is str and value.isascii()
    if shape is _LONG:
        return type(value) is int and LONG_MIN <= value <= LONG_MAX
    return shape is _BOOL and type(value) is bool


def refuse_forbidden_keys(arguments: JSONObject) -> None:
    """Refuse keys that would become entity references or extension calls, at any depth.

    Raises:
        Misfit: there is such a key, or the nesting is deeper than `MAX_DEPTH`.
    """
    waiting: list[tuple[Any, int]] = [(arguments, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise Misfit("…", f"is nested deeper than {MAX_DEPTH} levels")
        parts: Collection[object] = value
        if isinstance(value, dict):
            node = cast("JSONObject", value)
            if not _FORBIDDEN_KEYS.isdisjoint(node):
                key = min(_FORBIDDEN_KEYS.intersection(node))
                raise Misfit(key, "has a name that the policy language reserves")
            parts = node.values()
        waiting += [(cast("object", p), depth + 1) for p in parts if isinstance(p, (dict, list))]


class _Fitter:
    """Fits values; collects the paths of what is there and has no type."""

    def __init__(self) -> None:
        self.untyped: list[str] = []

    def fit_member(
        self, value: object, shape: RecordOf, name: str, *, path: str, exact: bool, into: JSONObject
    ) -> None:
        """Fit one property of a record into `into`, or note that it has no type."""
        member = shape.members.get(name)
        if member is None and shape.closed:
            raise Misfit(path, _UNDECLARED)
        if member is None or member.shape is None:
            self.untyped.append(_unicode(path, path=path))
        elif value is not None:
            into[member.id] = self.fit(value, member.shape, path=path, exact=exact)
        elif member.required:
            raise Misfit(path, "is null, and it is required")

    def fit(  # noqa: C901 -- one arm a type
        self, value: object, shape: Shape, *, path: str, exact: bool
    ) -> Any:
        """The value as Cedar takes it. `exact`: a policy could look, so nothing may be lost."""
        # `type`, not isinstance: a boolean is an int in Python and no integer in JSON.
        match shape:
            case Scalar.STRING:
                if type(value) is not str:
                    raise Misfit(path, "is no string")
                return _unicode(value, path=path)
            case Scalar.LONG:
                if type(value) is not int:
                    raise Misfit(path, "is no integer")
                if not LONG_MIN <= value <= LONG_MAX:
                    raise Misfit(path, "does not fit into 64 bits")
                return value
            case Scalar.BOOL:
                if type(value) is not bool:
                    raise Misfit(path, "is neither true nor false")
                return value
            case Scalar.DECIMAL:
                return _fit_decimal(value, path=path, exact=exact)
            case SetOf(element=element):
                if not isinstance(value, list):
                    raise Misfit(path, "is no list")
                return [
                    self.fit(item, element, path=f"{path}[{i}]", exact=exact)
                    for i, item in enumerate(cast("list[Any]", value))
                ]
            case RecordOf():
                if not isinstance(value, dict):
                    raise Misfit(path, "is no object")
                return self._fit_record(cast("JSONObject", value), shape, path=path, exact=exact)

    def _fit_record(
        self, value: JSONObject, shape: RecordOf, *, path: str, exact: bool
    ) -> JSONObject:
        fitted: JSONObject = {}
        for name, item in value.items():
            self.fit_member(item, shape, name, path=f"{path}.{name}", exact=exact, into=fitted)
        _demand_required(value, shape, path=f"{path}.")
        return fitted


def _demand_required(value: JSONObject, shape: RecordOf, *, path: str) -> None:
    for name, member in shape.members.items():
        if member.required and name not in value:
            raise Misfit(path + name, "is missing, and it is required")


def _fit_decimal(value: object, *, path: str, exact: bool) -> JSONObject | None:
    """A JSON number as a Cedar `decimal`.

    A number with more places, or out of range, cannot be carried. Rounding could move it over a
    policy's limit, so it is refused where a policy could look (`exact`), and passes where none
    can.
    """
    if type(value) is not int and type(value) is not float:
        raise Misfit(path, "is no number")
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 -- NaN
        raise Misfit(path, "is no finite number")
    if not exact:
        return None
    if not LONG_MIN <= value <= LONG_MAX:
        raise Misfit(path, "is too large for a decimal of 64 bits")
    units = decimal.Decimal(repr(value)).scaleb(DECIMAL_PLACES, context=_EXACT)
    whole = int(units)
    if whole != units:
        raise Misfit(path, f"has more than {DECIMAL_PLACES} decimal places, and a policy looks")
    if not LONG_MIN <= whole <= LONG_MAX:
        raise Misfit(path, "is too large for a decimal of 64 bits")
    digits = f"{abs(whole):05d}"
    sign = "-" if whole < 0 else ""
    return {"__extn": {"fn": "decimal", "arg": f"{sign}{digits[:-4]}.{digits[-4:]}"}}


def _unicode(text: str, *, path: str) -> str:
    """The text, if Cedar would take it."""
    if not is_unicode(text):
        raise Misfit(path, "is no Unicode text")
    return text


def is_unicode(text: str) -> bool:
    """Whether the text has bytes in UTF-8: one with a lone surrogate has none."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(path: str) -> str:
    """A path from the caller, made safe to show: bounded, without control characters."""
    shown = path if len(path) <= 80 else path[:79] + "…"
    return "".join(c if c.isprintable() and c != "`" else "?" for c in shown)


__all__ = [
    "LONG_MAX",
    "LONG_MIN",
    "Carried",
    "Misfit",
    "carry",
    "is_unicode",
    "refuse_forbidden_keys",
]
