"""`midflight run …`: opening, closing and seeing runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from midflight.apps.cli.lease import print_leases
from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.session import Session, segment, workload_id
from midflight.apps.durations import iso, seconds
from midflight.domain.run import RunState
from midflight.domain.traits import Effect

app = typer.Typer(help="Runs: one governed execution for one purpose.", no_args_is_help=True)


@app.command(
    "open",
    epilog="Example: midflight run open --workload agents/triage"
    ' --intent "Answer the tickets of today"',
)
def open_run(
    context: typer.Context,
    workload: Annotated[str, typer.Option(help="SPIFFE ID or path of the workload.")],
    intent: Annotated[str, typer.Option(help="What it is for, in the principal's own words.")],
    ttl: Annotated[str | None, typer.Option(help="How long it may live: 30m, 2h.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="How many actions it may take.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Open a run for a stated purpose. The agent can neither state nor change it."""
    try:
        ttl_s = None if ttl is None else seconds(ttl)
    except ValueError as error:
        raise typer.BadParameter(f"{ttl!r} {error}", param_hint="--ttl") from None
    client = Session.of(context).client()
    opened = client.post(
        "/v1/runs",
        workload=workload_id(client, workload),
        intent=intent,
        ttl_s=ttl_s,
        max_steps=max_steps,
    )
    _show(opened, as_json=as_json)
    note(f"A token for it: midflight workload token {workload} --run {opened['id']}")


@app.command(
    epilog="Example: midflight run delegate RUN --workload agents/reader"
    ' --text "Read the changelog and list the fixes" --only git/git_log --effect read'
)
def delegate(
    context: typer.Context,
    parent: Annotated[str, typer.Argument(help="Id of the run that delegates.")],
    workload: Annotated[str, typer.Option(help="SPIFFE ID or path of the workload to do it.")],
    text: Annotated[str, typer.Option(help="What the child run is told: data, not an intent.")],
    only: Annotated[
        list[str] | None,
        typer.Option(help="An upstream or a tool (UPSTREAM/TOOL) that is left to it; repeatable."),
    ] = None,
    effect: Annotated[
        list[Effect] | None, typer.Option(help="An effect that is left to it; repeatable.")
    ] = None,
    ttl: Annotated[
        str | None, typer.Option(help="How long it may live: 10m. It ends with its parent.")
    ] = None,
    max_steps: Annotated[
        int | None,
        typer.Option(help="Actions it may take, out of its parent's; default: half of them."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Open a child run: its parent's intent and labels, and less than its parent may do."""
    try:
        ttl_s = None if ttl is None else seconds(ttl)
    except ValueError as error:
        raise typer.BadParameter(f"{ttl!r} {error}", param_hint="--ttl") from None
    client = Session.of(context).client()
    child = client.post(
        f"/v1/runs/{segment(parent)}/delegate",
        workload=workload_id(client, workload),
        text=text,
        only=only or None,
        effects=[one.value for one in effect] if effect else None,
        ttl_s=ttl_s,
        max_steps=max_steps,
    )
    _show(child, as_json=as_json)
    note(f"A token for it: midflight workload token {workload} --run {child['id']}")


@app.command(epilog='Example: midflight run say RUN --text "And tell Ann, too"')
def say(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="The run's id.")],
    text: Annotated[str, typer.Option(help="What to add, in the principal's own words.")],
    as_json: JsonFlag = False,
) -> None:
    """Say more: a later turn of the principal, by whoever opened the run."""
    client = Session.of(context).client()
    _show(client.post(f"/v1/runs/{segment(run)}/say", text=text), as_json=as_json)


@app.command(epilog='Example: midflight run close RUN --reason "done"')
def close(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="The run's id.")],
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Close an open run: nothing of it passes any more, and what is in flight is cut."""
    client = Session.of(context).client()
    _show(client.post(f"/v1/runs/{segment(run)}/close", reason=reason), as_json=as_json)


@app.command("list", epilog="Example: midflight run list --state open")
def list_runs(
    context: typer.Context,
    workload: Annotated[str | None, typer.Option(help="Only of this workload.")] = None,
    state: Annotated[RunState | None, typer.Option(help="Only in this state.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List runs, newest first."""
    client = Session.of(context).client()
    found = client.get(
        "/v1/runs",
        workload=None if workload is None else workload_id(client, workload),
        state=None if state is None else state.value,
    )
    if as_json:
        print_json(found)
        return
    print_table(
        (
            "run",
            "parent",
            "depth",
            "children",
            "workload",
            "state",
            "labels",
            "steps",
            "opened",
            "intent",
        ),
        [
            (
                r["id"],
                r["parent"],
                r["depth"],
                len(r["children"]),
                r["workload"],
                r["state"],
                labels(r["labels"]),
                f"{r['steps']}/{r['max_steps']}",
                iso(r["opened_at"]),
                r["intent"],
            )
            for r in found
        ],
        empty="There are no such runs.",
    )


@app.command(epilog="Example: midflight run show RUN --json")
def show(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="The run's id.")],
    as_json: JsonFlag = False,
) -> None:
    """Show one run, and the leases it has."""
    client = Session.of(context).client()
    found: dict[str, Any] = client.get(f"/v1/runs/{segment(run)}")
    leases = client.get("/v1/leases", run=run)
    if as_json:
        print_json(found | {"leases": leases})
        return
    _show(found, as_json=False)
    if leases:
        print_leases(leases)


def labels(found: dict[str, Any]) -> str:
    """A run's labels in words."""
    level = found["confidentiality"]
    names = ("public", "internal", "secret")
    words = [
        "untrusted" if found["untrusted"] else "trusted",
        names[level] if isinstance(level, int) and level < len(names) else str(level),
        *sorted(found["compartments"]),
    ]
    return " ".join(words)


def narrowed(found: dict[str, Any]) -> str | None:
    """What is left to a delegated run, in words; None for everything."""
    words = [
        f"{name} {', '.join(sorted(found[key]))}"
        for name, key in (("only", "only"), ("effects", "effects"))
        if found[key] is not None
    ]
    return "; ".join(words) or None


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_fields(
        found
        | {
            "labels": labels(found["labels"]),
            "opened_at": iso(found["opened_at"]),
            "expires_at": iso(found["expires_at"]),
            "narrowed": narrowed(found["narrowed"]),
            "children": " ".join(found["children"]) or None,
        }
    )


__all__ = ["app", "labels", "narrowed"]
