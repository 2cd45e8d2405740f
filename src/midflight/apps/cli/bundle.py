"""`midflight bundle …`: what verifies identities, ours and those of others."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.session import Session
from midflight.apps.durations import iso
from midflight.domain.errors import NotFound

app = typer.Typer(help="Trust bundles: what verifies identities.", no_args_is_help=True)


@app.command(epilog="Example: midflight bundle show > our-bundle.json")
def show(
    context: typer.Context,
    trust_domain: Annotated[
        str | None, typer.Argument(help="Of another trust domain. Default: ours.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print a trust bundle as others read it (JSON), to be handed to who federates with you."""
    found: list[dict[str, Any]] = Session.of(context).client().get("/v1/bundles")
    wanted = [b for b in found if (b["ours"] if trust_domain is None else _is(b, trust_domain))]
    if not wanted:
        raise NotFound(
            f"There is no federation with {trust_domain}.", hint="midflight bundle list shows them."
        )
    bundle = wanted[0]
    if as_json:
        print_json(bundle)
    elif bundle["in_force"]:
        print_json(bundle["document"])
    else:
        raise NotFound(f"The bundle is not in force: {bundle['problem']}")


@app.command("list", epilog="Example: midflight bundle list --json")
def list_bundles(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List our bundle and those of the trust domains we federate with."""
    found: list[dict[str, Any]] = Session.of(context).client().get("/v1/bundles")
    if as_json:
        print_json(found)
        return
    print_table(
        ("trust domain", "in force", "sequence", "x509", "jwt", "confirmed", "problem"),
        [
            (
                bundle["trust_domain"] + (" (ours)" if bundle["ours"] else ""),
                "yes" if bundle["in_force"] else "no",
                bundle["sequence"],
                len(bundle["x509_authorities"]),
                len(bundle["jwt_authorities"]),
                None if bundle["confirmed_at"] is None else iso(bundle["confirmed_at"]),
                bundle["problem"] or None,
            )
            for bundle in found
        ],
        empty="There is none.",
    )


@app.command(epilog="Example: midflight bundle rotate --root")
def rotate(
    context: typer.Context,
    root: Annotated[bool, typer.Option(help="Make a new root, too; the old one is kept on.")] = (
        False
    ),
    as_json: JsonFlag = False,
) -> None:
    """Prepare the next intermediate now. It signs after the overlap, once others know its root."""
    made = Session.of(context).client().post("/v1/bundles/rotate", root=root)
    if as_json:
        print_json(made)
        return
    print_fields({"sequence": made["sequence"], "old one ends": iso(made["ends_at"])})
    note("The next intermediate signs in 15 minutes; until then both are published.")


def _is(bundle: dict[str, Any], trust_domain: str) -> bool:
    return bool(bundle["trust_domain"] == trust_domain)


__all__ = ["app"]
