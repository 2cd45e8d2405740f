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
from collections.abc import Iterator
from typing import Any, cast

from midflight.domain.canonical import canonical
from midflight.domain.monitor import SATURATED, Monitor
from midflight.domain.traits import Traits
from midflight.domain.value import JSONObject

MAX_KEYS = 64
"""Values of one action that are told apart; each one beyond counts as a new one."""
MAX_VALUES = 10_000
"""Values of one action that are looked at; with more, its amount is not known."""
KEY_BYTES = 12

PATH = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[\*\])*\Z")
_STEP = re.compile(r"[^.\[\]]+|\[\*\]")
_MINOR = re.compile(r"(?:\A|[._-])(?:cents|minor)(?:\[\*\])?\Z", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?\Z")
_EXACT = decimal.Context(prec=400, rounding=decimal.ROUND_CEILING)


def amount_of(monitor: Monitor, arguments: JSONObject, traits: Traits) -> int:
    """What an action adds to a sum, in its unit; `SATURATED` if that is not known.

    Of a role, arguments that are not there add nothing.
    """
    total, found = 0, False
    for number, (path, value) in enumerate(_values(monitor, arguments, traits)):
        found = True
        minor = monitor.role is not None and _MINOR.search(path) is not None
        amount = _units(value, monitor.places - 2 if minor else monitor.places)
        if amount is None or number >= MAX_VALUES:
            return SATURATED
        total += amount
    if not found and monitor.argument:
        return SATURATED
    return min(total, SATURATED)


def keys_of(
    monitor: Monitor, arguments: JSONObject, traits: Traits, *, key: bytes, scope: str, salt: str
) -> tuple[tuple[str, ...], int]:
    """Keyed hashes of the values that a `distinct` tells apart, and how many more there are.

    `key` is the plane's secret; `salt` the run's, for what is counted per run, so that the hashes
    cannot be guessed back once the run's secrets are erased. Values are compared as JSON, without
    folding: two that only a reader takes for one count as two.
    """
    bound = b"\0".join((monitor.fingerprint.encode(), scope.encode(), salt.encode()))
    keys: dict[str, None] = {}
    beyond = 0
    for _, value in _values(monitor, arguments, traits):
        if len(keys) >= MAX_KEYS:
            beyond += 1
            continue
        hashed = hashlib.blake2b(key=key, digest_size=KEY_BYTES)
        hashed.update(len(bound).to_bytes(8) + bound + canonical(value))
        keys[hashed.hexdigest()] = None
    return tuple(keys), beyond


def _values(monitor: Monitor, arguments: JSONObject, traits: Traits) -> Iterator[tuple[str, Any]]:
    """(path, value) of what the monitor is about."""
    if monitor.argument:
        yield from _at(arguments, monitor.argument)
        return
    role = monitor.role
    if role is None:
        return
    named = {_STEP.findall(argument.path)[0] for argument in traits.arguments if argument.path}
    for argument in traits.arguments:
        if argument.role is role:
            yield from _at(arguments, argument.path)
    # What nobody said anything about, and is called as the role is.
    for name in (role.value, f"{role.value}s"):
        if name not in named:
            yield from _at(arguments, name)


def _at(arguments: JSONObject, path: str) -> Iterator[tuple[str, Any]]:
    """(path, value) of the values at a path.

    A list stands for its members; `null` is as if it were not there.
    """
    found: list[Any] = [arguments]
    for step in _STEP.findall(path):
        after: list[Any] = []
        for value in found:
            if step == "[*]":
                after.extend(cast("list[Any]", value) if isinstance(value, list) else ())
            elif isinstance(value, dict) and step in value:
                after.append(cast("JSONObject", value)[step])
        found = after
    for value in found:
        members = cast("list[Any]", value) if isinstance(value, list) else [value]
        yield from ((path, member) for member in members if member is not None)


def _units(value: object, places: int) -> int | None:
    # `type`, not isinstance: a boolean is an int in Python and no number in JSON.
    if type(value) is int:
        if places >= 0:
            return min(abs(value) * 10**places, SATURATED)
        text = str(value) if abs(value) < SATURATED else str(SATURATED)
    elif type(value) is float:
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


__all__ = ["KEY_BYTES", "MAX_KEYS", "MAX_VALUES", "PATH", "amount_of", "keys_of"]
