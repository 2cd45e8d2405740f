"""`midflight`: the table of verbs. What a verb needs is imported when it runs, not for --help."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from traceback import extract_tb
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from midflight import __version__
from midflight.apps.cli import (
    approval,
    approver,
    baseline,
    break_glass,
    bundle,
    canary,
    check,
    ci,
    client,
    counterparty,
    credential,
    credential_login,
    demo,
    doctor,
    entry,
    explain,
    findings,
    init,
    join_token,
    keys,
    lease,
    ledger,
    mark,
    monitor,
    notice,
    operator,
    panic,
    policy,
    redteam,
    response,
    revoke,
    run,
    ssf,
    status,
    svid,
    tool,
    traits,
    up,
    workload,
)
from midflight.apps.cli import exec as exec_verb
from midflight.apps.cli import export as export_verbs
from midflight.apps.cli.output import EXIT_CANNOT, report
from midflight.apps.cli.session import Session
from midflight.domain.errors import MidflightError

TRACEBACK_VARIABLE = "MIDFLIGHT_TRACEBACK"


class Verbs(TyperGroup):
    """Turns errors into one teaching line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except MidflightError as error:
            raise typer.Exit(report(error)) from None


app = typer.Typer(
    cls=Verbs,
    name="midflight",
    help="A runtime protection plane for AI agents: every action decided, every agent stoppable.",
    epilog="Example: midflight init && midflight up",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In the order in which a newcomer meets them.
app.command("init", epilog=init.EXAMPLE)(init.init)
app.command("up", epilog=up.EXAMPLE)(up.up)
app.command("demo", epilog=demo.EXAMPLE)(demo.demo)
app.command("doctor", epilog=doctor.EXAMPLE)(doctor.doctor)
app.command("status", epilog=status.EXAMPLE)(status.status)
app.add_typer(workload.app, name="workload")
app.add_typer(svid.app, name="svid")
app.add_typer(ci.app, name="ci")
app.add_typer(bundle.app, name="bundle")
app.add_typer(entry.app, name="entry")
app.add_typer(join_token.app, name="join-token")
app.add_typer(run.app, name="run")
app.command("exec", epilog=exec_verb.EXAMPLE, context_settings={"allow_interspersed_args": False})(
    exec_verb.execute
)
app.add_typer(tool.app, name="tool")
app.add_typer(traits.app, name="traits")
app.add_typer(approval.app, name="approval")
app.add_typer(approver.app, name="approver")
app.command("open", epilog=notice.EXAMPLE)(notice.open_questions)
app.add_typer(notice.app, name="notice")
app.add_typer(break_glass.app, name="break-glass")
app.add_typer(counterparty.app, name="counterparty")
app.add_typer(mark.app, name="mark")
app.command("revoke", epilog=revoke.EXAMPLE)(revoke.revoke)
app.add_typer(revoke.app, name="revocation")
app.add_typer(response.app, name="response")
app.command("panic", epilog=panic.EXAMPLE)(panic.panic)
app.command("check", epilog=check.EXAMPLE)(check.check)
app.command("explain", epilog=explain.EXAMPLE)(explain.explain)
app.add_typer(redteam.app, name="redteam")
app.add_typer(ledger.app, name="ledger")
app.add_typer(export_verbs.app, name="export")
app.add_typer(policy.app, name="policy")
app.add_typer(monitor.app, name="monitor")
app.add_typer(canary.app, name="canary")
app.add_typer(baseline.app, name="baseline")
app.add_typer(findings.app, name="finding")
app.add_typer(ssf.app, name="ssf")
app.add_typer(keys.app, name="keys")
credential.app.command("login", epilog="Example: midflight credential login crm")(
    credential_login.login
)
app.add_typer(credential.app, name="credential")
app.add_typer(lease.app, name="lease")
app.add_typer(client.app, name="client")
app.add_typer(operator.app, name="operator")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"midflight {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="The settings file. Default: $MIDFLIGHT_CONFIG, or midflight.toml here or above.",
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001 -- its callback does it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Global options."""
    context.obj = Session(config=config)
    if os.environ.get("NO_COLOR"):
        context.color = False  # nor what ends a colour (no-color.org)


def main() -> None:
    """Run the command line; no traceback reaches a person unless asked for."""
    try:
        app()
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        at = extract_tb(error.__traceback__)[-1]
        sys.stderr.write(
            f"midflight: failed unexpectedly ({type(error).__name__} at"
            f" {Path(at.filename).name}:{at.lineno}). {TRACEBACK_VARIABLE}=1 shows where;"
            " please report it.\n"
        )
        sys.exit(EXIT_CANNOT)


if __name__ == "__main__":
    main()

__all__ = ["app", "main"]
