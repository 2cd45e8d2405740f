"""Which revocations cover what a workload does."""

from __future__ import annotations

from midflight.domain.revocation import ScopeKind, scopes_over

WORKLOAD = "spiffe://example.org/agents/one"


def test_everything_the_workload_and_its_trust_domain_cover_it_always() -> None:
    assert scopes_over(WORKLOAD) == [
        (ScopeKind.EVERYTHING, ""),
        (ScopeKind.WORKLOAD, WORKLOAD),
        (ScopeKind.TRUST_DOMAIN, "example.org"),
    ]


def test_its_owner_its_token_and_its_runs_cover_it_where_it_has_them() -> None:
    found = scopes_over(WORKLOAD, owner="ann", runs=("run_b", None, "run_a"), token="tok_1")
    assert found[3:] == [
        (ScopeKind.OWNER, "ann"),
        (ScopeKind.TOKEN, "tok_1"),
        (ScopeKind.RUN, "run_b"),
        (ScopeKind.RUN, "run_a"),
    ]


def test_whoever_acts_for_it_covers_it_too() -> None:
    actors = ("spiffe://example.org/proxy", "https://client.example.org/")
    found = scopes_over(WORKLOAD, actors=actors, runs=("run_a",))
    assert found[3:] == [
        (ScopeKind.WORKLOAD, actors[0]),
        (ScopeKind.WORKLOAD, actors[1]),
        (ScopeKind.RUN, "run_a"),
    ]
