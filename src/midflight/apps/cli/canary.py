"""`midflight canary …`: values that are planted to be found when somebody carries them out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.private_file import hand_out
from midflight.apps.cli.session import Session
from midflight.apps.durations import iso
from midflight.domain.canary import CanaryShape

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
        empty="Nothing is planted. Mint something with `midflight canary add`.",
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
