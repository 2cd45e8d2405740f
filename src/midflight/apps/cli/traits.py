"""`midflight traits …`: what tools can do, proposed from manifests and confirmed by people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midflight.apps.cli.output import (
    EXIT_NO,
    JsonFlag,
    YesFlag,
    color,
    note,
    print_fields,
    print_json,
    print_table,
    visible,
)
from midflight.apps.cli.session import Session

if TYPE_CHECKING:
    from midflight.apps.cli.traits_files import Proposed
    from midflight.domain.reviews import Review, Reviews

app = typer.Typer(help="What tools can do, as people reviewed it.", no_args_is_help=True)

Upstream = Annotated[str, typer.Argument(help="The upstream's name in midflight.toml.")]
TraitsFile = Annotated[
    Path | None,
    typer.Option(help="The traits file. Default: UPSTREAM.toml in [traits] directory."),
]
# The API takes 1 MiB at a time; a tool with many arguments comes to some kilobytes.
BATCH = 50


@app.command(epilog="Example: midflight traits propose git")
def propose(
    context: typer.Context,
    upstream: Upstream,
    *,
    openapi: Annotated[
        Path | None, typer.Option(help="Read an OpenAPI 3.0 or 3.1 document (JSON) instead.")
    ] = None,
    tools: Annotated[
        Path | None, typer.Option(help="Read a file of tools with JSON schemas instead.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write. Default: as the settings say.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Propose traits from a manifest, and write them for a person to confirm.

    Reviews in the file that hold for what is served stay. What you changed without setting
    `reviewed = true` is proposed anew.
    """
    from midflight.apps.cli import traits_files, traits_sources
    from midflight.domain.proposal import propose as propose_one

    if openapi is not None and tools is not None:
        raise typer.BadParameter("Give one of --openapi and --tools.")
    session = Session.of(context)
    path = out if out is not None else traits_files.file_of(session, upstream)
    given = openapi or tools
    manifest = (
        traits_sources.served(session.client(), upstream)
        if given is None
        else traits_sources.from_file(given, upstream, openapi=openapi is not None)
    )
    made = traits_files.merged(
        upstream,
        [(definition, propose_one(definition)) for definition in manifest.definitions],
        traits_files.read_if_there(path, upstream),
    )
    traits_files.write_reviews(path, made)
    if as_json:
        print_json(_proposed_json(made, path, manifest.notes))
        return
    _print_proposed(made)
    for text in manifest.notes:
        note(text)
    note(
        f"Wrote {path}. Read it, correct it, set `reviewed = true` for what you confirm; then\n"
        f"`midflight traits check {path}` and `midflight traits apply {upstream}`."
    )


@app.command(epilog="Example: midflight traits show git")
def show(
    context: typer.Context,
    upstream: Upstream,
    traits_file: TraitsFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the traits that count now beside those in the file."""
    from midflight.apps.cli import traits_files
    from midflight.apps.cli.traits_words import counts, read_traits, state_of, warn

    session = Session.of(context)
    path = traits_file or traits_files.file_of(session, upstream)
    reviews = traits_files.read_if_there(path, upstream)
    listing: list[dict[str, Any]] = session.client().get("/v1/tools", upstream=upstream)
    entries = [entry for entry in listing if entry["kind"] == "tool"]
    shown = [
        {
            "name": entry["name"],
            "state": entry["state"],
            "traits": entry["traits"],
            "file": _against(reviews, entry),
            "contradictions": entry["contradictions"],
        }
        for entry in entries
    ]
    if as_json:
        print_json(shown)
        return
    rows: list[tuple[Any, ...]] = []
    for entry in shown:
        traits = read_traits(entry["traits"])
        effect, reach = (traits.effect.value, traits.reach.value) if traits else ("", "")
        says = (effect, reach, state_of(traits), counts(traits))
        rows.append((entry["name"], entry["state"], *says, entry["file"]))
    print_table(
        ("tool", "state", "effect", "reach", "review", "says", "file"),
        rows,
        empty=f"{upstream} serves no tools.",
    )
    for entry in shown:
        warn(f"{upstream}/{entry['name']}", entry["contradictions"])


@app.command(epilog="Example: midflight traits check traits/git.toml")
def check(
    file: Annotated[Path, typer.Argument(help="The traits file.")], as_json: JsonFlag = False
) -> None:
    """Check a traits file, without a plane. Exit code 1 if anything in it is wrong."""
    from midflight.apps.cli.traits_files import read_text
    from midflight.apps.cli.traits_words import is_own, warn
    from midflight.domain.errors import Misconfigured
    from midflight.wire.traits_file import parse

    text = read_text(file)
    try:
        reviews = parse(text, name=file.name)
    except Misconfigured as error:
        problems = list(error.problems) or [error.message]
        if as_json:
            print_json({"ok": False, "problems": problems})
        else:
            for problem in problems:
                typer.secho(f"error    {visible(problem)}", fg=color("red"))
        raise typer.Exit(EXIT_NO) from None
    reviewed = [review.name for review in reviews.tools if review.reviewed]
    left = [review.name for review in reviews.tools if not review.reviewed]
    own = [review.name for review in reviews.tools if review.reviewed and is_own(review.traits)]
    if as_json:
        found: dict[str, Any] = {"ok": True, "problems": [], "upstream": reviews.upstream}
        print_json(found | {"reviewed": reviewed, "to_confirm": left, "own_words": own})
        return
    print_fields(
        {"upstream": reviews.upstream, "reviewed": len(reviewed), "to confirm": left or "nothing"}
    )
    for name in own:
        said = (
            "all that it returns counts as the owner's own words, for no yields say what of it"
            " others write, such as bodies, comments and names of files"
        )
        warn(name, [said])


@app.command(epilog="Example: midflight traits apply git")
def apply(
    context: typer.Context,
    upstream: Upstream,
    traits_file: TraitsFile = None,
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Pin what the file has reviewed, where the definition served is the one it was reviewed for.

    Exit code 1 if a review holds for a definition that is not served.
    """
    from midflight.apps.cli import traits_files
    from midflight.apps.cli.traits_words import to_send, warn

    session = Session.of(context)
    path = traits_file or traits_files.file_of(session, upstream)
    reviews = traits_files.read_reviews(path, upstream)
    chosen = [review for review in reviews.tools if review.reviewed]
    if not yes:
        _confirm(upstream, chosen)
    client = session.client()
    applied: list[dict[str, Any]] = []
    for start in range(0, len(chosen), BATCH):
        sent = [
            {"name": review.name, "digest": review.digest, "traits": to_send(review.traits)}
            for review in chosen[start : start + BATCH]
        ]
        applied += client.post("/v1/traits/apply", upstream=upstream, tools=sent)
    if as_json:
        print_json(applied)
    else:
        _print_applied(upstream, applied, len(reviews.tools) - len(chosen))
        for entry in applied:
            warn(f"{upstream}/{entry['name']}", entry["contradictions"])
    if any(entry["outcome"] in {"differs", "gone"} for entry in applied):
        raise typer.Exit(EXIT_NO)


def _proposed_json(made: Proposed, path: Path, notes: tuple[str, ...]) -> dict[str, Any]:
    import msgspec

    def tool(review: Review) -> dict[str, Any]:
        evidence = msgspec.to_builtins(made.notes.get(review.name, ()))
        entry = msgspec.to_builtins(review, order="sorted")
        return entry | {"kept": review.name in made.kept, "evidence": evidence}

    tools = [tool(review) for review in made.reviews.tools]
    upstream = made.reviews.upstream
    return {"upstream": upstream, "written": str(path), "notes": notes, "tools": tools}


def _print_proposed(made: Proposed) -> None:
    rows: list[tuple[str, ...]] = []
    for review in made.reviews.tools:
        effect, reach = review.traits.effect.value, review.traits.reach.value
        about = [e for e in made.notes.get(review.name, ()) if e.about == "effect"]
        kept = ("", "reviewed: stays as it is")
        sure, why = (about[0].sure.value, about[0].why) if about else kept
        rows.append((review.name, effect, reach, sure, why))
    print_table(("tool", "effect", "reach", "sure", "why"), rows, empty="Nothing is served.")
    confirm = [
        (name, found.about, found.says, found.sure.value, found.why)
        for name, evidence in made.notes.items()
        for found in evidence
        if found.confirm
    ]
    if confirm:
        typer.echo("\nA person must confirm:\n")
        print_table(("tool", "about", "proposed", "sure", "why"), confirm, empty="")


def _against(reviews: Reviews | None, entry: dict[str, Any]) -> str:
    """What the file says about a tool that is served or pinned."""
    from midflight.apps.cli.traits_words import read_traits

    review = reviews.of(entry["name"]) if reviews else None
    if review is None:
        return "says nothing"
    if review.digest != (entry["digest"] or entry["pinned_digest"]):
        return "is about another definition"
    if not review.reviewed:
        return "waits for a person"
    same = entry["state"] == "pinned" and read_traits(entry["traits"]) == review.traits
    return "says the same" if same else "says something else"


def _confirm(upstream: str, chosen: list[Review]) -> None:
    from midflight.apps.cli.traits_words import in_words

    if not chosen:
        return
    for review in chosen:
        note(f"{upstream} {review.name} ({review.digest[:12]})")
        for line in in_words(review.traits):
            typer.echo(f"  {visible(line)}", err=True)
    if not sys.stdin.isatty():
        raise typer.BadParameter("There is nobody to ask. Look at the file, then add --yes.")
    typer.confirm(f"Pin what is served of these {len(chosen)}?", abort=True, err=True)


_OUTCOMES = {
    "pinned": "pinned",
    "same": "was pinned so",
    "differs": "not pinned: another definition is served",
    "gone": "not pinned: it is not served",
}


def _print_applied(upstream: str, applied: list[dict[str, Any]], unreviewed: int) -> None:
    from midflight.apps.cli.traits_words import in_words, read_traits

    rows: list[tuple[Any, ...]] = []
    for entry in applied:
        before = read_traits(entry["before"])
        was = in_words(before)[0] if before and entry["outcome"] == "pinned" else ""
        rows.append((entry["name"], _OUTCOMES[entry["outcome"]], (entry["served"] or "")[:12], was))
    print_table(
        ("tool", "outcome", "served", "was"), rows, empty="The file has reviewed nothing yet."
    )
    if any(entry["outcome"] == "differs" for entry in applied):
        note(f"See `midflight tool diff {upstream} NAME`; `midflight traits propose {upstream}`.")
    if unreviewed:
        note(f"{unreviewed} in the file wait for a person (`reviewed = false`).")


__all__ = ["app"]
