"""`midflight status`: how the plane is, and what is in flight."""

from __future__ import annotations

from typing import Any

import typer

from midflight.apps.cli.output import EXIT_NO, JsonFlag, print_fields, print_json, print_table
from midflight.apps.cli.session import Session

EXAMPLE = "Example: midflight status --json"


def status(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Show how the running plane is. Exit code 1 if it denies everything."""
    client = Session.of(context).client()
    health: dict[str, Any] = client.get("/v1/health")
    flights: list[dict[str, Any]] = client.get("/v1/flights")
    if as_json:
        print_json(health | {"flights": flights})
    else:
        print_fields(health)
        if flights:
            typer.echo("")
            print_table(
                (
                    "kind",
                    "record",
                    "run",
                    "workload",
                    "upstream",
                    "name",
                    "age s",
                    "bytes out",
                    "waits for",
                ),
                [
                    (
                        f["kind"],
                        f["record"],
                        f["run"],
                        f["workload"],
                        f["upstream"],
                        f["name"],
                        f"{f['age_s']:.1f}",
                        f"{f['bytes_out']:,}",
                        f["note"],
                    )
                    for f in flights
                ],
                empty="",
            )
    if not health["ready"]:
        raise typer.Exit(EXIT_NO)


__all__ = ["EXAMPLE", "status"]
