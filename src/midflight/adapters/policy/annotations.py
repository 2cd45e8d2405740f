"""Annotations: what a policy says besides its condition, and which of them are understood.

| annotation | on | meaning |
|---|---|---|
| `@id("…")` | all | the policy's name in decisions and records; must be there and be unique |
| `@reason("…")`, `@help("…")` | all | why, and what would help, for the agent and its owner |
| `@approvers("a, b")`, `@expires("10m")` | where approval matters | who must agree, until when |
| `@redact` `@mask` `@lease` `@limit` `@log` | permits | obligations, each with a value |

An unknown annotation is refused: a misspelt `@approvers` would otherwise ask nobody.
Below: nothing. Above: `parsing.py`, `cedar.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from midflight.domain.approval import NOT_OWNER, people
from midflight.domain.decision import Obligation
from midflight.domain.obligation import owed, problem
from midflight.domain.value import Value

OBLIGATIONS = ("redact", "mask", "lease", "limit", "log")
DEFAULT_EXPIRES_S = 600
MAX_EXPIRES_S = 7 * 86_400

_KNOWN = frozenset({"id", "reason", "help", "approvers", "expires", *OBLIGATIONS})
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}\Z")
_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Notes(Value):
    """What the annotations of one policy say. `expires_s` is None where they say nothing."""

    reason: str = ""
    help: str = ""
    approvers: tuple[str, ...] = ()
    expires_s: int | None = None
    obligations: tuple[Obligation, ...] = ()


def read_notes(annotations: Mapping[str, str], *, effect: str, asks: bool) -> Notes:
    """Read the annotations of a policy. `asks`: its condition looks at the approval."""
    expires = _DURATION.match(annotations.get("expires", ""))
    return Notes(
        reason=annotations.get("reason", ""),
        help=annotations.get("help", ""),
        approvers=_names(annotations.get("approvers", "")) if asks else (),
        expires_s=int(expires[1]) * _SECONDS[expires[2]] if expires and asks else None,
        obligations=tuple(
            Obligation(name=name, value=annotations[name])
            for name in OBLIGATIONS
            if name in annotations and effect == "permit"
        ),
    )


def annotation_problems(
    annotations: Mapping[str, str], *, effect: str, asks: bool
) -> Iterable[str]:
    """Everything that is wrong with the annotations of a policy."""
    identifier = annotations.get("id")
    if identifier is None:
        yield 'has no @id("…"): decisions and records name policies by it'
    elif _ID.match(identifier) is None:
        yield f"has an @id that is no plain name of letters, digits and ./_-: {identifier!r}"
    for name in sorted(set(annotations) - _KNOWN):
        yield f"has an annotation that nothing understands: @{name}"
    yield from _approval_problems(annotations, asks=asks)
    yield from _obligation_problems(annotations, effect=effect)


def _approval_problems(annotations: Mapping[str, str], *, asks: bool) -> Iterable[str]:
    for name in ("approvers", "expires"):
        if name in annotations and not asks:
            yield f"has @{name}, and its condition never looks at context.approval"
    named = _names(annotations.get("approvers", ""))
    if "approvers" in annotations and not people(named):
        yield "has @approvers that name nobody"
    for name in named:
        if name.startswith("!") and name != NOT_OWNER:
            yield f"has @approvers with {name!r}: only {NOT_OWNER} can be left out"
    if "expires" in annotations:
        found = _DURATION.match(annotations["expires"])
        if found is None or int(found[1]) * _SECONDS[found[2]] > MAX_EXPIRES_S:
            yield "has an @expires that is no time such as 30s, 10m, 2h or 1d (at most 7d)"


def _obligation_problems(annotations: Mapping[str, str], *, effect: str) -> Iterable[str]:
    for name in OBLIGATIONS:
        if name in annotations and effect != "permit":
            yield f"is a forbid with @{name}: only a permit has obligations"
        elif annotations.get(name) == "":
            yield f"has @{name} without a value"
        elif name in annotations and name != "lease":
            # A lease is checked where leases are: here it is only known to be one.
            wrong = problem(name, annotations[name])
            if wrong is not None:
                yield f"has {wrong}"


def join_obligations(notes: Iterable[Notes]) -> tuple[Obligation, ...]:
    """All obligations together, in a fixed order. Limits that another one covers are left out."""
    found = {obligation for note in notes for obligation in note.obligations}
    rates = {str(rate) for rate in owed(found).rates}
    kept = (o for o in found if o.name != "limit" or o.value in rates)
    return tuple(sorted(kept, key=lambda o: (o.name, o.value)))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


__all__ = [
    "DEFAULT_EXPIRES_S",
    "MAX_EXPIRES_S",
    "OBLIGATIONS",
    "Notes",
    "annotation_problems",
    "join_obligations",
    "read_notes",
]
