"""A run reads any number of resources, each by a name that it made up, to use up our memory.

What it has done stays counted; only no longer each name by itself.
"""

from __future__ import annotations

from midflight.domain.revocation import Scope, ScopeKind, scopes_over
from midflight.services.flights import Flight
from midflight.services.tallies import MAX_ENDED, MAX_NAMES, Tallies

WORKLOAD = "spiffe://example.org/agents/one"


def read(tallies: Tallies, number: int, *, run: str = "r1") -> None:
    name = f"file:///made/up/{number}"
    scopes = {*scopes_over(WORKLOAD, owner="ann", runs=(run,), token="t1")}
    scopes |= {(ScopeKind.UPSTREAM, "up"), (ScopeKind.TOOL, f"up/{name}")}
    flight = Flight(
        record="rec",
        run=run,
        workload=WORKLOAD,
        upstream="up",
        name=name,
        scopes=frozenset(scopes),
        began=0.0,
        token="t1",
    )
    flight.left(10)
    flight.completed = True
    tallies.land(flight)


def test_made_up_names_of_one_run_are_bounded() -> None:
    tallies = Tallies()
    for number in range(3 * MAX_NAMES):
        read(tallies, number)
    (touch,) = tallies._live.values()
    assert len(touch.tally) <= MAX_NAMES + 1
    assert len(touch.scopes) <= MAX_NAMES + 16
    for kind, name in ((ScopeKind.RUN, "r1"), (ScopeKind.UPSTREAM, "up"), (ScopeKind.TOKEN, "t1")):
        done = tallies.within(Scope(kind=kind, id=name))
        assert (done.completed, done.bytes_out) == (3 * MAX_NAMES, {"up": 30 * MAX_NAMES})


def test_so_are_those_of_runs_that_are_added_up() -> None:
    tallies = Tallies()
    runs = MAX_ENDED + 2 * MAX_NAMES
    for number in range(runs):
        read(tallies, number, run=f"r{number}")
        tallies.end(f"r{number}")
    assert all(len(each.tally) <= MAX_NAMES + 1 for each in tallies._folded.values())
    assert tallies.within(Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD)).completed == runs
