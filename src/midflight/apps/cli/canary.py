"""`midflight canary …`: values that are planted to be found when somebody carries them out."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from midflight.apps.cli.canary_plants import document, record
from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.private_file import hand_out
from midflight.apps.cli.session import Session
from midflight.apps.durations import iso
from midflight.domain.canary import CanaryShape
from midflight.domain.errors import Malformed
from midflight.domain.lease import DECOY, Placement

app = typer.Typer(help="Planted values that must never leave.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="What you call it; it stands in records.")]


@app.command(epilog="Example: midflight canary add wiki-password --upstream wiki --out canary.txt")
def add(
    context: typer.Context,
    name: Name,
    shape: Annotated[
        CanaryShape, typer.Option(help="What it looks like.")
    ] = CanaryShape.CREDENTIAL,
    upstream: Annotated[
        str | None, typer.Option(help="The upstream in whose data you plant it, for records.")
    ] = None,
    domain: Annotated[
        str | None, typer.Option(help="Domain of an e-mail address or URL: better one of yours.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write it to this file (mode 0600), not to stdout.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Mint a value to plant. It is printed once; only keyed hashes of it are kept.

    Put it where no honest action takes it from: among old passwords, in a note, in a record of a
    customer who does not exist. An action that would carry it out is refused and recorded.
    """
    asked = {"upstream": upstream, "domain": domain}
    made = (
        Session.of(context)
        .client()
        .post(
            "/v1/canaries",
            name=name,
            shape=shape.value,
            **{key: value for key, value in asked.items() if value is not None},
        )
    )
    hand_out(made, "value", out=out, as_json=as_json)
    note(f"Plant it; `midflight ledger tail` shows {name} when somebody meets it.")


class Place(enum.StrEnum):
    """What a canary is planted as."""

    VALUE = "value"
    RECORD = "record"
    DOCUMENT = "document"
    CREDENTIAL = "credential"


@app.command(epilog="Example: midflight canary plant old-keys --in document --out notes.txt")
def plant(
    context: typer.Context,
    name: Name,
    place: Annotated[Place, typer.Option("--in", help="What it is planted as.")] = Place.VALUE,
    upstream: Annotated[
        str | None, typer.Option(help="Where: for records, and for a credential the one it is for.")
    ] = None,
    domain: Annotated[
        str | None, typer.Option(help="Domain of an e-mail address: better one of yours.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write it to this file (mode 0600), not to stdout.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make something to plant: a value, a record, a document, or a credential to lease.

    Whoever carries a piece of it out, or reads it through an upstream, is found at once; so is
    whoever asks for the planted credential, which lends nothing. Put what is printed where no
    honest action takes it from.
    """
    client = Session.of(context).client()
    if place is Place.CREDENTIAL:
        if upstream is None:
            raise Malformed(
                "A planted credential needs --upstream.", hint="Name the one it is for."
            )
        made = client.post(
            "/v1/credentials",
            name=name,
            backend=DECOY,
            upstreams=[upstream],
            injections=[{"placement": Placement.ARGUMENT.value}],
        )
        made["placeholder"] = "{{lease:" + name + "}}"
        hand_out(made, "placeholder", out=out, as_json=as_json)
        note(f"Plant that; `midflight credential remove {name}` ends it.")
        return
    shape = CanaryShape.EMAIL if place is Place.RECORD else CanaryShape.CREDENTIAL
    asked = {"upstream": upstream, "domain": domain}
    made = client.post(
        "/v1/canaries",
        name=name,
        shape=shape.value,
        **{key: value for key, value in asked.items() if value is not None},
    )
    match place:
        case Place.RECORD:
            made["value"] = record(made["value"])
        case Place.DOCUMENT:
            made["value"] = document(made["value"])
        case Place.VALUE:
            pass
    hand_out(made, "value", out=out, as_json=as_json)
    note(f"Plant it; `midflight finding list` shows {name} when somebody meets it.")


@app.command("list", epilog="Example: midflight canary list --json")
def list_canaries(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List what is planted. Values are not kept."""
    found = Session.of(context).client().get("/v1/canaries")
    if as_json:
        print_json(found)
        return
    print_table(
        ("canary", "shape", "upstream", "by", "at"),
        [(c["name"], c["shape"], c["upstream"] or None, c["by"], iso(c["at"])) for c in found],
        empty="Nothing is planted. Make something with `midflight canary plant`.",
    )


@app.command(epilog="Example: midflight canary remove wiki-password")
def remove(context: typer.Context, name: Name, as_json: JsonFlag = False) -> None:
    """Watch for a value no longer. Take it out of where it was planted, too."""
    removed = Session.of(context).client().post("/v1/canaries/remove", name=name)
    if as_json:
        print_json(removed)
        return
    print_fields({"removed": removed["name"]})


__all__ = ["app"]
