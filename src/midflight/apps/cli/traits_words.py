"""Traits in words: for tables, for a person who confirms them, and for the control API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import typer

from midflight.apps.cli.output import color, print_table
from midflight.domain.labels import Confidentiality
from midflight.domain.plain import visible
from midflight.domain.traits import Reach, Traits, Yield


def state_of(traits: Traits | None) -> str:
    """Who stands behind traits: a person, a manifest, or nobody."""
    if traits is None:
        return ""
    return "reviewed" if traits.reviewed else "proposed" if traits.proposed else "no"


def read_traits(given: Any) -> Traits | None:
    """Traits as the control API gives them."""
    return None if given is None else msgspec.convert(given, Traits)


def to_send(traits: Traits) -> dict[str, Any]:
    """Traits as the control API takes them: it says by itself that they are reviewed."""
    sent: dict[str, Any] = msgspec.to_builtins(traits, order="sorted")
    return {name: sent[name] for name in sent if name not in {"reviewed", "proposed"}}


def in_words(traits: Traits) -> list[str]:
    """Lines for a person who is asked."""
    flags = (["first party"] if traits.first_party else []) + (
        ["persists"] if traits.persists else []
    )
    return [
        f"effect {traits.effect.value}, reach {traits.reach.value}"
        + "".join(f", {flag}" for flag in flags),
        *(f"argument {found.path}: {found.role.value}" for found in traits.arguments),
        *(f"yields {found.path}: {', '.join(_labels(found))}" for found in traits.yields),
        *(["results: the owner's own words, for no yields say otherwise"] * is_own(traits)),
    ]


def is_own(traits: Traits) -> bool:
    """Whether all that the tool returns counts as the owner's own words once it is reviewed."""
    return traits.reach is Reach.CLOSED and not traits.yields


def print_roles(traits: Traits) -> None:
    """Tables of what the arguments are for and what the results hold, if anything is said."""
    if traits.arguments:
        rows = [(found.path, found.role.value) for found in traits.arguments]
        print_table(("argument", "role"), rows, empty="")
    if traits.yields:
        print_table(
            ("yields", "kind", "confidentiality", "compartments", "unless"),
            [
                (
                    found.path,
                    found.kind.value,
                    found.confidentiality.name.lower(),
                    sorted(found.compartments),
                    _condition(found),
                )
                for found in traits.yields
            ],
            empty="",
        )


def counts(traits: Traits | None) -> str:
    """How much is said of arguments and results, for a list."""
    if traits is None or not (traits.arguments or traits.yields):
        return ""
    return f"{len(traits.arguments)} roles, {len(traits.yields)} yields"


def warn(subject: str, contradictions: Iterable[str]) -> None:
    """Say loudly what an upstream admits and a review denies."""
    for said in contradictions:
        text = f"warning  {subject}: {said}; look at it again"
        typer.secho(visible(text), err=True, fg=color("yellow"))


def _labels(found: Yield) -> Sequence[str]:
    secret = found.confidentiality is not Confidentiality.PUBLIC
    return (
        found.kind.value,
        *((found.confidentiality.name.lower(),) if secret else ()),
        *sorted(found.compartments),
        *((f"own if {_condition(found)}",) if found.domains else ()),
    )


def _condition(found: Yield) -> str:
    return f"{found.unless_field} of {', '.join(sorted(found.domains))}" if found.domains else ""


__all__ = ["counts", "in_words", "print_roles", "read_traits", "state_of", "to_send", "warn"]
