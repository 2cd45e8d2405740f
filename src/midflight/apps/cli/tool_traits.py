"""The traits of a tool in `midflight tool …`: which review a pin takes, and showing what counts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json
from midflight.apps.cli.session import Session
from midflight.apps.durations import iso
from midflight.domain.errors import Conflict, NotFound
from midflight.domain.tool import PinnedKind
from midflight.domain.traits import Traits


def reviewed_for(
    session: Session, upstream: str, chosen: list[dict[str, Any]], *, given: Path | None
) -> dict[str, Traits]:
    """The reviewed traits of tools about to be pinned, by name, from the traits file.

    A file that was named must have a review for each; the configured one may say nothing.

    Raises:
        Conflict: a review is about another definition than the one served, or is missing in a
            file that was named.
    """
    from midflight.apps.cli import traits_files

    path = given if given is not None else traits_files.file_of(session, upstream)
    reviews = (
        traits_files.read_reviews(path, upstream)
        if given is not None
        else traits_files.read_if_there(path, upstream)
    )
    found: dict[str, Traits] = {}
    missing: list[str] = []
    for entry in chosen:
        name = entry["name"]
        review = reviews.of(name) if reviews and entry["kind"] == PinnedKind.TOOL.value else None
        if review is not None and review.holds(entry["digest"]):
            found[name] = review.traits
        elif review is not None and review.reviewed:
            raise Conflict(
                f"{path.name} reviewed another definition of {name} than {upstream} serves now.",
                hint=f"See `midflight tool diff {upstream} {name}`, then review it again with"
                f" `midflight traits propose {upstream}`, or say --effect and --reach.",
            )
        else:
            missing.append(name)
    if given is not None and missing:
        raise Conflict(
            f"{path.name} has no review of {', '.join(missing[:10])}.",
            hint="Set `reviewed = true` there once somebody has looked.",
        )
    waiting = [name for name in missing if reviews and reviews.of(name)]
    if waiting:
        note(f"Not taken from {path.name}, since nobody has confirmed it: {', '.join(waiting)}.")
    return found


def show(
    context: typer.Context,
    upstream: Annotated[str, typer.Argument(help="The upstream's name in midflight.toml.")],
    name: Annotated[str, typer.Argument(help="The name as the upstream serves it.")],
    kind: Annotated[PinnedKind, typer.Option(help="What it is.")] = PinnedKind.TOOL,
    as_json: JsonFlag = False,
) -> None:
    """Show one definition: its pin, what its arguments are for, what its results hold."""
    from midflight.apps.cli.traits_words import print_roles, read_traits, state_of, warn

    listing: list[dict[str, Any]] = Session.of(context).client().get("/v1/tools", upstream=upstream)
    chosen = [e for e in listing if e["name"] == name and e["kind"] == kind.value]
    if not chosen:
        raise NotFound(
            f"{upstream} neither serves nor has pinned a {kind.value} {name!r}.",
            hint=f"midflight tool list {upstream} shows what it serves.",
        )
    entry = chosen[0]
    if as_json:
        print_json(entry)
        return
    traits = read_traits(entry["traits"])
    body: dict[str, Any] = entry["body"] or {}
    print_fields(
        {
            "upstream": upstream,
            "kind": entry["kind"],
            "name": entry["name"],
            "description": body.get("description"),
            "state": entry["state"],
            "digest": entry["digest"],
            "pinned digest": entry["pinned_digest"],
            "pinned by": entry["pinned_by"],
            "pinned at": iso(entry["pinned_at"]) if entry["pinned_at"] else None,
            "effect": traits and traits.effect.value,
            "reach": traits and traits.reach.value,
            "review": state_of(traits),
            "first party": traits and traits.first_party,
            "persists": traits and traits.persists,
        }
    )
    if traits is not None:
        print_roles(traits)
    warn(f"{upstream}/{name}", entry["contradictions"])


__all__ = ["reviewed_for", "show"]
