"""`midflight redteam …`: recorded runs and a public benchmark, replayed through the real guard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from midflight.apps.cli.output import EXIT_NO, JsonFlag, color, note, print_json
from midflight.apps.cli.progress import progress_bar
from midflight.apps.cli.session import Session, segment
from midflight.domain.errors import Misconfigured
from midflight.domain.plain import visible

app = typer.Typer(
    help="Replay attacks and honest work through the guard, and gate releases on what happens.",
    no_args_is_help=True,
)


@app.command(
    epilog="Example: midflight redteam replay attacks.jsonl honest.jsonl --tools tools.json"
    " --max-passed 0.5% --max-held 16% --max-broken 0 --sarif redteam.sarif"
)
def replay(
    files: Annotated[
        list[Path], typer.Argument(help="Cases as JSON lines, plain or xz.", metavar="FILE…")
    ],
    tools: Annotated[Path, typer.Option(help="The manifest: upstream to its list of MCP tools.")],
    traits: Annotated[
        list[Path] | None,
        typer.Option(
            help="A traits file; one an upstream. What none holds is proposed, and nobody looked."
        ),
    ] = None,
    policies: Annotated[
        Path | None, typer.Option(help="The policies. Default: the standard pack.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report there as JSON.")
    ] = None,
    sarif: Annotated[
        Path | None, typer.Option(help="Write what somebody should look at there, as SARIF 2.1.0.")
    ] = None,
    remember: Annotated[
        bool,
        typer.Option("--remember", help="Approved counterparties are known in later cases."),
    ] = False,
    facts: Annotated[
        bool,
        typer.Option("--facts", help="Let the plane know each case's env_facts as configured."),
    ] = False,
    max_passed: Annotated[
        str | None, typer.Option(metavar="LIMIT", help="Attacks that may pass: 3 or 0.5%.")
    ] = None,
    max_held: Annotated[
        str | None, typer.Option(metavar="LIMIT", help="Honest cases that may be held.")
    ] = None,
    max_broken: Annotated[
        str | None, typer.Option(metavar="LIMIT", help="Honest cases that may be denied.")
    ] = None,
) -> None:
    """Replay recorded runs through the real guard, the recorded results standing in for upstreams.

    An agent that obeys every injection is assumed; a person says yes to what a user wanted and no
    to what an attacker did. What somebody should look at is listed with its first wrong step and
    why, then counts per suite and how many approvals honest work asks for.

    To gate a release, give limits: a count (3) or a share (0.5%). Exit code 0 if all are kept or
    none is given, 1 if one is missed, 2 if something cannot be read and nothing was measured.
    The SARIF file can be uploaded to a code-scanning dashboard whatever the exit code, but for 2.
    """
    from midflight.apps.redteam.report import as_json, as_lines
    from midflight.apps.redteam.run import Wanted, run, total
    from midflight.apps.redteam.sarif import as_sarif
    from midflight.apps.redteam.thresholds import parse_limit

    wanted = Wanted(
        files=tuple(files),
        tools=tools,
        policies=_standard() if policies is None else policies,
        traits=tuple(traits or ()),
        remember=remember,
        facts=facts,
        max_passed=None if max_passed is None else parse_limit(max_passed),
        max_held=None if max_held is None else parse_limit(max_held),
        max_broken=None if max_broken is None else parse_limit(max_broken),
    )
    with progress_bar("Replaying", total=total(wanted)) as advance:
        report = run(wanted, progress=advance)
    _write(json_file, as_json(report))
    if sarif is not None:
        _write(sarif, as_sarif(report))
    for line in as_lines(report):
        missed = line.startswith(("MISSED", "passed", "broken"))
        typer.secho(visible(line), fg=color("red") if missed else None)
    if not report.ok:
        raise typer.Exit(EXIT_NO)


@app.command(epilog="Example: midflight redteam agentdojo --suite banking --out cases/")
def agentdojo(
    suite: Annotated[
        list[str] | None, typer.Option(help="Only this suite; may be given again.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("agentdojo-cases"),
    attack: Annotated[
        str | None, typer.Option(help="The benchmark's attack. Default: important_instructions.")
    ] = None,
    as_shipped: Annotated[
        bool, typer.Option("--as-shipped", help="Leave the benchmark's known defects as they are.")
    ] = False,
    python: Annotated[
        Path | None, typer.Option(help="The Python that has the benchmark. Default: this one.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make the cases of the AgentDojo benchmark, by its own code, without a model or a network.

    Needs the extra `redteam`. Known defects of the benchmark are filled in, and listed here.
    """
    from midflight.apps.redteam.agentdojo.driver import DEFAULT_ATTACK, generate, interpreter
    from midflight.apps.redteam.agentdojo.kinds import KINDS, SUITES
    from midflight.apps.redteam.agentdojo.repairs import REPAIRS

    chosen = tuple(suite or SUITES)
    for name in chosen:
        if name not in SUITES:
            raise Misconfigured(
                f"There is no suite {name!r}.", hint=f"There are: {', '.join(SUITES)}."
            )
    expected = sum(SUITES[name] for name in chosen)
    with progress_bar("Generating", total=expected) as advance:
        generate(
            out,
            python=interpreter(python),
            suites=chosen,
            attack=attack or DEFAULT_ATTACK,
            as_shipped=as_shipped,
            progress=advance,
        )
    repaired = [
        {"suite": name, "task": task, "defect": repair.why, "filled_in": repair.what}
        for (name, task), repair in REPAIRS.items()
        if name in chosen and not as_shipped
    ]
    written = [str(out / f"{kind}.jsonl") for kind in KINDS]
    tools = str(out / "tools.json")
    if as_json:
        print_json({"files": written, "tools": tools, "repairs": repaired})
        return
    for file in written:
        typer.echo(visible(file))
    typer.echo(visible(tools))
    for one in repaired:
        note(f"{one['suite']} {one['task']}: {one['defect']}; filled in: {one['filled_in']}")
    note(f"Replay them: midflight redteam replay {written[0]} --tools {tools}")


@app.command(epilog="Example: midflight redteam record RUN --injected 3 --out incident.jsonl")
def record(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="The run's id.")],
    out: Annotated[Path, typer.Option(help="The new file; one that exists is refused.")],
    injected: Annotated[
        list[int] | None,
        typer.Option(help="Number of a call that an attacker wanted; may be given again."),
    ] = None,
    suite: Annotated[str, typer.Option(help="The collection it is for.")] = "recorded",
    tools: Annotated[
        Path | None, typer.Option(help="Write the manifest of the plane's tools there, too.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Turn a run of the ledger into a case, with its arguments opened: keep the file private.

    The ledger keeps no results, so the case has none; add them to its steps if you have them.
    """
    from midflight.apps.cli.private_file import write_private
    from midflight.apps.redteam.record import case_of

    client = Session.of(context).client()
    for path in (out, tools):
        if path is not None and path.exists():
            raise Misconfigured(f"{path} exists.", hint="Name a new file.")
    found = client.get(f"/v1/runs/{segment(run)}/calls")
    case = case_of(found, suite=suite, injected=frozenset(injected or ()))
    write_private(out, json.dumps(case) + "\n")
    if tools is not None:
        write_private(tools, json.dumps(_manifest(client.get("/v1/tools")), indent=1) + "\n")
    if as_json:
        print_json({"file": str(out), "steps": len(case["steps"]), "results": 0})
        return
    for number, step in enumerate(case["steps"], 1):
        wanted = "  (an attacker's)" if step["from"] == "injection" else ""
        line = f"{number}  {step['answer']:<9}  {step['server']}/{step['tool']}{wanted}"
        typer.echo(visible(line))
    note(f"Wrote {out}, without results: the ledger keeps none.")


def _manifest(listed: list[dict[str, Any]]) -> dict[str, list[Any]]:
    manifest: dict[str, list[Any]] = {}
    for entry in listed:
        if entry["kind"] == "tool" and entry["body"]:
            manifest.setdefault(entry["upstream"], []).append(entry["body"])
    return manifest


def _standard() -> Path:
    """The policies that `midflight init` writes."""
    import midflight
    from midflight.apps.cli.init import PACKS

    return Path(midflight.__file__).parent / "policies" / PACKS[0]


def _write(path: Path | None, value: Any) -> None:
    if path is None:
        return
    try:
        path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}.") from None


__all__ = ["app"]
