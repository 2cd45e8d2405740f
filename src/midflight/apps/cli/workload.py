"""`midflight workload …`: registered agents, services and pipelines, and their tokens."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.private_file import hand_out
from midflight.apps.cli.session import Session, segment, workload_id
from midflight.apps.durations import iso, moment, seconds
from midflight.domain.identity import Mode, Tier

app = typer.Typer(help="Registered workloads and their tokens.", no_args_is_help=True)

Workload = Annotated[
    str, typer.Argument(help="SPIFFE ID, or its path in the trust domain: agents/triage.")
]


Waiver = Annotated[
    str | None,
    typer.Option(
        help="Until when its owner has signed that, of tier mandatory, it may be only observed."
    ),
]
# What the plane sets itself.
_NOT_GIVEN = ("registered_at", "disabled")


@app.command(
    epilog="Example: midflight workload add agents/triage --owner ann@example.org"
    " --escalation oncall@example.org --review-by 90d"
)
def add(
    context: typer.Context,
    workload: Workload,
    owner: Annotated[str, typer.Option(help="Who answers for it.")],
    escalation: Annotated[str, typer.Option(help="Who is told when the owner does not answer.")],
    review_by: Annotated[str, typer.Option(help="When it is looked at again: 90d, or a time.")],
    team: Annotated[str, typer.Option(help="Its group, for policies.")] = "default",
    kind: Annotated[str, typer.Option(help="agent, service or pipeline.")] = "agent",
    tier: Annotated[Tier, typer.Option(help="How dangerous it is.")] = Tier.BASELINE,
    mode: Annotated[Mode, typer.Option(help="How it is enforced.")] = Mode.ENFORCE,
    uid: Annotated[int | None, typer.Option(help="The local user it runs as, if its own.")] = None,
    waiver_until: Waiver = None,
    as_json: JsonFlag = False,
) -> None:
    """Register a workload, or replace its registration."""
    review = _moment(review_by, "--review-by")
    waiver = None if waiver_until is None else _moment(waiver_until, "--waiver-until")
    client = Session.of(context).client()
    _show(
        client.post(
            "/v1/workloads",
            id=workload_id(client, workload),
            owner=owner,
            escalation=escalation,
            review_by=review,
            team=team,
            kind=kind,
            tier=tier.value,
            mode=mode.value,
            uid=uid,
            waiver_by=None if waiver is None else owner,
            waiver_until=waiver,
        ),
        as_json=as_json,
    )


@app.command(epilog="Example: midflight workload update agents/triage --mode observe")
def update(
    context: typer.Context,
    workload: Workload,
    owner: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    escalation: Annotated[str | None, typer.Option(help="Who is told otherwise.")] = None,
    review_by: Annotated[str | None, typer.Option(help="When it is looked at again.")] = None,
    team: Annotated[str | None, typer.Option(help="Its group, for policies.")] = None,
    tier: Annotated[Tier | None, typer.Option(help="How dangerous it is.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="How it is enforced.")] = None,
    waiver_until: Waiver = None,
    as_json: JsonFlag = False,
) -> None:
    """Change parts of a registration; what is not named stays.

    A waiver stays until it ends, and goes when the owner changes.
    """
    client = Session.of(context).client()
    before = client.get(f"/v1/workloads/{segment(workload_id(client, workload))}")
    given: dict[str, object] = {
        "owner": owner,
        "escalation": escalation,
        "review_by": None if review_by is None else _moment(review_by, "--review-by"),
        "team": team,
        "tier": None if tier is None else tier.value,
        "mode": None if mode is None else mode.value,
    }
    after = {key: value for key, value in before.items() if key not in _NOT_GIVEN}
    after |= {key: value for key, value in given.items() if value is not None}
    ends = before["waiver_until"]
    if waiver_until is not None:
        after["waiver_until"] = _moment(waiver_until, "--waiver-until")
        after["waiver_by"] = after["owner"]
    elif after["owner"] != before["owner"] or (ends is not None and ends <= time.time()):
        after["waiver_by"] = after["waiver_until"] = None
    _show(client.post("/v1/workloads", **after), as_json=as_json)


@app.command("list", epilog="Example: midflight workload list --json")
def list_workloads(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List workloads."""
    found = Session.of(context).client().get("/v1/workloads")
    if as_json:
        print_json(found)
        return
    print_table(
        ("workload", "owner", "team", "tier", "mode", "review by", "state"),
        [
            (w["id"], w["owner"], w["team"], w["tier"], w["mode"], iso(w["review_by"]), _state(w))
            for w in found
        ],
        empty="No workload is registered. Register one with `midflight workload add`.",
    )


@app.command(epilog="Example: midflight workload show agents/triage")
def show(context: typer.Context, workload: Workload, as_json: JsonFlag = False) -> None:
    """Show one workload."""
    client = Session.of(context).client()
    identifier = workload_id(client, workload)
    _show(client.get(f"/v1/workloads/{segment(identifier)}"), as_json=as_json)


@app.command(epilog="Example: midflight workload disable agents/triage")
def disable(context: typer.Context, workload: Workload, as_json: JsonFlag = False) -> None:
    """Deny everything a workload does from now on."""
    client = Session.of(context).client()
    answer = client.post("/v1/workloads/disable", id=workload_id(client, workload))
    _show(answer, as_json=as_json)
    note("What is in flight goes on; `midflight revoke workload` cuts it.")


@app.command(epilog="Example: midflight workload enable agents/triage")
def enable(context: typer.Context, workload: Workload, as_json: JsonFlag = False) -> None:
    """End a disabling."""
    client = Session.of(context).client()
    answer = client.post("/v1/workloads/enable", id=workload_id(client, workload))
    _show(answer, as_json=as_json)


@app.command(epilog="Example: midflight workload token agents/triage --run RUN --out token.jwt")
def token(
    context: typer.Context,
    workload: Workload,
    run: Annotated[str | None, typer.Option(help="The run it acts in; default: implicit.")] = None,
    ttl: Annotated[str | None, typer.Option(help="How long it lives: 5m to 15m.")] = None,
    jkt: Annotated[
        str | None, typer.Option(help="RFC 7638 thumbprint of the key to bind it to (DPoP).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write it to this file (mode 0600), not to stdout.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Mint a short-lived token. It is printed once and kept nowhere."""
    try:
        ttl_s = None if ttl is None else seconds(ttl)
    except ValueError as error:
        raise typer.BadParameter(f"{ttl!r} {error}", param_hint="--ttl") from None
    client = Session.of(context).client()
    minted = client.post(
        "/v1/tokens", workload=workload_id(client, workload), run=run, ttl_s=ttl_s, jkt=jkt
    )
    hand_out(minted, "token", out=out, as_json=as_json)
    note(f"Token {minted['jti']} ends {iso(minted['expires_at'])}.")


def _show(found: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    fields = dict(found)
    for name in ("review_by", "registered_at", "waiver_until"):
        at = fields.get(name)
        fields[name] = iso(at) if isinstance(at, int) and at else None
    fields["state"] = _state(found)
    del fields["disabled"]
    print_fields(fields)


def _moment(text: str, option: str) -> int:
    try:
        return int(moment(text, now=time.time()))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}", param_hint=option) from None


def _state(found: dict[str, object]) -> str:
    if found["disabled"]:
        return "disabled"
    review_by = found["review_by"]
    return (
        "review overdue" if isinstance(review_by, int) and review_by <= time.time() else "enabled"
    )


__all__ = ["app"]
