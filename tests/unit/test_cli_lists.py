"""Lists on a terminal: no id is broken in two, and every kind of record has words."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from midflight.apps.cli.output import print_table
from midflight.apps.cli.records import KINDS, summary
from midflight.domain.records import Issued, LeaseMoved, Record, Responded
from midflight.domain.response import Level, Response
from midflight.domain.revocation import Scope, ScopeKind


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_an_id_is_never_broken_in_two_on_a_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    run, workload = "run_gx4laiacmmq6nnitrynxjqunia", "spiffe://midflight.internal/agents/triage"
    reason = "somebody wrote [b]words[/b] of which there are many more than fit in a line " * 2
    rows = [(run, workload, None, reason), (run, workload, None, f"for {workload}")]
    print_table(("run", "workload", "parent", "reason"), rows, empty="nothing")
    out = capsys.readouterr().out
    assert out.count(run) == 2
    assert out.count(workload) == 3
    assert "[b]words[/b]" in out
    # Too narrow for all columns: each row as its fields, without the empty ones.
    assert ("PARENT" in out) is (width >= 120)
    if width >= 120:
        # The header is bold, and the second workload stands where a terminal may wrap it.
        plain = out.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
        assert max(len(line) for line in plain if line.strip() != workload) <= width


def test_a_table_on_a_terminal_is_as_wide_as_what_it_holds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    print_table(("a", "b", "c"), [("你好", "one two three four", "x"), ("z", "", "y")], empty="")
    assert capsys.readouterr().out.splitlines() == [
        "\x1b[1mA     B                   C\x1b[0m",
        "你好  one two three four  x",
        "z     -                   y",
    ]
    monkeypatch.setenv("COLUMNS", "20")
    print_table(("a", "b", "c"), [("你好", "one two three four", "x"), ("z", "", "y")], empty="")
    assert capsys.readouterr().out.splitlines() == [
        "\x1b[1mA     B            C\x1b[0m",
        "你好  one two      x",
        "      three four",
        "z     -            y",
    ]


def test_every_kind_of_record_has_words_in_lists() -> None:
    assert {msgspec.inspect.type_info(kind).tag for kind in get_args(Record)} == KINDS
    response = Response(
        id="rsp_1",
        at=1.0,
        scope=Scope(kind=ScopeKind.RUN, id="run_1"),
        workload="w",
        level=Level.CHALLENGE,
        until=2.0,
        reason="8 refusals",
        author="detector:probing",
        proof="p",
    )
    lifted = msgspec.structs.replace(response, id="rsp_2", lifts="rsp_1", author="ann", reason="ok")
    lease = LeaseMoved(
        at=1.0,
        lease="lease_1",
        credential="db",
        backend="postgres",
        external="x",
        run="run_1",
        workload="w",
        state="revoking",
        expires_at=2,
        reason="gone",
        stuck=True,
    )
    issued = Issued(
        at=1.0, what="jwt-svid", id="1", subject="w", run="run_1", expires_at=2, proof="unix:4"
    )

    def words(record: Any) -> str:
        kind = msgspec.inspect.type_info(type(record)).tag
        return summary({"record": msgspec.to_builtins(record), "kind": kind})

    assert words(Responded(at=1.0, response=response)) == (
        "challenge for run run_1 by detector:probing 8 refusals"
    )
    assert words(Responded(at=1.0, response=lifted)) == "rsp_1 of run run_1 lifted by ann ok"
    assert words(lease) == "lease_1 revoking (stuck) of db in run_1 gone"
    assert words(issued) == "jwt-svid for w in run_1 by unix:4"
