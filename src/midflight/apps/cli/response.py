"""`midflight response …`: what holds because of findings, and ending it."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import typer

from midflight.apps.cli.output import EXIT_NO, JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.session import Session, segment, workload_id
from midflight.apps.durations import iso, seconds
from midflight.domain.response_rules import Holds

app = typer.Typer(help="What holds because something was found.", no_args_is_help=True)

Identifier = Annotated[str, typer.Argument(metavar="RESPONSE", help="The response's id.")]


class ByHand(enum.StrEnum):
    """Levels that people set. What ends a run or workload is `midflight revoke`."""

    RISK = "risk"
    THROTTLE = "throttle"
    CHALLENGE = "challenge"
    QUARANTINE = "quarantine"


@app.command("list", epilog="Example: midflight response list --json")
def list_responses(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List what is in force, oldest first."""
    found = Session.of(context).client().get("/v1/responses")
    if as_json:
        print_json(found)
        return
    print_table(
        ("response", "level", "scope", "because", "by", "until"),
        [
            (
                each["response"]["id"],
                _level(each["response"]),
                _scope(each["response"]),
                each["response"]["reason"],
                each["response"]["author"],
                iso(each["response"]["until"]),
            )
            for each in found
        ],
        empty="Nothing is held.",
    )
    owed = sum(not each["durable"] for each in found)
    if owed:
        note(f"{owed} of these are not on disk yet: the store does not take them.")


@app.command(epilog="Example: midflight response show RESPONSE")
def show(context: typer.Context, response: Identifier, as_json: JsonFlag = False) -> None:
    """Show one, with the findings that it answers (`midflight ledger tail` has them)."""
    found = Session.of(context).client().get(f"/v1/responses/{segment(response)}")
    if as_json:
        print_json(found)
        return
    print_fields(_fields(found["response"]) | {"on disk": "yes" if found["durable"] else "no"})


@app.command(
    epilog='Example: midflight response add run RUN --level quarantine --reason "looks turned"'
)
def add(
    context: typer.Context,
    scope: Annotated[Holds, typer.Argument(help="What to hold.", show_default=False)],
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Which run or workload.")],
    *,
    level: Annotated[ByHand, typer.Option(help="What holds.")],
    reason: Annotated[str, typer.Option(help="Why; whoever is held sees it.")],
    lasts: Annotated[str, typer.Option("--for", help="For how long: 30m, 2h; at most 7d.")] = "1h",
    risk: Annotated[int, typer.Option(help="Points of risk, 0 to 100.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Hold a run with its family, or a workload with all its runs. It ends by itself."""
    try:
        for_s = seconds(lasts)
    except ValueError as error:
        raise typer.BadParameter(f"{lasts!r} {error}", param_hint="--for") from None
    client = Session.of(context).client()
    if scope is Holds.WORKLOAD:
        identifier = workload_id(client, identifier)
    answer = client.post(
        "/v1/responses",
        scope=scope.value,
        id=identifier,
        level=level.value,
        reason=reason,
        for_s=for_s,
        risk=risk,
    )
    _print(answer, as_json=as_json)


@app.command(epilog='Example: midflight response lift RESPONSE --reason "was a load test"')
def lift(
    context: typer.Context,
    response: Identifier,
    reason: Annotated[str, typer.Option(help="Why.")],
    as_json: JsonFlag = False,
) -> None:
    """End one. It stays on record; the lifting is a new entry."""
    client = Session.of(context).client()
    _print(client.post(f"/v1/responses/{segment(response)}/lift", reason=reason), as_json=as_json)


def _print(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        print_fields(_fields(answer["response"]))
    if answer["note"]:
        note(answer["note"])
    if not answer["durable"]:
        raise typer.Exit(EXIT_NO)


def _fields(held: dict[str, Any]) -> dict[str, Any]:
    return {
        "response": held["id"],
        "lifts": held["lifts"] or None,
        "level": _level(held),
        "scope": _scope(held),
        "workload": held["workload"],
        "found in": held["run"] or None,
        "because": held["reason"],
        "by": f"{held['author']} ({held['proof']})",
        "findings": held["findings"],
        "risk": held["risk"] or None,
        "since": iso(held["at"]),
        "until": iso(held["until"]),
        "less than policy says": held["beyond"] or None,
    }


def _level(held: dict[str, Any]) -> str:
    return f"{held['level']} (observed)" if held["observed"] else str(held["level"])


def _scope(held: dict[str, Any]) -> str:
    return f"{held['scope']['kind']} {held['scope']['id']}"


__all__ = ["app"]
