"""Jobs of CI systems that speak for a workload that is not theirs, or do more than their event may.

Tokens have the claims of GitHub, GitLab and Kubernetes, and are signed by the test's own issuers.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from identity_kit import NOW, by_hand
from outside_kit import RsaKey, header_of, jwks_of

from midflight.adapters.store.memory import MemoryStore
from midflight.domain.errors import (
    Conflict,
    Forbidden,
    Misconfigured,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from midflight.domain.job_federation import GITHUB, FederatedSubject, IssuerKind, Rule
from midflight.domain.run import RunState
from midflight.domain.traits import Effect
from midflight.services.job_federation import Issuer, JobFederation
from midflight.services.job_runs import JobRuns, author_of
from midflight.services.key_sets import KeySets, KeySource
from midflight.services.ports.documents import Document
from midflight.services.run_bounds import Bounds
from midflight.testing import WORKLOAD, FakeClock, MemoryPlane, ScriptedUpstream
from midflight.wire import tokens

pytestmark = pytest.mark.anyio

OURS = "https://plane.example.test"
GITLAB = "https://gitlab.example.test"
CLUSTER = "https://kubernetes.default.svc.cluster.local"
GENERIC = "https://ci.example.test"
KEY = RsaKey()

RULES: dict[IssuerKind, dict[str, Any]] = {
    IssuerKind.GITHUB: {
        "repository_id": "74",
        "repository_owner_id": "65",
        "job_workflow_ref": "acme/app/.github/workflows/release.yml@refs/heads/main",
        "ref": "refs/heads/main",
    },
    IssuerKind.GITLAB: {
        "project_id": "22",
        "namespace_id": "7",
        "ref_protected": "true",
        "ref": "main",
    },
    IssuerKind.KUBERNETES: {"namespace": "agents", "serviceaccount.uid": "a-uid"},
    IssuerKind.OIDC: {"sub": "pipeline/release", "level": 3, "trusted": True},
}
ISSUERS = {
    IssuerKind.GITHUB: GITHUB,
    IssuerKind.GITLAB: GITLAB,
    IssuerKind.KUBERNETES: CLUSTER,
    IssuerKind.OIDC: GENERIC,
}
CLAIMS: dict[IssuerKind, dict[str, Any]] = {
    IssuerKind.GITHUB: {
        "sub": "repo:acme@65/app@74:ref:refs/heads/main",
        "repository": "acme/app",
        "repository_id": "74",
        "repository_owner": "acme",
        "repository_owner_id": "65",
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "ref_protected": "true",
        "event_name": "push",
        "head_ref": "",
        "base_ref": "",
        "job_workflow_ref": "acme/app/.github/workflows/release.yml@refs/heads/main",
        "run_id": "1001",
        "run_attempt": "1",
        "actor_id": "12",
        "runner_environment": "github-hosted",
        "sha": "c0ffee",
    },
    IssuerKind.GITLAB: {
        "sub": "project_path:acme/app:ref_type:branch:ref:main",
        "project_path": "acme/app",
        "project_id": "22",
        "namespace_id": "7",
        "pipeline_source": "push",
        "pipeline_id": "5",
        "job_id": "900",
        "ref": "main",
        "ref_type": "branch",
        "ref_protected": "true",
        "user_id": "1",
    },
    IssuerKind.KUBERNETES: {
        "sub": "system:serviceaccount:agents:triage",
        "kubernetes.io": {
            "namespace": "agents",
            "pod": {"name": "triage-1", "uid": "p-uid"},
            "serviceaccount": {"name": "triage", "uid": "a-uid"},
            "warnafter": NOW + 3_000,
        },
    },
    IssuerKind.OIDC: {"sub": "pipeline/release", "level": 3, "trusted": True},
}
EVERY_KIND = pytest.mark.parametrize("kind", list(IssuerKind))


def token(kind: IssuerKind, *, key: RsaKey = KEY, header: Any = None, **changes: Any) -> str:
    claims = {
        "iss": ISSUERS[kind],
        "aud": OURS,
        "iat": NOW - 5,
        "nbf": NOW - 5,
        "exp": NOW + 300,
        "jti": "t-1",
        **CLAIMS[kind],
        **changes,
    }
    kept = {name: value for name, value in claims.items() if value is not ...}
    return by_hand(header_of(key, **(header or {})), kept, key)


def row(kind: IssuerKind, **changes: Any) -> Issuer:
    values: dict[str, Any] = {
        "name": kind.value,
        "kind": kind,
        "audience": OURS,
        "keys": KeySource(issuer=ISSUERS[kind], fixed=jwks_of(KEY)),
        "rules": (Rule(workload=WORKLOAD, claims=RULES[kind], write=True),),
        **changes,
    }
    return Issuer(**values)


class Nowhere:
    async def fetch(self, url: str, *, limit: int = 0, allow_private: bool = False) -> Document:
        raise AssertionError(f"fetched {url}")


async def table(*rows: Issuer) -> JobFederation:
    store = MemoryStore()
    await store.open()
    clock = FakeClock(NOW)
    return JobFederation(
        issuers=rows or [row(kind) for kind in IssuerKind],
        tokens=tokens,
        key_sets=KeySets(documents=Nowhere(), clock=clock),
        store=store,
        clock=clock,
    )


async def admitted(kind: IssuerKind, **changes: Any) -> FederatedSubject:
    return await (await table()).admit(token(kind, **changes))


# What passes


@EVERY_KIND
async def test_a_job_that_a_rule_names_speaks_for_its_workload(kind: IssuerKind) -> None:
    subject = await admitted(kind)
    assert (subject.workload, subject.issuer, subject.may_write) == (WORKLOAD, kind.value, True)
    assert subject.expires_at == NOW + (600 if kind is IssuerKind.KUBERNETES else 900)
    assert subject.job.startswith(f"{kind.value}/")


async def test_a_record_keeps_ids_and_no_more() -> None:
    subject = await admitted(IssuerKind.GITHUB, secret="s3cret", ref="refs/heads/main")
    assert subject.claims["run_id"] == "1001"
    assert "secret" not in subject.claims
    assert not {"sub", "aud", "jti"} & subject.claims.keys()


# Whose token it is


async def test_an_issuer_that_is_not_in_the_table_is_refused_unasked() -> None:
    federation = await table()
    evil = token(IssuerKind.OIDC, iss="https://evil.example.test")
    assert not federation.knows(evil)
    with pytest.raises(Unauthenticated) as caught:
        await federation.admit(evil)
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize("issuer", [GITHUB + "/", GITHUB.upper(), GITHUB + ".evil.example", None])
async def test_an_issuer_that_nearly_is_one_is_none(issuer: Any) -> None:
    with pytest.raises(Unauthenticated):
        await admitted(IssuerKind.GITHUB, iss=issuer)


@EVERY_KIND
async def test_a_key_of_one_issuer_does_not_sign_for_another(kind: IssuerKind) -> None:
    with pytest.raises(Unauthenticated):
        await admitted(kind, key=RsaKey(), header={"kid": KEY.jkt})


@EVERY_KIND
@pytest.mark.parametrize(
    "audience",
    ["https://github.com/acme", "sts.amazonaws.com", [OURS, "sts.amazonaws.com"], "", None],
)
async def test_a_token_for_another_broker_is_refused(kind: IssuerKind, audience: Any) -> None:
    with pytest.raises(Unauthenticated):
        await admitted(kind, aud=audience)


@EVERY_KIND
async def test_a_token_is_exchanged_once(kind: IssuerKind) -> None:
    for jti in ("t-1", ...) if kind is not IssuerKind.OIDC else ("t-1",):
        federation = await table()
        text = token(kind, jti=jti)
        tries = await asyncio.gather(
            *(federation.admit(text) for _ in range(5)), return_exceptions=True
        )
        assert [type(one) for one in tries].count(FederatedSubject) == 1
        assert sum(isinstance(one, Unauthenticated) for one in tries) == 4


@pytest.mark.parametrize("kind", [k for k in IssuerKind if k is not IssuerKind.KUBERNETES])
async def test_a_token_older_than_ten_minutes_is_refused(kind: IssuerKind) -> None:
    with pytest.raises(Unauthenticated):
        await admitted(kind, iat=NOW - 631, nbf=NOW - 631)


@EVERY_KIND
async def test_an_access_token_of_ours_is_no_ci_token(kind: IssuerKind) -> None:
    with pytest.raises(Unauthenticated):
        await admitted(kind, header={"typ": "at+jwt"})


# Whose job it is


WRONG: list[tuple[IssuerKind, str, Any]] = [
    (IssuerKind.GITHUB, "repository_id", "75"),
    (IssuerKind.GITHUB, "repository_id", 74),
    (IssuerKind.GITHUB, "repository_id", ["74"]),
    (IssuerKind.GITHUB, "repository_id", "74 "),
    (IssuerKind.GITHUB, "repository_id", ...),
    (IssuerKind.GITHUB, "repository_owner_id", "66"),
    (IssuerKind.GITHUB, "ref", "refs/heads/main2"),
    (IssuerKind.GITHUB, "ref", "refs/heads/Main"),
    (IssuerKind.GITHUB, "ref", "refs/tags/main"),
    (IssuerKind.GITHUB, "ref", "refs/pull/1/merge"),
    (IssuerKind.GITHUB, "job_workflow_ref", "acme/app/.github/workflows/other.yml@refs/heads/main"),
    (
        IssuerKind.GITHUB,
        "job_workflow_ref",
        "evil/app/.github/workflows/release.yml@refs/heads/main",
    ),
    (IssuerKind.GITLAB, "project_id", "23"),
    (IssuerKind.GITLAB, "namespace_id", "8"),
    (IssuerKind.GITLAB, "ref_protected", True),
    (IssuerKind.GITLAB, "ref_protected", "True"),
    (IssuerKind.GITLAB, "ref_protected", "false"),
    (IssuerKind.GITLAB, "ref", "refs/heads/main"),
    (IssuerKind.OIDC, "level", "3"),
    (IssuerKind.OIDC, "level", 3.0),
    (IssuerKind.OIDC, "level", True),
    (IssuerKind.OIDC, "trusted", 1),
    (IssuerKind.OIDC, "trusted", "true"),
    (IssuerKind.OIDC, "sub", "pipeline/release/x"),
]


@pytest.mark.parametrize(("kind", "claim", "value"), WRONG)
async def test_a_claim_that_is_not_exactly_the_rules_is_another_job(
    kind: IssuerKind, claim: str, value: Any
) -> None:
    with pytest.raises(Forbidden):
        await admitted(kind, **{claim: value})


async def test_a_repository_that_took_over_a_name_speaks_for_nobody() -> None:
    """The name is acme/app again; the ids are of whoever registered it anew."""
    for ids in ({"repository_id": "9999"}, {"repository_owner_id": "9999"}):
        with pytest.raises(Forbidden):
            await admitted(IssuerKind.GITHUB, sub="repo:acme/app:ref:refs/heads/main", **ids)


@pytest.mark.parametrize(
    "changes",
    [
        {"serviceaccount": {"name": "triage", "uid": "made-again"}},
        {"serviceaccount": {"name": "triage"}},
        {"serviceaccount": "a-uid"},
        {"namespace": "default"},
        {"pod": None},
        {"pod": {"name": "x"}},
    ],
)
async def test_an_account_made_again_under_the_same_name_is_another(changes: Any) -> None:
    claims = CLAIMS[IssuerKind.KUBERNETES]["kubernetes.io"] | changes
    with pytest.raises(Forbidden):
        await admitted(IssuerKind.KUBERNETES, **{"kubernetes.io": claims})
    with pytest.raises(Forbidden):
        await admitted(IssuerKind.KUBERNETES, **{"kubernetes.io": None})


@pytest.mark.parametrize(
    ("kind", "claims", "problem"),
    [
        (IssuerKind.GITHUB, {}, "claims is empty"),
        (IssuerKind.GITHUB, {"repository_id": "74"}, "repository_owner_id is missing"),
        (IssuerKind.GITHUB, RULES[IssuerKind.GITHUB] | {"repository_owner_id": "*"}, "pattern"),
        (IssuerKind.GITHUB, RULES[IssuerKind.GITHUB] | {"ref": "refs/heads/*"}, "pattern"),
        (IssuerKind.GITHUB, RULES[IssuerKind.GITHUB] | {"repository_id": "acme/app"}, "pattern"),
        (IssuerKind.GITHUB, RULES[IssuerKind.GITHUB] | {"sub": "repo:acme/app"}, "claims.sub"),
        (IssuerKind.GITHUB, RULES[IssuerKind.GITHUB] | {"repository_id": 74}, "is text"),
        (IssuerKind.GITHUB, {"repository_id": "7", "repository_owner_id": "6"}, "write needs"),
        (IssuerKind.GITLAB, RULES[IssuerKind.GITLAB] | {"ref_protected": True}, "is text"),
        (IssuerKind.KUBERNETES, {"namespace": "agents", "serviceaccount.name": "t"}, "uid is"),
        (IssuerKind.OIDC, {"sub": "pipeline/*"}, "pattern"),
        (IssuerKind.OIDC, {"sub": ""}, "empty"),
    ],
)
async def test_a_rule_that_would_match_too_much_starts_no_plane(
    kind: IssuerKind, claims: dict[str, Any], problem: str
) -> None:
    rules = (Rule(workload=WORKLOAD, claims=claims, write=True),)
    with pytest.raises(Misconfigured) as caught:
        await table(row(kind, rules=rules))
    assert problem in str(caught.value)


async def test_two_rows_for_one_issuer_start_no_plane() -> None:
    with pytest.raises(Misconfigured):
        await table(row(IssuerKind.GITHUB), row(IssuerKind.GITHUB, name="again"))


# What it may do


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        *(
            (IssuerKind.GITHUB, {"event_name": name})
            for name in (
                "pull_request", "pull_request_target", "pull_request_review", "issue_comment",
                "pull_request_review_comment", "workflow_run", "issues", "fork", "PUSH", "", None,
                "new_event", ["push"],
            )
        ),
        (IssuerKind.GITHUB, {"head_ref": "patch-1"}),
        (IssuerKind.GITHUB, {"base_ref": "main"}),
        *(
            (IssuerKind.GITLAB, {"pipeline_source": name})
            for name in (
                "merge_request_event", "external_pull_request_event", "parent_pipeline",
                "pipeline", "ondemand_dast_scan", "", None,
            )
        ),
    ],
)  # fmt: skip
async def test_a_pull_request_gets_nothing_that_writes(
    kind: IssuerKind, changes: dict[str, Any]
) -> None:
    subject = await admitted(kind, **changes)
    assert not subject.may_write
    assert subject.no_write


async def test_a_ref_that_is_not_protected_writes_nothing_even_if_its_rule_forgot() -> None:
    claims = {"project_id": "22", "namespace_id": "7", "ref_protected": "false", "ref": "main"}
    rules = (Rule(workload=WORKLOAD, claims=claims, write=True),)
    federation = await table(row(IssuerKind.GITLAB, rules=rules))
    for protected in ("false",):
        subject = await federation.admit(token(IssuerKind.GITLAB, ref_protected=protected))
        assert not subject.may_write


async def test_a_rule_that_does_not_say_write_reads() -> None:
    rules = (Rule(workload=WORKLOAD, claims=RULES[IssuerKind.GITHUB]),)
    federation = await table(row(IssuerKind.GITHUB, rules=rules))
    assert not (await federation.admit(token(IssuerKind.GITHUB))).may_write


class Review:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[tuple[str, str]] = []

    async def confirm(self, token: str, *, audience: str, subject: str) -> None:
        self.asked.append((audience, subject))
        if self.error is not None:
            raise self.error


async def test_a_pod_that_is_gone_is_refused_by_its_cluster() -> None:
    good = Review()
    federation = await table(row(IssuerKind.KUBERNETES, review=good))
    subject = await federation.admit(token(IssuerKind.KUBERNETES))
    assert subject.expires_at == NOW + 900
    assert good.asked == [(OURS, "system:serviceaccount:agents:triage")]
    for error in (Unauthenticated("gone"), Unavailable("silent")):
        refusing = await table(row(IssuerKind.KUBERNETES, review=Review(error)))
        with pytest.raises(type(error)):
            await refusing.admit(token(IssuerKind.KUBERNETES))


# The run of a job


async def _plane() -> tuple[MemoryPlane, JobRuns]:
    plane = MemoryPlane(upstream=ScriptedUpstream("one", []))
    await plane.start()
    return plane, JobRuns(runs=plane.runs, store=plane.store, bounds=Bounds())


async def test_a_job_has_one_run_however_often_it_asks() -> None:
    plane, job_runs = await _plane()
    subject = await admitted(IssuerKind.GITHUB)
    again = await admitted(IssuerKind.GITHUB, jti="t-2")
    runs = await asyncio.gather(*(job_runs.join(s) for s in (subject, again) * 5))
    assert len({run.id for run in runs}) == 1
    other = await job_runs.join(await admitted(IssuerKind.GITHUB, run_attempt="2"))
    assert other.id != runs[0].id
    assert runs[0].narrowed.leaves_all
    # Known after a restart, too: it stands in the store, not in a memory.
    anew = JobRuns(runs=plane.runs, store=plane.store, bounds=Bounds())
    assert (await anew.join(again)).id == runs[0].id
    await plane.close()


async def test_a_run_that_ended_is_not_opened_again_for_its_job() -> None:
    plane, job_runs = await _plane()
    subject = await admitted(IssuerKind.GITHUB)
    run = await job_runs.join(subject)
    assert await job_runs.end(run.id, workload=WORKLOAD)
    assert not await job_runs.end(run.id, workload=WORKLOAD)
    stored = await plane.store.get_run(run.id)
    assert stored is not None
    assert stored.state is RunState.CLOSED
    with pytest.raises(Conflict):
        await job_runs.join(subject)
    await plane.close()


async def test_a_job_ends_its_own_run_and_no_other() -> None:
    plane, job_runs = await _plane()
    run = await job_runs.join(await admitted(IssuerKind.GITHUB))
    assert not await job_runs.end(run.id, workload="spiffe://example.test/other")
    assert not await job_runs.end("run_none", workload=WORKLOAD)
    workload = await plane.store.get_workload(WORKLOAD)
    assert workload is not None
    author = author_of(await admitted(IssuerKind.GITHUB))
    by_operator = await plane.runs.open_run(
        workload=workload, intent=None, author=msgspec.structs.replace(author, proof="peer-uid:1")
    )
    assert not await job_runs.end(by_operator.id, workload=WORKLOAD)
    await plane.close()


async def test_a_pull_request_has_a_run_that_reads_and_cannot_use_one_that_writes() -> None:
    plane, job_runs = await _plane()
    reading = await admitted(IssuerKind.GITHUB, event_name="pull_request", run_id="7")
    run = await job_runs.join(reading)
    assert run.narrowed.effects == frozenset({Effect.READ})
    writing = await admitted(IssuerKind.GITHUB)
    await job_runs.join(writing)
    fallen = msgspec.structs.replace(writing, may_write=False, no_write="it is a pull request")
    with pytest.raises(Forbidden):
        await job_runs.join(fallen)
    await plane.close()


async def test_a_job_of_nobody_known_has_no_run() -> None:
    plane, job_runs = await _plane()
    subject = await admitted(IssuerKind.GITHUB)
    with pytest.raises(NotFound):
        await job_runs.join(msgspec.structs.replace(subject, workload="spiffe://example.test/x"))
    await plane.close()
