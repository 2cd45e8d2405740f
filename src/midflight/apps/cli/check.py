"""`midflight check`: policies before they count."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from midflight.apps.cli.output import (
    EXIT_NO,
    JsonFlag,
    color,
    note,
    print_fields,
    print_json,
    visible,
)
from midflight.apps.cli.session import Session
from midflight.domain.errors import MidflightError

if TYPE_CHECKING:
    from midflight.domain.question import Target

EXAMPLE = "Example: midflight check policies/"


def check(
    context: typer.Context,
    directory: Annotated[
        Path | None,
        typer.Argument(help="The policies. Default: [policy] directory of midflight.toml."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Validate policies and hold them against their ALLOW and DENY files.

    Works without a running plane; with one, its pinned tools are part of the check. Exit code 1 if
    the set could not be activated or breaks a promise.
    """
    import msgspec

    from midflight.apps.compose_detectors import sequence_rules
    from midflight.apps.compose_offline import policy_compiler
    from midflight.services.policy import check_directory

    session = Session.of(context)
    where = session.settings().policy.directory if directory is None else directory
    sequence_rules(where)  # says what is wrong with `sequences.toml`, as the start would
    targets, trouble = _pinned(session)
    report = check_directory(policy_compiler(), where, targets or [])
    if as_json:
        print_json(msgspec.to_builtins(report) | {"ok": report.ok, "tools": len(targets or [])})
    else:
        for text in report.errors:
            typer.secho(f"error    {visible(text)}", fg=color("red"))
        for text in report.warnings:
            typer.secho(f"warning  {visible(text)}", fg=color("yellow"))
        print_fields(
            {
                "policies": report.policies,
                "cases": report.cases,
                "tools": "not checked" if targets is None else len(targets),
                "version": report.version,
                "result": "good" if report.ok else f"{len(report.errors)} errors",
            }
        )
        if targets is None:
            note(f"Not checked against the pinned tools of a running plane: {trouble}")
    if not report.ok:
        raise typer.Exit(EXIT_NO)


def _pinned(session: Session) -> tuple[list[Target] | None, str]:
    """The pinned tools of the running plane, or None and why it could not be asked."""
    try:
        listed: list[dict[str, Any]] = session.client().get("/v1/tools")
    except MidflightError as error:
        return None, error.message
    chosen = [e for e in listed if e["kind"] == "tool" and e["traits"]]
    return [_target(entry) for entry in chosen], ""


def _target(entry: dict[str, Any]) -> Target:
    import msgspec

    from midflight.domain.question import Target
    from midflight.domain.tool import PinState
    from midflight.domain.traits import Traits

    body: dict[str, Any] = entry["body"] or {}
    schema: Any = body.get("inputSchema")
    return Target(
        upstream=entry["upstream"],
        name=entry["name"],
        pin=entry["pinned_digest"],
        pin_state=PinState(entry["state"]),
        traits=msgspec.convert(entry["traits"], Traits),
        schema=cast("dict[str, Any]", schema) if isinstance(schema, dict) else None,
    )


__all__ = ["EXAMPLE", "check"]
