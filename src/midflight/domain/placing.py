"""Where a credential may be placed, and what its templates say: rules, looked at before it is used.

A placement that could not work, or that would take the place of something else, is refused when an
operator adds the credential, by every problem, and not by the first call. What is placed is
`services/injection.py`. Values only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from midflight.domain.lease import Injection, Placement

RESERVED = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "last-event-id",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
"""Headers of the transport and the protocol, in lower case, which nothing else may set."""

BASIC = "basic"
"""A field that is made of two others: `username:password` in base64 (RFC 7617)."""

# RFC 9110 §5.6.2: a field name is a token.
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_QUERY = re.compile(r"[\x21-\x7e]+\Z")
_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAMED: Mapping[Placement, re.Pattern[str]] = {
    Placement.HEADER: _HEADER,
    Placement.QUERY: _QUERY,
    Placement.ENV: _VARIABLE,
}
_MADE_OF: Mapping[Placement, frozenset[str]] = {
    Placement.MTLS: frozenset({"certificate", "private_key"}),
    Placement.DPOP: frozenset({"token", "dpop_jwk"}),
    Placement.SIGV4: frozenset({"access_key_id", "secret_access_key"}),
}
_SIGNED = frozenset({Placement.DPOP, Placement.SIGV4})


def is_reserved(name: str) -> bool:
    """Whether a header is the transport's or the protocol's."""
    return name.lower() in RESERVED or name.lower().startswith("mcp-param-")


def fields_of(template: str) -> list[str]:
    """Names of the fields in a template, in their order."""
    return _FIELD.findall(template)


def filled(template: str, field: Callable[[str], str]) -> str:
    """The template with what `field` says in place of each name. Nothing is filled in twice."""
    return _FIELD.sub(lambda found: field(found[1]), template)


def place_of(rule: Injection) -> tuple[str, str]:
    """What a rule fills, so that two that fill the same can be told: kind and name."""
    if rule.placement in _SIGNED:
        return Placement.HEADER.value, "authorization"
    name = rule.name.lower() if rule.placement is Placement.HEADER else rule.name
    return rule.placement.value, name


def places(rules: Iterable[Injection]) -> set[tuple[str, str]]:
    """What these rules fill that no other credential may fill in the same call."""
    # Each credential has a placeholder of its own.
    return {place_of(rule) for rule in rules if rule.placement is not Placement.ARGUMENT}


def named(place: tuple[str, str]) -> str:
    """A place in words, such as `header authorization`."""
    return " ".join(part for part in place if part)


def problems(rules: Sequence[Injection], fields: Collection[str] | None) -> list[str]:
    """Everything that is wrong with how a credential is placed.

    Args:
        rules: how it is placed.
        fields: the names of its secret's fields; None if nobody knows before one is issued.
    """
    found = [
        f"{_said(rule)}: {what}"
        for rule in rules
        for what in [*_name(rule), *_fields(rule, fields)]
    ]
    taken: set[tuple[str, str]] = set()
    for rule in rules:
        place = place_of(rule)
        if place in taken:
            found.append(f"{_said(rule)}: it is filled twice")
        taken.add(place)
    return found


def _name(rule: Injection) -> Iterable[str]:
    form = _NAMED.get(rule.placement)
    if form is None:
        if rule.name:
            yield "it takes no name"
    elif form.match(rule.name) is None:
        yield "this is no name of one"
    if rule.placement is Placement.HEADER:
        if is_reserved(rule.name):
            yield "this header is Midflight's own"
        if not (rule.template.isascii() and rule.template.isprintable()):
            yield "its template holds what no header may"
    if "\0" in rule.template:
        yield "its template holds a NUL"


def _fields(rule: Injection, known: Collection[str] | None) -> Iterable[str]:
    wanted = _MADE_OF.get(rule.placement)
    if known is None:
        return
    given = set(known) | ({BASIC} if {"username", "password"} <= set(known) else set[str]())
    if wanted is not None:
        missing = sorted(wanted - given)
    else:
        missing = sorted(set(fields_of(rule.template)) - given)
    if missing:
        gives = ", ".join(sorted(given)) or "nothing"
        yield f"its backend gives no {', '.join(missing)}, but {gives}"


def _said(rule: Injection) -> str:
    return f"inject {rule.placement.value}" + (f":{rule.name[:64]!r}" if rule.name else "")


__all__ = [
    "BASIC",
    "RESERVED",
    "fields_of",
    "filled",
    "is_reserved",
    "named",
    "place_of",
    "places",
    "problems",
]
