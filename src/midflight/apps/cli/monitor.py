"""`midflight monitor …`: what is counted, and setting a count back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from midflight.apps.cli.output import JsonFlag, YesFlag, note, print_json, print_table
from midflight.apps.cli.session import Session, segment

app = typer.Typer(help="Monitors: what policies know of the past.", no_args_is_help=True)


@app.command("list", epilog="Example: midflight monitor list --json")
def list_monitors(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the declared monitors with the values of whom they count for, largest first.

    Values include what is in flight. `unknown` means that the history could not be read: policies
    see the largest number there is, until the window has passed or the monitor is reset.
    """
    from midflight.domain.monitor import SATURATED

    found: list[dict[str, Any]] = Session.of(context).client().get("/v1/monitors")
    if as_json:
        print_json(found)
        return
    rows: list[tuple[Any, ...]] = []
    for monitor in found:
        window = f"{monitor['window_s']} s" if monitor["window_s"] else "always"
        head = (monitor["name"], monitor["kind"], monitor["per"], window)
        if monitor["lost"]:
            rows.append((*head, "every one", "unknown"))
        for entry in monitor["scopes"]:
            value = "unknown" if entry["value"] == SATURATED else entry["value"]
            rows.append((*head, entry["scope"], value))
        if not monitor["lost"] and not monitor["scopes"]:
            rows.append((*head, None, 0))
    print_table(
        ("monitor", "kind", "per", "window", "scope", "value"),
        rows,
        empty="No monitors are declared. A [[monitor]] in a .toml file beside the policies is one.",
    )


@app.command(epilog="Example: midflight monitor reset paid_per_day")
def reset(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The monitor's name.")],
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Let a monitor count from zero, for everybody it counts. It is recorded who did."""
    if not yes:
        typer.confirm(f"Forget everything that {name} has counted?", abort=True, err=True)
    done = Session.of(context).client().post(f"/v1/monitors/{segment(name)}/reset")
    if as_json:
        print_json(done)
        return
    note(f"{name} counts from zero.")


__all__ = ["app"]
