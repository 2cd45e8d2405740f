"""`midflight entry …`: which facts about a process make it which workload."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from midflight.apps.cli.output import JsonFlag, print_fields, print_json, print_table
from midflight.apps.cli.session import Session, segment, workload_id
from midflight.apps.durations import iso, seconds

app = typer.Typer(help="Who is which workload, by what is attested.", no_args_is_help=True)

EntryId = Annotated[str, typer.Argument(help="The entry's id.")]


@app.command(
    epilog="Example: midflight entry add --workload agents/triage"
    " --selector unix:uid:1001 --selector unix:path:/opt/triage/bin/agent"
)
def add(
    context: typer.Context,
    workload: Annotated[str, typer.Option(help="SPIFFE ID or path of the workload.")],
    selector: Annotated[
        list[str], typer.Option(help="TYPE:VALUE that must be attested; repeatable, all hold.")
    ],
    x509_ttl: Annotated[str, typer.Option(help="Life of its X509-SVIDs: at most 1h.")] = "1h",
    jwt_ttl: Annotated[str, typer.Option(help="Life of its JWT-SVIDs: at most 5m.")] = "5m",
    hint: Annotated[str, typer.Option(help="Tells several identities of a process apart.")] = "",
    federates_with: Annotated[
        list[str] | None, typer.Option(help="A trust domain whose bundle it gets; repeatable.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="A run with which the entry ends.")] = None,
    ttl: Annotated[str | None, typer.Option(help="How long the entry holds: 8h, 7d.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Register who is a workload. At least one selector must be strong.

    Weak are unix:script, unix:script_sha256, unix:cwd, unix:venv and unix:parent: whoever calls
    arranges them. unix:path and unix:sha256 narrow what a user may be; they separate no processes
    of one user. Give each agent a user of its own, or start it with `midflight exec`.
    """
    client = Session.of(context).client()
    made = client.post(
        "/v1/entries",
        spiffe_id=workload_id(client, workload),
        selectors=selector,
        x509_ttl_s=_seconds(x509_ttl, "--x509-ttl"),
        jwt_ttl_s=_seconds(jwt_ttl, "--jwt-ttl"),
        hint=hint,
        federates_with=federates_with or [],
        run=run,
        ttl_s=None if ttl is None else _seconds(ttl, "--ttl"),
    )
    _show(made, as_json=as_json)


@app.command("list", epilog="Example: midflight entry list --json")
def list_entries(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List all entries, those included that follow from workloads and launched runs."""
    found = Session.of(context).client().get("/v1/entries")
    if as_json:
        print_json(found)
        return
    print_table(
        ("entry", "workload", "selectors", "run", "problem"),
        [(e["id"], e["spiffe_id"], e["selectors"], e["run"], e["problem"]) for e in found],
        empty="There are no entries. Add one with `midflight entry add`.",
    )


@app.command(epilog="Example: midflight entry show ENTRY")
def show(context: typer.Context, entry: EntryId, as_json: JsonFlag = False) -> None:
    """Show one entry, and why it is not in force."""
    _show(Session.of(context).client().get(f"/v1/entries/{segment(entry)}"), as_json=as_json)


@app.command(epilog="Example: midflight entry remove ENTRY")
def remove(context: typer.Context, entry: EntryId, as_json: JsonFlag = False) -> None:
    """End an entry at once: nobody gets an identity by it any more."""
    removed = Session.of(context).client().post("/v1/entries/remove", id=entry)
    if as_json:
        print_json(removed)
        return
    print_fields({"removed": removed["id"]})


def _seconds(text: str, option: str) -> int:
    try:
        return seconds(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}", param_hint=option) from None


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    ends = found["expires_at"]
    print_fields(found | {"expires_at": None if ends is None else iso(ends)})


__all__ = ["app"]
