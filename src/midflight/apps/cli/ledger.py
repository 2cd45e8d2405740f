"""`midflight ledger …`: reading what was recorded, and proving that it was not changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from midflight.apps.cli.output import (
    EXIT_NO,
    JsonFlag,
    color,
    note,
    print_fields,
    print_json,
    print_table,
    visible,
)
from midflight.apps.cli.progress import progress_bar
from midflight.apps.cli.records import summary
from midflight.apps.cli.session import Session, segment
from midflight.apps.durations import iso
from midflight.domain.errors import Misconfigured

if TYPE_CHECKING:
    from midflight.domain.problems import Report
    from midflight.services.ports.ledger_store import LedgerReader

app = typer.Typer(help="What was recorded, and whether it was changed.", no_args_is_help=True)

LEDGER_NAME = "ledger.sqlite3"
# Below this a bar would only flicker.
_BAR_FROM = 50_000
_MAX_KEY_OR_NOTE = 1_000_000

Record = Annotated[str, typer.Argument(help="The record's id, such as 1f0a9c3e-42.")]


@app.command(
    epilog="Example: midflight ledger verify ledger.sqlite3 --checkpoint published.txt --key K.pub"
)
def verify(
    context: typer.Context,
    ledger: Annotated[
        Path | None,
        typer.Argument(help="The database or an exported file. Default: that of midflight.toml."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint that was kept elsewhere; finds a cut tail.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="The verifier key or a file with it. Default: from beside the ledger."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Verify a ledger offline. Exit code 1, and the entry's name, if it was changed."""
    from midflight.apps.compose_offline import opened_ledger, verifier_key_beside
    from midflight.services.ledger_verify import verify as verify_ledger

    path = _path(context, ledger)
    published = None if checkpoint is None else _text(checkpoint)
    verifier_key, whence = _key(key), "given"
    if verifier_key is None:
        verifier_key, whence = verifier_key_beside(path), "beside the ledger"
    with opened_ledger(path) as reader, _progress("Verifying", reader) as advance:
        # Checkpoints first: a writer may be running.
        checkpoints = reader.checkpoints()
        report = verify_ledger(
            reader.entries(),
            checkpoints,
            verifier_key=verifier_key,
            published=published,
            progress=advance,
        )
    if as_json:
        import msgspec

        found: dict[str, Any] = msgspec.to_builtins(report)
        print_json(found | {"ok": report.ok, "key": whence if verifier_key else None})
    else:
        _print_report(report, key=whence if verifier_key else "none: signatures not checked")
    if not report.ok:
        raise typer.Exit(EXIT_NO)


@app.command(epilog="Example: midflight ledger tail --count 50")
def tail(
    context: typer.Context,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=1000, help="How many records.")
    ] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Show the last records of the running plane."""
    found = Session.of(context).client().get("/v1/records", count=count)
    if as_json:
        print_json(found)
        return
    print_table(
        ("record", "at", "kind", "what"),
        [(r["id"], _at(r), r["kind"] or "damaged", summary(r)) for r in found],
        empty="Nothing is recorded.",
    )


@app.command(epilog="Example: midflight ledger show 1f0a9c3e-42")
def show(context: typer.Context, record: Record, as_json: JsonFlag = False) -> None:
    """Show one record. Arguments stay sealed; `midflight explain` opens them."""
    found = Session.of(context).client().get(f"/v1/records/{segment(record)}")
    if as_json:
        print_json(found)
        return
    print_fields({"record": found["id"], "position": found["position"], "at": _at(found)})
    for line in json.dumps(found["record"], indent=2, ensure_ascii=False).split("\n"):
        typer.echo(visible(line))


@app.command(epilog="Example: midflight ledger export audit.jsonl")
def export(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(help="The new file; one that exists is refused.")],
    ledger: Annotated[
        Path | None, typer.Option(help="The database. Default: that of midflight.toml.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the ledger as JSON lines, for an auditor; `ledger verify` reads it."""
    from midflight.apps.compose_offline import export_ledger, opened_ledger

    path = _path(context, ledger)
    with opened_ledger(path) as reader, _progress("Exporting", reader) as advance:
        count = export_ledger(reader, target, progress=advance)
    if as_json:
        print_json({"file": str(target), "entries": count})
        return
    note(f"Wrote {count:,} entries to {target}.")


@app.command(epilog="Example: midflight ledger checkpoint --out published.txt")
def checkpoint(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Write it to this file, not to stdout.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Sign a checkpoint over everything recorded so far. Publish it out of operators' reach."""
    signed = Session.of(context).client().post("/v1/ledger/checkpoint")
    if out is not None:
        try:
            out.write_text(signed["note"], encoding="utf-8")
        except OSError as error:
            raise Misconfigured(f"{out} cannot be written: {error.strerror}.") from None
    if as_json:
        print_json(signed)
    elif out is None:
        typer.echo(signed["note"], nl=False)
    else:
        note(f"Wrote {out}.")


@app.command("key", epilog="Example: midflight ledger key > midflight-ledger.pub")
def show_key(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Print the public key that verifies checkpoints. Keep it out of operators' reach."""
    found = Session.of(context).client().get("/v1/ledger/key")
    if as_json:
        print_json(found)
        return
    typer.echo(found["key"])


def _at(found: dict[str, Any]) -> str:
    return iso(found["record"]["at"]) if found["record"] else "-"


def _print_report(report: Report, *, key: str) -> None:
    for problem in report.problems:
        typer.secho(f"{problem.kind.value:<15} {visible(problem.text)}", fg=color("red"))
    if report.more:
        typer.echo(f"… and {report.more:,} more")
    published = report.published_up_to
    print_fields(
        {
            "entries": f"{report.entries:,} by {report.writers} writers",
            "actions": f"{report.intents:,} intents, {report.outcomes:,} outcomes",
            "still open": report.open_count or None,
            "key": key,
            "signed up to": report.signed_up_to,
            "published up to": "no checkpoint given" if published is None else published,
            "root": report.root,
            "result": "good" if report.ok else f"{len(report.problems) + report.more:,} problems",
        }
    )
    proved = published if published is not None else report.signed_up_to
    if report.ok and proved < report.entries:
        by = "published" if published is not None else "signed"
        note(f"Behind position {proved} nothing {by} vouches yet; a later checkpoint will.")


def _path(context: typer.Context, given: Path | None) -> Path:
    if given is not None:
        return given
    return Session.of(context).settings().state.directory / LEDGER_NAME


def _key(given: str | None) -> str | None:
    """A verifier key, or the content of the file that was named."""
    if given is None or "+" in given:
        return given
    return _text(Path(given)).strip()


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MAX_KEY_OR_NOTE)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Misconfigured(f"{path} cannot be read: {why}.") from None


@contextmanager
def _progress(
    what: str, reader: LedgerReader
) -> Generator[Callable[[int], None] | None, None, None]:
    total = reader.size()
    if total < _BAR_FROM:
        yield None
        return
    with progress_bar(what, total=total) as advance:
        yield advance


__all__ = ["LEDGER_NAME", "app"]
