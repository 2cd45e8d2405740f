"""`midflight notice …` and `midflight open`: what waits for people, and saying who has it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.session import Session, segment
from midflight.apps.durations import iso
from midflight.domain.plain import visible

EXAMPLE = "Example: midflight open"

app = typer.Typer(
    help="Notices: open questions, who was told, and who has them.", no_args_is_help=True
)

Identifier = Annotated[
    str, typer.Argument(metavar="ID", help="The notice's id, or that of what it is about.")
]


def open_questions(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List everything that waits for a person: how long, whose, who is told next and when."""
    found = Session.of(context).client().get("/v1/open")
    if as_json:
        print_json(found)
        return
    print_table(
        ("age", "what", "about", "owner", "state", "told", "next", "when"),
        [
            (
                _age(entry["age_s"]),
                entry["title"],
                entry["subject"],
                entry["owner"] or "nobody",
                f"{entry['by']} has it" if entry["by"] else entry["state"],
                list(dict.fromkeys(entry["told"])),
                _next(entry),
                iso(entry["next_at"]) if entry["next_at"] else None,
            )
            for entry in found
        ],
        empty="Nothing waits for anybody.",
    )


@app.command("list", epilog="Example: midflight notice list --all")
def list_notices(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also what has ended.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List notices."""
    found = Session.of(context).client().get("/v1/notices", every=True if every else None)
    if as_json:
        print_json(found)
        return
    print_table(
        ("notice", "state", "kind", "about", "owner", "since", "by"),
        [
            (
                entry["id"],
                entry["state"],
                entry["kind"],
                entry["subject"],
                entry["owner"] or "nobody",
                iso(entry["created_at"]),
                entry["by"],
            )
            for entry in found
        ],
        empty="There are none.",
    )


@app.command(epilog="Example: midflight notice show ID")
def show(context: typer.Context, notice: Identifier, as_json: JsonFlag = False) -> None:
    """Show a notice: what it is about, and everybody who was told."""
    _show(Session.of(context).client().get(f"/v1/notices/{segment(notice)}"), as_json=as_json)


@app.command(epilog="Example: midflight notice ack ID")
def ack(context: typer.Context, notice: Identifier, as_json: JsonFlag = False) -> None:
    """Say that you have it, so that nobody else is told. It answers nothing by itself."""
    client = Session.of(context).client()
    found = client.post(f"/v1/notices/{segment(notice)}/acknowledge")
    _show(found, as_json=as_json)
    if not as_json:
        note("You have it; nobody else is told.")


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "notice": found["id"],
            "title": found["title"],
            "about": found["subject"],
            "state": found["state"],
            "owner": found["owner"],
            "since": iso(found["created_at"]),
            "acknowledged by": f"{found['by']} ({found['proof']})" if found["by"] else None,
            "ended": f"{iso(found['ended_at'])}, {found['why']}" if found["ended_at"] else None,
            "goes to": list(found["chain"]),
        }
    )
    for name, value in found["facts"]:
        typer.echo(f"  {visible(name)}: {visible(value)}")
    for telling in found["told"]:
        by = ", ".join(telling["channels"])
        typer.echo(f"  {iso(telling['at'])}  told {visible(telling['contact'])} by {visible(by)}")


def _next(entry: dict[str, Any]) -> str:
    if not entry["next"]:
        return "" if entry["by"] else "nobody can be told"
    return f"{entry['next']} again" if entry["is_exhausted"] else str(entry["next"])


def _age(seconds: int) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


__all__ = ["EXAMPLE", "app", "open_questions"]
