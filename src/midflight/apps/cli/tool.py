"""`midflight tool …`: what upstreams serve, and which of it was looked at."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midflight.apps.cli import tool_traits
from midflight.apps.cli.output import (
    EXIT_NO,
    JsonFlag,
    YesFlag,
    color,
    note,
    print_json,
    print_table,
    visible,
)
from midflight.apps.cli.session import Session
from midflight.domain.errors import Conflict, NotFound
from midflight.domain.tool import PinnedKind, PinState
from midflight.domain.traits import Effect, Reach, Traits

if TYPE_CHECKING:
    from midflight.apps.control.client import ControlClient

app = typer.Typer(help="Definitions of upstreams, and their pins.", no_args_is_help=True)

Upstream = Annotated[str, typer.Argument(help="The upstream's name in midflight.toml.")]
Name = Annotated[str, typer.Argument(help="The name as the upstream serves it.")]
Kind = Annotated[PinnedKind, typer.Option(help="What it is.")]


@app.command("list", epilog="Example: midflight tool list git")
def list_tools(
    context: typer.Context,
    upstream: Annotated[str | None, typer.Argument(help="Only of this upstream.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask the upstream first.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List what upstreams serve and what of it is pinned."""
    from midflight.apps.cli.traits_words import counts, read_traits, state_of

    client = Session.of(context).client()
    found = client.get("/v1/tools", upstream=upstream, fresh=fresh)
    if as_json:
        print_json(found)
    else:
        print_table(
            ("upstream", "kind", "name", "state", "effect", "reach", "review", "says", "digest"),
            [
                (
                    t["upstream"],
                    t["kind"],
                    t["name"],
                    t["state"],
                    t["traits"] and t["traits"]["effect"],
                    t["traits"] and t["traits"]["reach"],
                    state_of(read_traits(t["traits"])),
                    counts(read_traits(t["traits"])),
                    (t["digest"] or t["pinned_digest"])[:12],
                )
                for t in found
            ],
            empty="Nothing is served or pinned.",
        )
    if upstream is None:
        away = [entry for entry in client.get("/v1/upstreams") if entry["trouble"]]
        for entry in away:
            note(f"{entry['name']} did not answer: {entry['trouble']}")
        if away:
            raise typer.Exit(EXIT_NO)


@app.command(epilog="Example: midflight tool pin git git_log --effect read --reach closed")
def pin(
    context: typer.Context,
    upstream: Upstream,
    name: Annotated[str | None, typer.Argument(help="Which one; or --all.")] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="All that is served and not pinned as it is.")
    ] = False,
    kind: Kind = PinnedKind.TOOL,
    effect: Annotated[Effect | None, typer.Option(help="What it does, as reviewed.")] = None,
    reach: Annotated[
        Reach | None, typer.Option(help="open: touches what anybody can write to.")
    ] = None,
    digest: Annotated[
        str | None, typer.Option(help="The digest that was reviewed; others are refused.")
    ] = None,
    traits_file: Annotated[
        Path | None,
        typer.Option(help="Take what is reviewed here. Default: UPSTREAM.toml in [traits]."),
    ] = None,
    proposed: Annotated[
        bool, typer.Option("--proposed", help="Take what the manifest says, unreviewed.")
    ] = False,
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Pin definitions as they are served now, after showing them.

    What a tool can do comes from --effect and --reach, from its review in a traits file, or from
    what its manifest says (--proposed).
    """
    from midflight.apps.cli.traits_words import read_traits, state_of, to_send, warn
    from midflight.domain.proposal import contradictions

    if everything == (name is not None) or (everything and digest is not None):
        raise typer.BadParameter("Give the name of one definition, or --all.")
    flags = effect is not None or reach is not None
    if flags + proposed + (traits_file is not None) > 1:
        raise typer.BadParameter("Give one of --effect with --reach, --traits-file, --proposed.")
    session = Session.of(context)
    client = session.client()
    chosen = _served(client, upstream, name=name, kind=kind)
    if digest is not None and chosen[0]["digest"] != digest:
        raise Conflict(
            f"{upstream}/{name} is served with digest {chosen[0]['digest']}.",
            hint=f"midflight tool diff {upstream} {name}",
        )
    reviewed = (
        {}
        if flags or proposed
        else tool_traits.reviewed_for(session, upstream, chosen, given=traits_file)
    )
    if not yes and digest is None:
        _confirm(chosen, reviewed)
    pinned = [
        client.post(
            "/v1/tools/pin",
            upstream=upstream,
            name=entry["name"],
            kind=entry["kind"],
            # What was shown is what is pinned, however the upstream changes meanwhile.
            digest=entry["digest"],
            effect=effect and effect.value,
            reach=reach and reach.value,
            traits=to_send(reviewed[entry["name"]]) if _has_review(entry, reviewed) else None,
            proposed=(proposed and entry["kind"] == PinnedKind.TOOL.value) or None,
        )
        for entry in chosen
    ]
    for entry, made in zip(chosen, pinned, strict=True):
        traits = read_traits(made["traits"])
        if traits is not None:
            warn(f"{upstream}/{entry['name']}", contradictions(entry["body"], traits))
    if as_json:
        print_json(pinned)
        return
    print_table(
        ("pinned", "kind", "effect", "reach", "review", "digest"),
        [
            (
                f"{p['upstream']}/{p['name']}",
                p["kind"],
                p["traits"]["effect"],
                p["traits"]["reach"],
                state_of(read_traits(p["traits"])),
                p["digest"][:12],
            )
            for p in pinned
        ],
        empty="Everything was pinned as it is served.",
    )
    if proposed:
        note(
            f"Nobody has confirmed this; `midflight traits propose {upstream}` shows why it is so."
        )
    elif any(not p["traits"]["reviewed"] for p in pinned):
        note(
            "What is not reviewed counts as the worst; say --effect and --reach to review it, or"
            f" start from `midflight traits propose {upstream}`."
        )


app.command(epilog="Example: midflight tool show git git_log")(tool_traits.show)


@app.command(epilog="Example: midflight tool unpin git git_commit")
def unpin(
    context: typer.Context,
    upstream: Upstream,
    name: Name,
    kind: Kind = PinnedKind.TOOL,
    as_json: JsonFlag = False,
) -> None:
    """Take a pin back: the tool is denied from now on."""
    client = Session.of(context).client()
    answer = client.post("/v1/tools/unpin", upstream=upstream, name=name, kind=kind.value)
    if as_json:
        print_json(answer)
        return
    note(f"{upstream}/{name} is denied from now on.")


@app.command(epilog="Example: midflight tool diff git git_commit")
def diff(
    context: typer.Context,
    upstream: Upstream,
    name: Name,
    kind: Kind = PinnedKind.TOOL,
    as_json: JsonFlag = False,
) -> None:
    """Compare the pinned definition with the one served now. Exit code 1 if they differ."""
    client = Session.of(context).client()
    found = client.get("/v1/tools/diff", upstream=upstream, name=name, kind=kind.value)
    if as_json:
        print_json(found)
    else:
        for line in difference(found["pinned"], found["served"]):
            typer.secho(line, fg=_color(line))
        if found["pinned"] == found["served"]:
            note("The definition served is the pinned one.")
    if found["pinned"] != found["served"]:
        raise typer.Exit(EXIT_NO)


def difference(pinned: Any, served: Any) -> list[str]:
    """The lines of a unified diff, with invisible characters made visible."""
    import difflib

    return [
        visible(line)
        for line in difflib.unified_diff(
            _lines(pinned), _lines(served), "pinned", "served", lineterm="", n=3
        )
    ]


def _lines(body: Any) -> list[str]:
    if body is None:
        return []
    # Sorted, since the order of keys is not part of what is pinned. A line feed inside a string
    # is written as its escape, so each line of the diff is a line of JSON.
    return json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False).split("\n")


def _served(
    client: ControlClient, upstream: str, *, name: str | None, kind: PinnedKind
) -> list[dict[str, Any]]:
    listing = client.get("/v1/tools", upstream=upstream, fresh=True)
    served = [entry for entry in listing if entry["body"] is not None]
    if name is None:
        return [entry for entry in served if entry["state"] != PinState.PINNED.value]
    chosen = [e for e in served if e["name"] == name and e["kind"] == kind.value]
    if not chosen:
        raise NotFound(
            f"{upstream} serves no {kind.value} {name!r}.",
            hint=f"midflight tool list {upstream} shows what it serves.",
        )
    return chosen


def _has_review(entry: dict[str, Any], reviewed: dict[str, Traits]) -> bool:
    # A prompt may have the name of a tool.
    return entry["kind"] == PinnedKind.TOOL.value and entry["name"] in reviewed


def _confirm(chosen: list[dict[str, Any]], reviewed: dict[str, Traits]) -> None:
    from midflight.apps.cli.traits_words import in_words

    if not chosen:
        return
    for entry in chosen:
        note(f"{entry['upstream']} {entry['kind']} {entry['name']} ({entry['state']})")
        for line in _lines(entry["body"]):
            typer.echo(f"  {visible(line)}", err=True)
        if _has_review(entry, reviewed):
            for line in in_words(reviewed[entry["name"]]):
                typer.echo(f"  {visible(line)}", err=True)
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            "There is nobody to ask. Look at the definition, then add --yes or --digest."
        )
    count = "this definition" if len(chosen) == 1 else f"these {len(chosen)} definitions"
    typer.confirm(f"Pin {count}?", abort=True, err=True)


def _color(line: str) -> str | None:
    if line.startswith("+"):
        return color("green")
    return color("red") if line.startswith("-") else None


__all__ = ["app", "difference"]
