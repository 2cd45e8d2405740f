"""OAuth scopes of Midflight's resources, and what a token that carries them may do.

    mcp                  everything the run may do
    mcp:git              one upstream
    mcp:git/git_log      one tool
    effect:read          only what reads; narrows what the others give
    ssf.read, ssf.manage streams of security events (CAEP interoperability profile)

A scope is a narrowing (`narrowing.py`) in the words of OAuth. It gives nothing: policy, pins and
the run decide within it. Values that are unknown here give nothing, and are refused when asked for.
Streams are apart: who may do everything else has none unless that stands in its registration.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from midflight.domain.narrowing import WHOLE, Narrowing
from midflight.domain.traits import Effect

EVERYTHING = "mcp"
SSF_READ = "ssf.read"
SSF_MANAGE = "ssf.manage"
SIGNALS = frozenset({SSF_READ, SSF_MANAGE})
Scopes = tuple[str, ...]
MAX_SCOPES = 64

_UPSTREAM = "mcp:"
_EFFECT = "effect:"
_RESOURCE = re.compile(r"mcp(?::[a-z0-9-]{1,32}(?:/[A-Za-z0-9_.-]{1,128})?)?\Z")
_EFFECTS = frozenset(f"{_EFFECT}{effect.value}" for effect in Effect)


def scopes_of(text: str) -> Scopes:
    """The values of a `scope` parameter (RFC 6749 §3.3), sorted and without repetition.

    Raises:
        ValueError: a value that is no scope here, none that names a resource, or too many.
    """
    values = text.split(" ")
    if len(values) > MAX_SCOPES:
        raise ValueError("too many scope values")
    if not all(_names_something(value) or value in _EFFECTS for value in values):
        raise ValueError("a scope value is not known here")
    if not any(map(_names_something, values)):
        raise ValueError("no scope value names mcp, an upstream or a tool")
    return tuple(sorted(set(values)))


def narrowing(scopes: Scopes | None) -> Narrowing:
    """What is left to whoever has these scopes; None leaves everything."""
    if scopes is None:
        return WHOLE
    effects = frozenset(
        Effect(value.removeprefix(_EFFECT)) for value in scopes if value in _EFFECTS
    )
    only: frozenset[str] | None = frozenset(
        value.removeprefix(_UPSTREAM) for value in scopes if value.startswith(_UPSTREAM)
    )
    if EVERYTHING in scopes:
        only = None
    return Narrowing(only=only, effects=effects or None)


def scopes_within(left: Narrowing) -> Scopes | None:
    """The scopes that whoever has this narrowing has; None for everything, empty for nothing."""
    if left.leaves_all:
        return None
    only = (EVERYTHING,) if left.only is None else tuple(_UPSTREAM + entry for entry in left.only)
    if not only or left.effects == frozenset():
        return ()
    effects = tuple(_EFFECT + effect.value for effect in left.effects or ())
    return tuple(sorted((*only, *effects)))


def beyond(held: Scopes | None, asked: Scopes) -> Scopes:
    """What is asked for and not held; empty if the asked is less or the same."""
    if held is None:
        return tuple(value for value in asked if value in SIGNALS)
    found = [value for value in asked if _names_something(value) and not _covers(held, value)]
    limits, wanted = _effects(held), _effects(asked)
    if limits and not SIGNALS.issuperset(asked):
        # Who has only some effects and asks for no limit asks for all of them.
        found += sorted(wanted - limits) if wanted else [EVERYTHING]
    return tuple(found)


def meet(one: Scopes | None, other: Scopes | None) -> Scopes:
    """What both have. Empty where they have nothing in common; `mcp` where neither is narrowed."""
    if one is None or other is None:
        left = other if one is None else one
        return (EVERYTHING,) if left is None else left
    both = [
        value
        for value in {*one, *other}
        if _names_something(value) and _covers(one, value) and _covers(other, value)
    ]
    first, second = _effects(one), _effects(other)
    effects = first & second if first and second else first | second
    if not both or (first and second and not effects):
        return ()
    return tuple(sorted([*both, *effects]))


def _covers(held: Sequence[str], value: str) -> bool:
    if value in SIGNALS:
        return value in held
    return value in held or EVERYTHING in held or value.partition("/")[0] in held


def _names_something(value: str) -> bool:
    return value in SIGNALS or _RESOURCE.match(value) is not None


def _effects(scopes: Sequence[str]) -> frozenset[str]:
    return frozenset(value for value in scopes if value in _EFFECTS)


__all__ = [
    "EVERYTHING",
    "SIGNALS",
    "SSF_MANAGE",
    "SSF_READ",
    "Scopes",
    "beyond",
    "meet",
    "narrowing",
    "scopes_of",
    "scopes_within",
]
