"""What has been done, for impact records: by scope, after the end of runs, in bounded memory."""

from __future__ import annotations

import pytest

from midflight.domain.revocation import Scope, ScopeKind, scopes_over
from midflight.services import tallies as tallies_module
from midflight.services.flights import Flight
from midflight.services.tallies import Tallies

WORKLOAD = "spiffe://example.org/agents/one"


def landed(
    tallies: Tallies,
    *,
    run: str,
    upstream: str = "up",
    tool: str = "send",
    token: str = "t1",
    credential: str = "",
    sent: int = 10,
    completed: bool = True,
) -> None:
    scopes = {*scopes_over(WORKLOAD, owner="ann", runs=(run,), token=token)}
    scopes |= {(ScopeKind.UPSTREAM, upstream), (ScopeKind.TOOL, f"{upstream}/{tool}")}
    if credential:
        scopes.add((ScopeKind.CREDENTIAL, credential))
    flight = Flight(
        record="r",
        run=run,
        workload=WORKLOAD,
        upstream=upstream,
        name=tool,
        scopes=frozenset(scopes),
        began=0.0,
        token=token,
    )
    flight.credentials = (credential,) if credential else ()
    flight.left(sent)
    flight.completed = completed
    tallies.land(flight)


def said(tallies: Tallies, kind: ScopeKind, name: str = "") -> tuple[int, dict[str, int]]:
    done = tallies.within(Scope(kind=kind, id=name))
    return done.completed, done.bytes_out


def test_each_scope_is_told_what_was_done_in_it_and_no_more() -> None:
    tallies = Tallies()
    landed(tallies, run="a", token="t1", sent=1)
    landed(tallies, run="a", token="t2", tool="read", credential="db", sent=2)
    landed(tallies, run="b", upstream="other", sent=4, completed=False)
    assert said(tallies, ScopeKind.EVERYTHING) == (2, {"up": 3, "other": 4})
    assert said(tallies, ScopeKind.WORKLOAD, WORKLOAD) == (2, {"up": 3, "other": 4})
    assert said(tallies, ScopeKind.OWNER, "ann") == (2, {"up": 3, "other": 4})
    assert said(tallies, ScopeKind.TRUST_DOMAIN, "example.org") == (2, {"up": 3, "other": 4})
    assert said(tallies, ScopeKind.RUN, "a") == (2, {"up": 3})
    assert said(tallies, ScopeKind.UPSTREAM, "other") == (0, {"other": 4})
    assert said(tallies, ScopeKind.TOOL, "up/read") == (1, {"up": 2})
    assert said(tallies, ScopeKind.TOKEN, "t1") == (1, {"up": 1, "other": 4})
    assert said(tallies, ScopeKind.CREDENTIAL, "db") == (1, {"up": 2})
    assert said(tallies, ScopeKind.RUN, "c") == (0, {})


def test_what_an_ended_run_did_still_counts() -> None:
    tallies = Tallies()
    landed(tallies, run="a")
    tallies.end("a")
    landed(tallies, run="a", sent=5)  # it was in flight when its run ended
    tallies.end("a")
    assert said(tallies, ScopeKind.RUN, "a") == (2, {"up": 15})
    assert tallies.acted(Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD)) == {"a"}


def test_many_short_runs_are_added_up_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tallies_module, "MAX_LIVE", 3)
    monkeypatch.setattr(tallies_module, "MAX_ENDED", 2)
    tallies = Tallies()
    for number in range(20):
        landed(tallies, run=f"run-{number}", tool="read" if number % 2 else "send")
    assert said(tallies, ScopeKind.WORKLOAD, WORKLOAD) == (20, {"up": 200})
    assert said(tallies, ScopeKind.TOOL, "up/read") == (10, {"up": 100})
    # One by one they are told apart only while they are not added up.
    assert said(tallies, ScopeKind.RUN, "run-0") == (0, {})
    assert said(tallies, ScopeKind.RUN, "run-19") == (1, {"up": 10})
    assert tallies.forgotten == 0


def test_what_is_forgotten_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("MAX_LIVE", "MAX_ENDED", "MAX_FOLDED"):
        monkeypatch.setattr(tallies_module, bound, 1)
    tallies = Tallies()
    for number in range(5):
        landed(tallies, run=f"run-{number}", upstream=f"up-{number}")
    kept, _ = said(tallies, ScopeKind.EVERYTHING)
    assert kept + tallies.forgotten == 5
    assert tallies.forgotten
