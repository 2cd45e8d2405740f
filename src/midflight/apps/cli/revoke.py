"""`midflight revoke …` and `midflight revocation …`: stopping, and ending a stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midflight.apps.cli.output import EXIT_NO, JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.session import Session, segment, workload_id
from midflight.apps.durations import iso, moment
from midflight.domain.errors import MidflightError, NotFound
from midflight.domain.revocation import ScopeKind

if TYPE_CHECKING:
    from midflight.apps.control.client import ControlClient

EXAMPLE = 'Example: midflight revoke run RUN --reason "reads what it should not"'

app = typer.Typer(help="Revocations in force.", no_args_is_help=True)


def revoke(
    context: typer.Context,
    kind: Annotated[ScopeKind, typer.Argument(help="What to stop.", show_default=False)],
    identifier: Annotated[
        str,
        typer.Argument(
            metavar="[ID]", help="Which one; a tool is UPSTREAM/NAME. None for everything."
        ),
    ] = "",
    *,
    reason: Annotated[str, typer.Option(help="Why; the caller that is cut sees it.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be cut, and change nothing.")
    ] = False,
    until: Annotated[
        str | None, typer.Option(help="When it ends by itself: 30m, or a time. Else: never.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Stop a run, workload, owner, tool, upstream, token, credential or all, in mid-flight."""
    try:
        ends = None if until is None else moment(until, now=time.time())
    except ValueError as error:
        raise typer.BadParameter(f"{until!r} {error}", param_hint="--until") from None
    if not reason and not dry_run:
        raise typer.BadParameter("is missing: who is cut sees it", param_hint="--reason")
    client = Session.of(context).client()
    if kind is ScopeKind.WORKLOAD and identifier:
        identifier = workload_id(client, identifier)
    scope = {"kind": kind.value, "id": identifier}
    if dry_run:
        impact = client.post("/v1/revocations/preview", scope=scope)
        if as_json:
            print_json(impact)
        else:
            print_fields(_scope(impact) | _impact(impact))
            note("Nothing was changed. Without --dry-run this is cut.")
        _doubt(client, kind, identifier)
        return
    receipt = client.post("/v1/revocations", scope=scope, reason=reason, until=ends)
    try:
        show(receipt, as_json=as_json)
    finally:
        _doubt(client, kind, identifier)


@app.command("list", epilog="Example: midflight revocation list")
def list_revocations(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List revocations in force, oldest first."""
    found = Session.of(context).client().get("/v1/revocations")
    if as_json:
        print_json(found)
        return
    print_table(
        ("revocation", "scope", "reason", "by", "since", "until"),
        [
            (
                r["id"],
                f"{r['scope']['kind']} {r['scope']['id']}".rstrip(),
                r["reason"],
                r["author"],
                iso(r["at"]),
                None if r["until"] is None else iso(r["until"]),
            )
            for r in found
        ],
        empty="Nothing is revoked.",
    )


@app.command(epilog='Example: midflight revocation lift REVOCATION --reason "false alarm"')
def lift(
    context: typer.Context,
    revocation: Annotated[str, typer.Argument(help="The revocation's id.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    as_json: JsonFlag = False,
) -> None:
    """End a revocation. It stays in the log; the lifting is a new entry."""
    client = Session.of(context).client()
    receipt = client.post(f"/v1/revocations/{segment(revocation)}/lift", reason=reason)
    show(receipt, as_json=as_json)


def _doubt(client: ControlClient, kind: ScopeKind, identifier: str) -> None:
    """Say so if nothing of that name is known: it may be spelled otherwise, and still be running.

    Afterwards: neither the stop nor its receipt waits for questions, some of which ask upstreams.
    """
    try:
        if _is_known(client, kind, identifier):
            return
    except MidflightError:
        return  # what was stopped is stopped
    note(f"No {kind.value} {identifier} is known here. If another one was meant, it goes on.")


def _is_known(client: ControlClient, kind: ScopeKind, identifier: str) -> bool:
    match kind:
        case ScopeKind.RUN | ScopeKind.WORKLOAD | ScopeKind.CREDENTIAL:
            try:
                client.get(f"/v1/{kind.value}s/{segment(identifier)}")
            except NotFound:
                return False
            return True
        case ScopeKind.TOOL:
            served = client.get("/v1/tools")
            return any(f"{each['upstream']}/{each['name']}" == identifier for each in served)
        case ScopeKind.UPSTREAM:
            return any(each["name"] == identifier for each in client.get("/v1/upstreams"))
        case _:
            return True  # of tokens, owners and other trust domains the plane has no list


def show(receipt: dict[str, Any], *, as_json: bool) -> None:
    """Print what a revocation did; exit 1 if it is not durable."""
    revocation, impact = receipt["revocation"], receipt["impact"]
    if as_json:
        print_json(receipt)
    else:
        print_fields(
            {
                "revocation": revocation["id"],
                **_scope(revocation),
                "lifts": revocation["lifts"],
                "until": None if revocation["until"] is None else iso(revocation["until"]),
                **({} if revocation["lifts"] else _impact(impact)),
                "record": receipt["record"],
            }
        )
        if not revocation["lifts"] and revocation["scope"]["kind"] != ScopeKind.RUN:
            # A run that was revoked stays over.
            note(f"midflight revocation lift {revocation['id']} --reason R ends it.")
    if receipt["note"]:
        note(receipt["note"])
    if not receipt["durable"]:
        raise typer.Exit(EXIT_NO)


def _scope(held: dict[str, Any]) -> dict[str, Any]:
    return {"scope": f"{held['scope']['kind']} {held['scope']['id']}".rstrip()}


def _impact(impact: dict[str, Any]) -> dict[str, Any]:
    sent: dict[str, int] = impact["bytes_out"]
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(impact["kinds"].items()))
    within = f", within {impact['took_us'] / 1000:.1f} ms" if impact["revocation"] else ""
    return {
        "cut"
        if impact["revocation"]
        else "would cut": f"{sum(impact['kinds'].values())} in flight{within}",
        "of them": kinds or None,
        "runs": impact["runs"],
        "leases": impact["leases"],
        "had seen": impact["labels"] or None,
        "had completed": impact["completed"],
        "bytes out": [f"{name} {count:,}" for name, count in sorted(sent.items())],
        "unknown": impact["unknown"],
    }


__all__ = ["EXAMPLE", "app", "revoke", "show"]
