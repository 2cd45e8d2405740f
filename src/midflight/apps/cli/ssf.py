"""`midflight ssf …`: security events to others and from others (Shared Signals, CAEP)."""

from __future__ import annotations

from typing import Annotated

import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.session import Session
from midflight.apps.durations import iso
from midflight.domain.shared_stream import StreamStatus

app = typer.Typer(
    help="Security events to others and from others (SSF, CAEP).", no_args_is_help=True
)


@app.command(epilog="Example: midflight ssf streams --json")
def streams(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the streams that others have, and how much waits in each."""
    found = Session.of(context).client().get("/v1/ssf/streams")
    if as_json:
        print_json(found)
        return
    print_table(
        ("stream", "client", "method", "status", "waiting", "dropped", "events", "since"),
        [
            (
                each["stream_id"],
                each["client"],
                each["method"],
                each["status"],
                each["waiting"],
                each["dropped"],
                ", ".join(each["events"]) or None,
                iso(each["created_at"]),
            )
            for each in found
        ],
        empty="Nobody has a stream. docs/shared-signals.md says how a receiver makes one.",
    )


@app.command(epilog="Example: midflight ssf outbox --json")
def outbox(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the events that wait to be delivered, in their order."""
    found = Session.of(context).client().get("/v1/ssf/outbox")
    if as_json:
        print_json(found)
        return
    print_table(
        ("stream", "event", "cause", "jti", "at"),
        [
            (each["stream_id"], each["kind"], each["cause"] or None, each["jti"], iso(each["at"]))
            for each in found
        ],
        empty="Nothing waits.",
    )


@app.command(epilog="Example: midflight ssf receivers --json")
def receivers(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the transmitters that are listened to, and what each sent last."""
    found = Session.of(context).client().get("/v1/ssf/receivers")
    if as_json:
        print_json(found)
        return
    print_table(
        ("name", "issuer", "by", "last event", "outcome", "problem"),
        [
            (
                each["name"],
                each["issuer"],
                " and ".join(way for way in ("push", "poll") if each[way]),
                iso(each["latest"][0]["at"]) if each["latest"] else None,
                each["latest"][0]["outcome"] if each["latest"] else None,
                each["problem"] or None,
            )
            for each in found
        ],
        empty="No transmitter is listened to. Add [[ssf.receive]] to midflight.toml.",
    )


@app.command(epilog='Example: midflight ssf status str_… paused --reason "Maintenance until noon."')
def status(
    context: typer.Context,
    stream: Annotated[str, typer.Argument(help="The stream's id: midflight ssf streams.")],
    to: Annotated[StreamStatus, typer.Argument(help="What it shall be.")],
    reason: Annotated[str, typer.Option(help="Why; its receiver is told.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Pause, disable or enable a stream. Its receiver is told first, by an event."""
    done = (
        Session.of(context)
        .client()
        .post("/v1/ssf/streams/status", stream_id=stream, status=to.value, reason=reason)
    )
    if as_json:
        print_json(done)
        return
    print_fields({"stream": done["stream_id"], "status": done["status"]})


@app.command(epilog="Example: midflight ssf expect idp")
def expect(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The transmitter, as settings call it.")],
    as_json: JsonFlag = False,
) -> None:
    """Print a state to verify a stream with; ask its transmitter with it within an hour."""
    made = Session.of(context).client().post("/v1/ssf/receivers/expect", name=name)
    if as_json:
        print_json(made)
        return
    typer.echo(made["state"])
    note(f"midflight ssf receivers shows when {name} has sent it.")


__all__ = ["app"]
