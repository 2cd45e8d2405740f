"""`midflight explain`: why an action was decided as it was."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from midflight.apps.cli.approval_screen import concern, name, origin
from midflight.apps.cli.output import (
    EXIT_NO,
    JsonFlag,
    note,
    print_fields,
    print_json,
    visible,
)
from midflight.apps.cli.run import labels
from midflight.apps.cli.session import Session, segment
from midflight.apps.durations import iso

EXAMPLE = "Example: midflight explain 1f0a9c3e-42"


def explain(
    context: typer.Context,
    record: Annotated[str, typer.Argument(help="Id of an intent or outcome record.")],
    as_json: JsonFlag = False,
) -> None:
    """Derive a recorded decision again from its facts, and say what would be decided now.

    Exit code 1 if the recorded version does not say what was recorded.
    """
    found = Session.of(context).client().get(f"/v1/records/{segment(record)}/explain")
    if as_json:
        print_json(found)
    else:
        _print(found)
    if found["same"] is False:
        raise typer.Exit(EXIT_NO)


def _print(found: dict[str, Any]) -> None:
    facts: dict[str, Any] = found["facts"] or {}
    run: dict[str, Any] = facts.get("run") or {}
    workload: dict[str, Any] = facts.get("workload") or {}
    derived: dict[str, Any] = found["derived"] or {}
    traits: dict[str, Any] = facts.get("traits") or {}
    flow: dict[str, Any] = facts.get("flow") or {"arguments": [], "concerns": []}
    print_fields(
        {
            "record": found["record"],
            "at": iso(found["at"]),
            "decided": f"{found['decided']} ({found['code']})"
            if found["code"]
            else found["decided"],
            "because of": [_reason(reason) for reason in found["reasons"]],
            "under": [f"{o['name']} {o['value']}" for o in found["obligations"]] or None,
            "action": f"{facts['kind']} {facts['upstream']}/{facts['name']}" if facts else None,
            "workload": workload.get("id"),
            "run": run.get("id"),
            "run labels": labels(run["labels"]) if run else None,
            "labels from": run.get("labels_source"),
            "pin": facts.get("pin_state"),
            "values": [f"{name(entry['path'])}: {origin(entry)}" for entry in flow["arguments"]],
            "against it": [concern(word) for word in flow["concerns"]],
            "traits": f"{traits['effect']}, {traits['reach']} world" if traits else None,
            "then": _decision(derived.get("then")),
            "now": _decision(derived.get("now")),
            "if enforced": _shadow(found["shadow"]),
            "version then": derived.get("version"),
            "version now": derived.get("active"),
        }
    )
    arguments = found["arguments"]
    if arguments is None:
        note("The arguments are erased.")
    elif arguments:
        typer.echo("arguments")
        for line in json.dumps(arguments, indent=2, ensure_ascii=False).split("\n"):
            typer.echo(f"  {visible(line)}")
    if found["masked"]:
        note("Masked arguments were recorded masked; the digest covers what was sent.")
    if found["result"] is not None:
        typer.echo("result")
        for line in json.dumps(found["result"], indent=2, ensure_ascii=False).split("\n"):
            typer.echo(f"  {visible(line)}")
    if derived.get("note"):
        note(derived["note"])
    match found["same"]:
        case True:
            note("The version that decided says the same to these facts.")
        case False:
            note("The version that decided does NOT say the same to these facts.")
        case _:
            note("It cannot be told whether the version that decided says the same.")


def _reason(reason: dict[str, Any]) -> str:
    return f"{reason['policy']} ({reason['text']})" if reason["text"] else reason["policy"]


def _decision(found: dict[str, Any] | None) -> str | None:
    if found is None:
        return None
    policies = ", ".join(reason["policy"] for reason in found["reasons"])
    return f"{found['type']} because of {policies}" if policies else found["type"]


def _shadow(found: dict[str, Any] | None) -> str | None:
    if found is None:
        return None
    policies = ", ".join(reason["policy"] for reason in found["reasons"])
    return f"{found['decided']} because of {policies} (version {found['version'][:12]})"


__all__ = ["EXAMPLE", "explain"]
