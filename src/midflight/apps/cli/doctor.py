"""`midflight doctor`: is this machine, this directory, this plane in order?"""

from __future__ import annotations

from collections.abc import Iterator

import typer

from midflight.apps.cli.finding import Finding, Health, fail
from midflight.apps.cli.output import EXIT_NO, JsonFlag, color, print_json
from midflight.apps.cli.session import Session
from midflight.domain.errors import MidflightError, Misconfigured
from midflight.domain.plain import visible

EXAMPLE = "Example: midflight doctor"

_COLORS = {Health.OK: "green", Health.WARN: "yellow", Health.FAIL: "red"}


def doctor(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Look for what is wrong, and say what would help. Exit code 1 if anything fails."""
    found: list[Finding] = []
    for finding in _examine(Session.of(context)):
        found.append(finding)
        if not as_json:
            typer.secho(f"{finding.health.value:<5}", fg=color(_COLORS[finding.health]), nl=False)
            typer.echo(f"{visible(finding.subject)}: {visible(finding.text)}")
            if finding.help:
                typer.echo(f"     {visible(finding.help)}")
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(found))
    if any(finding.health is Health.FAIL for finding in found):
        raise typer.Exit(EXIT_NO)


def _examine(session: Session) -> Iterator[Finding]:
    from midflight.apps.cli.checkup_files import files
    from midflight.apps.cli.checkup_machine import machine
    from midflight.apps.cli.checkup_plane import plane

    yield from machine()
    try:
        settings = session.settings()
    except Misconfigured as error:
        for problem in error.problems or (error.message,):
            yield fail("settings", problem, error.hint)
        return
    try:
        yield from files(settings, session.settings_file())
        yield from plane(settings, session.client())
    except (OSError, MidflightError) as error:
        # A thing that vanished while it was looked at; the rest would be guesses.
        why = error.message if isinstance(error, MidflightError) else str(error.strerror)
        yield fail("doctor", f"could not finish: {why}", "Run it again.")


__all__ = ["EXAMPLE", "doctor"]
