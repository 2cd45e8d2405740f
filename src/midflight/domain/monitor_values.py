"""What an action adds to a monitor: amounts and keys, read out of its arguments. Pure.

Money is carried as an integer of minor units: a number is taken exactly as it is written (`0.1` is
one tenth, whatever its bits), its sign is left out (money that flows back is money that flows), and
it is rounded up to the unit. Of a role, an argument called `…_cents` or `…_minor` is in hundredths
already. What is there and is no number, or is not there although the
declaration names it, is not known: the sum is saturated while that counts. Text of an argument
leaves here only as a keyed hash. Above: `services/monitors.py`.
"""

from __future__ import annotations

import decimal
import hashlib
import re
from collections.abc import Sequence
from typing import Any, cast

from midflight.domain.canonical import canonical
from midflight.domain.monitor import SATURATED, Monitor
from midflight.domain.traits import Traits
from midflight.domain.value import JSONObject, Value

MAX_KEYS = 64
"""Values of one action that are told apart; each one beyond counts as a new one."""
MAX_VALUES = 10_000
"""Values of one action that are looked at; with more, its amount is not known."""
KEY_BYTES = 12

PATH = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[\*\])*\Z")
_STEP = re.compile(r"[^.\[\]]+|\[\*\]")
_MINOR = re.compile(r"(?:\A|[._-])(?:cents|minor)(?:\[\*\])?\Z", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?\Z")
_SURE = 10**15
_EXACT = decimal.Context(prec=400, rounding=decimal.ROUND_CEILING)


class Place(Value):
    """Where in the arguments a monitor looks: a path, and whether it is in hundredths already."""

    steps: tuple[str, ...]
    minor: bool = False


def places_of(monitor: Monitor, traits: Traits) -> tuple[Place, ...]:
    """Where a monitor looks in the arguments of a tool. The same for all of its calls."""
    role = monitor.role
    if role is None:
        return (Place(steps=_steps(monitor.argument)),) if monitor.argument else ()
    paths = [argument.path for argument in traits.arguments if argument.role is role]
    named = {_steps(argument.path)[:1] for argument in traits.arguments}
    # What nobody said anything about, and is called as the role is.
    paths += [name for name in (role.value, f"{role.value}s") if (name,) not in named]
    return tuple(Place(steps=_steps(p), minor=_MINOR.search(p) is not None) for p in paths)


def amount_of(monitor: Monitor, places: Sequence[Place], arguments: JSONObject) -> int:
    """What an action adds to a sum, in its unit; `SATURATED` if that is not known.

    Of a role, arguments that are not there add nothing.
    """
    total, seen = 0, 0
    for place in places:
        unit = monitor.places - 2 if place.minor else monitor.places
        for value in _at(arguments, place.steps):
            seen += 1
            amount = _units(value, unit)
            if amount is None or seen > MAX_VALUES:
                return SATURATED
            total += amount
    if not seen and monitor.argument:
        return SATURATED
    return min(total, SATURATED)


def keys_of(
    places: Sequence[Place], arguments: JSONObject, *, key: bytes, bound: bytes
) -> tuple[tuple[str, ...], int]:
    """Keyed hashes of the values that a `distinct` tells apart, and how many more there are.

    `key` is the plane's secret. `bound` says what the values are told apart for (`bound_to`).
    Values are compared as JSON, without folding: two that only a reader takes for one count twice.
    """
    keys: dict[str, None] = {}
    beyond = 0
    for place in places:
        for value in _at(arguments, place.steps):
            if len(keys) >= MAX_KEYS:
                beyond += 1
                continue
            text = bound + canonical(value)
            keys[hashlib.blake2b(text, key=key, digest_size=KEY_BYTES).hexdigest()] = None
    return tuple(keys), beyond


def bound_to(fingerprint: str, scope: str, salt: str) -> bytes:
    """What a key is hashed with, so that equal values differ between monitors and scopes.

    `salt` is the run's, for what is counted per run: once the run's secrets are erased the keys
    cannot be guessed back.
    """
    parts = [part.encode() for part in (fingerprint, scope, salt)]
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def _steps(path: str) -> tuple[str, ...]:
    return tuple(_STEP.findall(path))


def _at(arguments: JSONObject, steps: Sequence[str]) -> Sequence[Any]:
    """The values at a path. A list stands for its members; `null` is as if it were not there."""
    found: list[Any] = [arguments]
    for step in steps:
        if step == "[*]":
            lists = [cast("list[Any]", value) for value in found if isinstance(value, list)]
            found = [member for members in lists for member in members]
        else:
            found = [v[step] for v in found if isinstance(v, dict) and step in v]
    if len(found) == 1 and not isinstance(found[0], list) and found[0] is not None:
        return found
    flat: list[Any] = []
    for value in found:
        flat.extend(cast("list[Any]", value) if isinstance(value, list) else [value])
    return [value for value in flat if value is not None]


def _units(value: object, places: int) -> int | None:
    # `type`, not isinstance: a boolean is an int in Python and no number in JSON.
    if type(value) is int:
        if places >= 0:
            return min(abs(value) * 10**places, SATURATED)
        text = str(value) if abs(value) < SATURATED else str(SATURATED)
    elif type(value) is float:
        if places >= 0 and abs(value) < _SURE:
            # Up to 15 digits no two decimals have the same float: what divides back is the one.
            scale = 10**places
            units = round(abs(value) * scale)
            if units < _SURE and units / scale == abs(value):
                return units
        text = repr(value)
    elif type(value) is str and _NUMBER.match(value) is not None:
        text = value
    else:
        return None
    number = decimal.Decimal(text)
    if not number.is_finite():
        return None
    exact = abs(number).scaleb(places, context=_EXACT)
    return min(int(exact.to_integral_value(decimal.ROUND_CEILING, context=_EXACT)), SATURATED)


__all__ = [
    "KEY_BYTES",
    "MAX_KEYS",
    "MAX_VALUES",
    "PATH",
    "Place",
    "amount_of",
    "bound_to",
    "keys_of",
    "places_of",
]
