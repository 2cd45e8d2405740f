"""What the demo shows: one line a step, colour only where it helps and is wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from midflight.apps.demo.tamper import Verdict

WIDTH = 100


class Screen:
    """The demo's output; NO_COLOR and pipes are respected by rich."""

    def __init__(self, console: Console | None = None) -> None:
        """`console` is for tests."""
        self._console = console or Console(highlight=False, width=WIDTH)
        self._bar = 0

    def title(self, text: str, below: str) -> None:
        """The opening."""
        self._console.print(Panel(escape(below), title=f"[bold]{escape(text)}[/]", width=WIDTH))

    def act(self, number: int, text: str) -> None:
        """A heading."""
        self._console.print()
        self._console.rule(f"[bold]{number}. {escape(text)}[/]", align="left")

    def verb(self, *words: str) -> None:
        """What an operator types."""
        self._print(f"[cyan]$ {escape(' '.join(words))}[/]")

    def note(self, text: str) -> None:
        """Something to know."""
        self._print(f"[dim]{escape(text)}[/]")

    def call(
        self,
        tool: str,
        arguments: Mapping[str, object],
        text: str,
        *,
        refusal: Mapping[str, Any] | None,
        took_ms: float,
    ) -> None:
        """A call of the agent and how it ended."""
        given = ", ".join(f"{k}={_short(v)}" for k, v in arguments.items() if k != "repo_path")
        self._print(f"  agent → [bold]{escape(tool)}[/]({escape(given)})")
        if refusal is None:
            said = " ".join(text.split())
            self._print(
                f"    [green]✔ passed[/] {took_ms:5.0f} ms  [dim]{escape(_cut(said, 72))}[/]"
            )
            return
        self._print(
            f"    [red]✘ {escape(str(refusal['code']))}[/] {took_ms:5.0f} ms  "
            f"[yellow]{escape(', '.join(refusal['policies']))}[/]  "
            f"[dim]record {escape(str(refusal['record']))}[/]"
        )
        lines = [line for line in text.splitlines() if line.startswith(("- ", "What would help"))]
        for line in lines:
            self._print(f"      {escape(line)}")

    def calls(self, tools: Sequence[str], codes: Sequence[str]) -> None:
        """Several calls and the codes of their refusals, empty for those that passed."""
        self._print(f"  agent → [bold]{escape(', '.join(tools))}[/]")
        for code, count in Counter(codes).items():
            mark = f"[red]✘ {escape(code)}[/]" if code else "[green]✔ passed[/]"
            self._print(f"    {count} × {mark}")

    def person(self, text: str) -> None:
        """What a person does."""
        self._print(f"[magenta]{escape(text)}[/]")

    def shown(self, fields: Mapping[str, object]) -> None:
        """What a verb has printed."""
        width = max(map(len, fields))
        for name, value in fields.items():
            self._print(f"    {escape(name.ljust(width))}  {escape(str(value))}")

    def progress(self, done: int, total: int) -> None:
        """Progress of a long call, a line for every tenth part."""
        if total and done * 10 // total != self._bar:
            self._bar = done * 10 // total
            self._print(f"    … {done} of {total} rows")

    def cut(
        self, *, acknowledged_ms: float, ended_ms: float, rows: int, cut: int, bytes_out: int
    ) -> None:
        """What a revocation did."""
        self._print(
            f"    [bold]acknowledged in {acknowledged_ms:.1f} ms[/], agent told after "
            f"{ended_ms:.1f} ms: {cut} call cut at row {rows}, {bytes_out} bytes had left"
        )

    def verdict(self, verdict: Verdict) -> None:
        """What the verifier says."""
        colour = "green" if verdict.ok else "red"
        for line in verdict.text.splitlines():
            self._print(f"    [{colour}]{escape(line)}[/]")

    def checks(self, checks: list[tuple[str, bool]]) -> None:
        """What had to be true."""
        for text, good in checks:
            mark = "[green]✔[/]" if good else "[bold red]✘[/]"
            self._print(f"  {mark} {escape(text)}")

    def end(self, *, good: bool, seconds: float) -> None:
        """The closing."""
        if not good:
            self._console.print(
                f"\n[bold red]Something was not as it should be[/] ({seconds:.0f} s)"
            )
            return
        self._console.print(
            Panel(
                "[bold]midflight init[/]     a plane of your own in this directory\n"
                "[bold]midflight doctor[/]   what is missing and what would help\n"
                "[bold]README.md[/]          the first governed agent in a minute\n"
                "[bold]ARCHITECTURE.md[/]    how it works, and what it does not do",
                title=f"Every step did what it should, in {seconds:.0f} s. Where to go next",
                width=WIDTH,
            )
        )

    def _print(self, text: str) -> None:
        self._console.print(text, overflow="fold")


def _short(value: object) -> str:
    return repr(_cut(value, 48)) if isinstance(value, str) else repr(value)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


__all__ = ["Screen"]
