"""Obligations: what a permit asks for besides letting the action pass.

| annotation | asks |
|---|---|
| `@redact("secret")` | what bears the label is taken out of results before they are delivered |
| `@mask("args.card")` | it is sent, and records, screens and explanations show its end only |
| `@mask("result.card")` | what is delivered shows its end only |
| `@limit("20/m")` | so many in any second, minute, hour or day, for one workload and tool |
| `@log("full")` | the result is kept too, sealed |

Labels are `secret`, `internal` (which takes what is secret, too), `untrusted`, and compartments.
Several add up, and each can only take away: the join is a semilattice, so neither order nor
repetition matters. What is not understood is never left out: it stays as `unkept`, under which
nothing passes. Above: `services/obligations.py`, and the adapter that reads annotations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from midflight.domain.decision import Obligation
from midflight.domain.errors import Malformed
from midflight.domain.labels import Confidentiality, Labels
from midflight.domain.paths import JSONPath, argument_path, result_path
from midflight.domain.value import Value

REDACTED = "[redacted by policy]"
"""Stands where something was. A constant: what an upstream could forge of it says nothing."""

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
SHOWN = 4
"""Characters of a masked value that stay readable, if it has twice as many."""

_MASK = "****"
_RATE = re.compile(r"([1-9][0-9]{0,5})/([smhd])\Z")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}\Z")
_LEVELS = {"internal": Confidentiality.INTERNAL, "secret": Confidentiality.SECRET}


class Rate(Value, order=True):
    """At most `count` in any `seconds`."""

    count: int
    seconds: int

    def __str__(self) -> str:
        unit = next(name for name, length in SECONDS.items() if length == self.seconds)
        return f"{self.count}/{unit}"

    def covers(self, other: Rate) -> bool:
        """Whether whoever keeps this one keeps the other, too."""
        return self.count <= other.count and self.seconds >= other.seconds


class Owed(Value):
    """All obligations of a permit together.

    Attributes:
        redact: labels whose values are taken out of the result.
        arguments, results: paths of what is masked.
        rates: limits, none of which covers another; each is kept.
        full: the result is recorded.
        unkept: annotations that nobody understands, as `name("value")`.
    """

    redact: frozenset[str] = frozenset()
    arguments: frozenset[str] = frozenset()
    results: frozenset[str] = frozenset()
    rates: frozenset[Rate] = frozenset()
    full: bool = False
    unkept: frozenset[str] = frozenset()

    def join(self, other: Owed) -> Owed:
        """Both: the strictest of each. Associative, commutative, idempotent."""
        return Owed(
            redact=self.redact | other.redact,
            arguments=self.arguments | other.arguments,
            results=self.results | other.results,
            rates=strictest(self.rates | other.rates),
            full=self.full or other.full,
            unkept=self.unkept | other.unkept,
        )

    @property
    def hides(self) -> bool:
        """Whether a result must be looked through before it is delivered."""
        return bool(self.redact or self.results)

    def argument_paths(self) -> tuple[JSONPath, ...]:
        """What is masked of the arguments."""
        return tuple(argument_path(path) for path in sorted(self.arguments))

    def result_paths(self) -> tuple[JSONPath, ...]:
        """What is masked of results."""
        return tuple(result_path(path) for path in sorted(self.results))

    def takes_out(self, labels: Labels) -> bool:
        """Whether a value with these labels is redacted."""
        return bool(
            (labels.untrusted and "untrusted" in self.redact)
            or labels.compartments & self.redact
            or any(
                level in self.redact and labels.confidentiality >= least
                for level, least in _LEVELS.items()
            )
        )

    @property
    def takes_out_secrets(self) -> bool:
        """Whether fields that are called like secrets are redacted."""
        return not self.redact.isdisjoint(_LEVELS)


NOTHING = Owed()


def owed(obligations: Iterable[Obligation]) -> Owed:
    """What obligations ask for together. Total."""
    found = NOTHING
    for obligation in obligations:
        try:
            found = found.join(_read(obligation))
        except Malformed:
            text = f'{obligation.name}("{obligation.value}")'
            found = found.join(Owed(unkept=frozenset({text})))
    return found


def problem(name: str, value: str) -> str | None:
    """What is wrong with an obligation, in words that follow "has …", or None."""
    try:
        _read(Obligation(name=name, value=value))
    except Malformed as error:
        return f"a @{name} that {error.message}"
    return None


def strictest(rates: Iterable[Rate]) -> frozenset[Rate]:
    """The rates that no other one covers. All of them must be kept.

    A burst and an average are different limits: of 1/s and 20/m neither is the stricter.
    """
    found = frozenset(rates)
    return frozenset(
        rate for rate in found if not any(other != rate and other.covers(rate) for other in found)
    )


def masked(value: object) -> str:
    """What is shown of a value: its last characters, or nothing if that would tell half of it."""
    text = str(value)
    return _MASK + (text[-SHOWN:] if len(text) >= 2 * SHOWN else "")


def is_masked(text: str) -> bool:
    """Whether this is, or could be, what is shown of a value in its place."""
    return text.startswith(_MASK) and len(text) <= len(_MASK) + SHOWN


def _read(obligation: Obligation) -> Owed:
    name, value = obligation.name, obligation.value.strip()
    match name:
        case "redact":
            names = frozenset(part.strip() for part in value.split(","))
            if not all(map(_LABEL.match, names)) or "public" in names:
                raise Malformed("names no label: secret, internal, untrusted, or compartments")
            return Owed(redact=names)
        case "mask" if value.startswith(("args.", "args[")):
            path = value[4:].removeprefix(".")
            argument_path(path)
            return Owed(arguments=frozenset({path}))
        case "mask" if value.startswith(("result.", "result[")):
            path = "$" + value[len("result") :]
            result_path(path)
            return Owed(results=frozenset({path}))
        case "limit":
            found = _RATE.match(value)
            if found is None:
                raise Malformed("is no rate such as 20/m")
            rate = Rate(count=int(found[1]), seconds=SECONDS[found[2]])
            return Owed(rates=frozenset({rate}))
        case "log" if value == "full":
            return Owed(full=True)
        case "mask":
            raise Malformed("is no path such as args.card or result.items[*].card")
        case "log":
            raise Malformed("is not full")
        case _:
            raise Malformed("is not kept by this version")


__all__ = [
    "NOTHING",
    "REDACTED",
    "Owed",
    "Rate",
    "is_masked",
    "masked",
    "owed",
    "problem",
    "strictest",
]
