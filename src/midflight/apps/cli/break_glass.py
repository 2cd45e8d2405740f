"""`midflight break-glass …`: for a time, what people would be asked about passes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.session import Session, segment, workload_id
from midflight.apps.durations import iso, seconds

app = typer.Typer(
    help="Break-glass: for a time, what people would be asked about passes. It alarms everybody.",
    no_args_is_help=True,
)

Identifier = Annotated[str, typer.Argument(metavar="ID", help="The opening's id.")]


@app.command("open", epilog='Example: midflight break-glass open agents/triage --reason "outage"')
def open_it(
    context: typer.Context,
    workload: Annotated[str, typer.Argument(help="For which workload.")],
    reason: Annotated[str, typer.Option(help="Why; everybody who is alarmed reads it.")],
    for_: Annotated[str, typer.Option("--for", help="For how long: 30m.")] = "30m",
    as_json: JsonFlag = False,
) -> None:
    """Open it: challenges of this workload pass without approval, and are recorded with its id.

    What policy denies, pins, revocations, canaries and limits hold as ever.
    """
    try:
        for_s = seconds(for_)
    except ValueError as error:
        raise typer.BadParameter(f"{for_!r} {error}", param_hint="--for") from None
    client = Session.of(context).client()
    found = client.post(
        "/v1/break-glass", workload=workload_id(client, workload), reason=reason, for_s=for_s
    )
    _show(found, as_json=as_json)
    if not as_json:
        note(
            f"Open until {iso(found['ends_at'])}. Everybody who answers for it is told. Another"
            " operator reviews it afterwards."
        )


@app.command("list", epilog="Example: midflight break-glass list --all")
def list_openings(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also what was reviewed.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List what is open, and what waits for its review."""
    found = Session.of(context).client().get("/v1/break-glass", every=True if every else None)
    if as_json:
        print_json(found)
        return
    print_table(
        ("opening", "state", "workload", "opened by", "since", "until", "passed", "reason"),
        [
            (
                entry["id"],
                _state(entry),
                entry["workload"],
                entry["author"],
                iso(entry["opened_at"]),
                iso(entry["closed_at"] or entry["ends_at"]),
                entry["uses"],
                entry["reason"],
            )
            for entry in found
        ],
        empty="Nothing is open, and nothing waits for a review.",
    )


@app.command(epilog="Example: midflight break-glass close ID")
def close(context: typer.Context, opening: Identifier, as_json: JsonFlag = False) -> None:
    """End it before its time."""
    client = Session.of(context).client()
    _show(client.post(f"/v1/break-glass/{segment(opening)}/close"), as_json=as_json)


@app.command(epilog='Example: midflight break-glass review ID --note "two refunds, both right"')
def review(
    context: typer.Context,
    opening: Identifier,
    text: Annotated[str, typer.Option("--note", help="What you found.")],
    as_json: JsonFlag = False,
) -> None:
    """Say what was found, having looked at what passed. Not for who opened it.

    Intents name the opening as their approval: midflight ledger tail --count 1000 --json
    """
    client = Session.of(context).client()
    _show(client.post(f"/v1/break-glass/{segment(opening)}/review", note=text), as_json=as_json)


def _state(entry: dict[str, Any]) -> str:
    if entry["reviewed_at"]:
        return f"reviewed by {entry['reviewed_by']}"
    return "waits for review" if entry["closed_at"] else "open"


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "opening": found["id"],
            "state": _state(found),
            "workload": found["workload"],
            "opened by": f"{found['author']} ({found['proof']})",
            "reason": found["reason"],
            "since": iso(found["opened_at"]),
            "until": iso(found["closed_at"] or found["ends_at"]),
            "ended": found["why"],
            "passed": found["uses"],
            "note": found["note"],
        }
    )


__all__ = ["app"]
