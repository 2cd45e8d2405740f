"""What an action adds to a monitor: amounts and keys, read out of its arguments. Pure.

Money is carried as an integer of minor units: a number is taken exactly as it is written (`0.1` is
one tenth, whatever its bits), its sign is left out (money that flows back is money that flows), and
it is rounded up to the unit. A currency beside it is not looked at. Of a role, an argument called
`…_cents` or `…_minor` is in hundredths already. What is there and is no number, or is not there
although the declaration names it, is not known: the sum is saturated while that counts. Text of an
argument leaves here only as a keyed hash. Above: `services/monitors.py`.
"""

from __future__ import annotations

import decimal
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, cast

from midflight.domain.canonical import canonical
from midflight.domain.monitor import SATURATED, Monitor
from midflight.domain.paths import argument_path
from midflight.domain.proposal.roles import role_by_name
from midflight.domain.traits import Role, Traits
from midflight.domain.value import JSONObject, Value

MAX_KEYS = 64
"""Values of one action that are told apart; each one beyond counts as a new one."""
MAX_VALUES = 10_000
"""Values of one action that are looked at; with more, its amount is not known."""
KEY_BYTES = 12

_CURRENCY = re.compile(r"[A-Z]{3}\Z")
_BETWEEN = re.compile(r"[,;\n]")
_MINOR = re.compile(r"(?:\A|[_-])(?:cents|minor)\Z", re.IGNORECASE)
# A currency may stand on either side: it is not looked at.
_NUMBER = re.compile(
    r"(?:[A-Z]{3} ?|[$€£¥] ?)?([+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?)(?: ?[A-Z]{3}| ?[$€£¥])?\Z"
)
_SURE = 10**15
_EXACT = decimal.Context(prec=400, rounding=decimal.ROUND_CEILING)


class Where(Value):
    """Where in the arguments of a tool a monitor looks: the same for all of its calls.

    Attributes:
        path: names and, for the members of a list, None; of a declaration that names its argument.
        role: of one that names a role.
        named: roles that the tool's traits give, by path.
        above: paths of objects in which they name something.
    """

    path: tuple[str | None, ...] = ()
    role: Role | None = None
    named: dict[str, Role] = {}
    above: frozenset[str] = frozenset()


def where(monitor: Monitor, traits: Traits) -> Where | None:
    """Where a monitor looks in the arguments of a tool; None if it looks at none."""
    if monitor.argument:
        return Where(path=tuple(step.name for step in argument_path(monitor.argument).steps))
    if monitor.role is None:
        return None
    named = {argument.path.removesuffix("[*]"): argument.role for argument in traits.arguments}
    above = frozenset(path[:at] for path in named for at, c in enumerate(path) if c == ".")
    return Where(role=monitor.role, named=named, above=above)


def amount_of(monitor: Monitor, look: Where, arguments: JSONObject) -> int:
    """What an action adds to a sum, in its unit; `SATURATED` if that is not known.

    Of a role, arguments that are not there add nothing.
    """
    total = 0
    found = _values(look, arguments)
    for value, minor in found:
        amount = _units(value, monitor.places - 2 if minor else monitor.places)
        if amount is None:
            return SATURATED
        total += amount
    if len(found) > MAX_VALUES or (look.path and not found):
        return SATURATED
    return min(total, SATURATED)


def keys_of(
    look: Where, arguments: JSONObject, *, key: bytes, bound: bytes
) -> tuple[tuple[str, ...], int]:
    """Keyed hashes of the values that a `distinct` tells apart, and how many more there are.

    `key` is the plane's secret. `bound` says what the values are told apart for (`bound_to`).
    Values are compared as JSON, without folding: two that only a reader takes for one count twice.
    """
    keys: dict[str, None] = {}
    beyond = 0
    found = _values(look, arguments)
    several = look.role is Role.RECIPIENT
    for value, _ in found:
        for one in _several(value) if several and isinstance(value, str) else (value,):
            if len(keys) >= MAX_KEYS:
                beyond += 1
                continue
            text = bound + canonical(one)
            keys[hashlib.blake2b(text, key=key, digest_size=KEY_BYTES).hexdigest()] = None
    return tuple(keys), SATURATED if len(found) > MAX_VALUES else beyond


def bound_to(fingerprint: str, scope: str, salt: str) -> bytes:
    """What a key is hashed with, so that equal values differ between monitors and scopes.

    `salt` is the run's, for what is counted per run: once the run's secrets are erased the keys
    cannot be guessed back.
    """
    parts = [part.encode() for part in (fingerprint, scope, salt)]
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def _several(text: str) -> Sequence[str]:
    """The recipients in one text. A name with a comma counts twice, and none hides behind one."""
    if not _BETWEEN.search(text):
        return (text,)
    return [one for part in _BETWEEN.split(text) if (one := part.strip())]


def _values(look: Where, arguments: JSONObject) -> Sequence[tuple[Any, bool]]:
    """The values there are, and whether each is in hundredths: one more than `MAX_VALUES` at most.

    A list stands for its members; `null` is as if it were not there.
    """
    found = _of_role(look, arguments) if look.role is not None else _at(arguments, look.path)
    return list(islice(found, MAX_VALUES + 1))


def _at(arguments: JSONObject, path: Sequence[str | None]) -> Iterator[tuple[Any, bool]]:
    found: list[Any] = [arguments]
    for step in path:
        if step is None:
            lists = [cast("list[Any]", value) for value in found if isinstance(value, list)]
            found = [member for members in lists for member in members]
        else:
            found = [v[step] for v in found if isinstance(v, dict) and step in v]
    for value in found:
        members = cast("list[Any]", value) if isinstance(value, list) else [value]
        yield from ((member, False) for member in members if member is not None)


def _of_role(look: Where, arguments: JSONObject) -> Iterator[tuple[Any, bool]]:
    # As flow reads roles: by path where the traits name it, else by the name of the member.
    waiting: list[tuple[Any, str, str]] = [
        (value, name, name) for name, value in reversed(arguments.items())
    ]
    named, role = look.named, look.role
    while waiting:
        value, path, name = waiting.pop()
        if isinstance(value, list):
            for member in reversed(cast("list[Any]", value)):
                nests = type(member) in (list, dict)
                waiting.append((member, f"{path}[*]" if nests else path, name))
            continue
        if value is None:
            continue
        own = named.get(path.removesuffix("[*]"))
        if isinstance(value, dict) and path in look.above:
            own = Role.SETTING  # what is inside has roles of its own
        if own is role or (own is None and role_by_name(name, _type_of(value)) is role):
            # An object is one value: nothing hides in it.
            yield value, _MINOR.search(name) is not None
        elif isinstance(value, dict):
            inner = cast("JSONObject", value)
            waiting.extend((inner[key], f"{path}.{key}", key) for key in reversed(inner))


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "string"


def _units(value: object, places: int) -> int | None:  # noqa: PLR0911 -- one return a type
    if isinstance(value, dict):
        return _inside(cast("JSONObject", value).values(), places)
    if isinstance(value, list):
        return _inside(cast("list[Any]", value), places)
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
    elif type(value) is str and (found := _NUMBER.match(value)) is not None:
        text = found[1]
    else:
        return None
    number = decimal.Decimal(text)
    if not number.is_finite():
        return None
    exact = abs(number).scaleb(places, context=_EXACT)
    return min(int(exact.to_integral_value(decimal.ROUND_CEILING, context=_EXACT)), SATURATED)


def _inside(parts: Iterable[object], places: int) -> int | None:
    """The sum of an object such as `{"value": "12.50", "currency": "EUR"}`."""
    total: int | None = None
    for part in parts:
        if isinstance(part, str) and _CURRENCY.match(part) is not None:
            continue
        amount = _units(part, places)
        if amount is None:
            return None
        total = amount + (total or 0)
    return total if total is None else min(total, SATURATED)


__all__ = [
    "KEY_BYTES",
    "MAX_KEYS",
    "MAX_VALUES",
    "Where",
    "amount_of",
    "bound_to",
    "keys_of",
    "where",
]
