"""CI/CD federation as values and rules: whose tokens, which jobs they speak for, what those may.

A job is known by the immutable ids that its platform signs, compared exactly: names are given up
and taken over, and a pattern matches what nobody thought of. `sub` is never taken apart (GitHub
changed its form in 2026). Pure; `services/job_federation.py` verifies tokens and spends them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from midflight.domain.value import JSONObject, Value

MAX_LIFE_S: Final = 900
"""What is given for a CI token ends after 15 minutes at most."""
MAX_CLUSTER_LIFE_S: Final = 600
"""For a cluster whose TokenReview is not asked: it is not seen there that a pod is gone."""
MAX_AGE_S: Final = 600
"""A CI token older than this is refused although it still lives."""

GITHUB: Final = "https://token.actions.githubusercontent.com"

ClaimValue = str | int | bool


class IssuerKind(enum.StrEnum):
    """Whose claims they are."""

    GITHUB = "github"
    GITLAB = "gitlab"
    KUBERNETES = "kubernetes"
    OIDC = "oidc"


class Rule(Value):
    """Jobs that speak for a workload.

    Attributes:
        workload: SPIFFE ID.
        claims: every one must be there with exactly this value and type. In `kubernetes` rules
            they are names below the claim `kubernetes.io`: `namespace`, `serviceaccount.uid`.
        write: whether runs of it may do more than read, where the job's event allows that.
    """

    workload: str
    claims: Mapping[str, ClaimValue]
    write: bool = False


class FederatedSubject(Value):
    """A job that has proved itself.

    Attributes:
        workload: whom it speaks for.
        issuer: name of the issuer in the settings.
        job: its identity at that issuer, the same for every token of the job.
        claims: what records keep of the token.
        may_write: whether it may do more than read.
        no_write: why it may not, or empty.
        expires_at: Unix seconds; nothing that is given for this proof lasts longer.
    """

    workload: str
    issuer: str
    job: str
    claims: Mapping[str, str]
    may_write: bool
    no_write: str
    expires_at: int


# The ids that a rule must pin, so that a name that somebody else takes over matches nothing.
IMMUTABLE: Final[Mapping[IssuerKind, tuple[str, ...]]] = {
    IssuerKind.GITHUB: ("repository_id", "repository_owner_id"),
    IssuerKind.GITLAB: ("project_id", "namespace_id"),
    IssuerKind.KUBERNETES: ("namespace", "serviceaccount.uid"),
    IssuerKind.OIDC: (),
}
# What a rule that may write must pin besides: which code runs, and from where. One of each.
PINNED_FOR_WRITE: Final[Mapping[IssuerKind, tuple[tuple[str, ...], ...]]] = {
    IssuerKind.GITHUB: (("job_workflow_ref",), ("ref", "environment")),
    IssuerKind.GITLAB: (("ref_protected",), ("ref", "environment")),
    IssuerKind.KUBERNETES: (),
    IssuerKind.OIDC: (),
}
# Claims that name one job; all of them must be there.
_JOB: Final[Mapping[IssuerKind, tuple[str, ...]]] = {
    IssuerKind.GITHUB: ("repository_id", "run_id", "run_attempt"),
    IssuerKind.GITLAB: ("project_id", "job_id"),
    IssuerKind.KUBERNETES: ("serviceaccount.uid", "pod.uid"),
    IssuerKind.OIDC: ("jti",),
}
_KEPT: Final[Mapping[IssuerKind, tuple[str, ...]]] = {
    IssuerKind.GITHUB: (
        "repository", "repository_id", "repository_owner_id", "ref", "sha", "environment",
        "event_name", "job_workflow_ref", "run_id", "run_attempt", "actor_id", "runner_environment",
    ),
    IssuerKind.GITLAB: (
        "project_path", "project_id", "namespace_id", "ref", "ref_protected", "sha", "environment",
        "pipeline_source", "pipeline_id", "job_id", "user_id", "runner_environment",
    ),
    IssuerKind.KUBERNETES: (
        "namespace", "serviceaccount.name", "serviceaccount.uid", "pod.name", "pod.uid",
    ),
    IssuerKind.OIDC: (),
}  # fmt: skip
# Events whose code has passed the repository's own rules. Not among them: everything about a pull
# request (also from a fork), `workflow_run` and `issue_comment`, which strangers can cause.
_GITHUB_EVENTS: Final = frozenset(
    {
        "push", "schedule", "workflow_dispatch", "repository_dispatch", "release", "deployment",
        "merge_group",
    }
)  # fmt: skip
# Not among them: merge requests, and pipelines that other pipelines (of merge requests) start.
_GITLAB_SOURCES: Final = frozenset({"push", "web", "schedule", "api", "trigger"})
_MAX_KEPT: Final = 512


def claim_of(kind: IssuerKind, claims: JSONObject, name: str) -> object:
    """The value of a claim, or None. Only Kubernetes has claims below another."""
    if kind is not IssuerKind.KUBERNETES:
        return claims.get(name)
    value: object = claims.get("kubernetes.io")
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return value  # pyright: ignore[reportUnknownVariableType]


def fits(rule: Rule, *, kind: IssuerKind, claims: JSONObject) -> bool:
    """Whether every claim of the rule is there with exactly its value and type."""
    return bool(rule.claims) and all(
        _same(claim_of(kind, claims, name), value) for name, value in rule.claims.items()
    )


def job_of(kind: IssuerKind, claims: JSONObject) -> str | None:
    """Which job it is, or None where its claims do not say.

    A value with a length before it, so that no two jobs have one name.
    """
    parts: list[str] = []
    for name in _JOB[kind]:
        value = claim_of(kind, claims, name)
        if not isinstance(value, str) or not 1 <= len(value) <= _MAX_KEPT:
            return None
        parts.append(value)
    return "/".join(f"{len(part)}:{part}" for part in parts)


def no_write(rule: Rule, *, kind: IssuerKind, claims: JSONObject) -> str:
    """Why the job may only read, or an empty text."""
    if not rule.write:
        return "its rule does not let it write"
    match kind:
        case IssuerKind.GITHUB:
            return _github_no_write(claims)
        case IssuerKind.GITLAB:
            # The text "true": a boolean, or any other spelling, is not what GitLab signs.
            if claims.get("ref_protected") != "true":
                return "its ref is not protected"
            if not _one_of(claims.get("pipeline_source"), _GITLAB_SOURCES):
                return "its pipeline comes from a merge request or from another pipeline"
            return ""
        case IssuerKind.KUBERNETES | IssuerKind.OIDC:
            return ""


def _github_no_write(claims: JSONObject) -> str:
    if not _one_of(claims.get("event_name"), _GITHUB_EVENTS):
        return "its event is a pull request, or one that strangers can cause"
    # Set for pull requests only, whatever the event is called.
    if claims.get("head_ref") or claims.get("base_ref"):
        return "it runs for a pull request"
    return ""


def _one_of(value: object, known: frozenset[str]) -> bool:
    return isinstance(value, str) and value in known


def kept(kind: IssuerKind, claims: JSONObject) -> dict[str, str]:
    """What a record keeps of the token: texts of known claims, cut to 512 characters."""
    values = {name: claim_of(kind, claims, name) for name in _KEPT[kind]}
    return {name: value[:_MAX_KEPT] for name, value in values.items() if isinstance(value, str)}


def rule_problems(rule: Rule, *, kind: IssuerKind) -> list[str]:
    """What is wrong with a rule, in words for whoever wrote it; empty if nothing is."""
    problems = [f"claims.{name} is missing" for name in IMMUTABLE[kind] if name not in rule.claims]
    if not rule.claims:
        problems.append("claims is empty, which would match every job of the issuer")
    if rule.write:
        problems += [
            f"write needs claims.{' or claims.'.join(names)}"
            for names in PINNED_FOR_WRITE[kind]
            if not any(name in rule.claims for name in names)
        ]
    for name, value in rule.claims.items():
        if name == "sub" and kind is not IssuerKind.OIDC:
            problems.append("claims.sub has no fixed form; match the ids that it is made of")
        elif isinstance(value, str) and (not value or _has_pattern(name, value)):
            problems.append(f"claims.{name} is empty or a pattern; values are compared exactly")
        elif not isinstance(value, str) and kind is not IssuerKind.OIDC:
            problems.append(f'claims.{name} is text in tokens of {kind.value}; write "{value}"')
    return problems


def _has_pattern(name: str, value: str) -> bool:
    # No ref, path, id or name of these platforms can hold a star.
    return "*" in value or (name.endswith("_id") and not value.isalnum())


def _same(found: object, expected: ClaimValue) -> bool:
    # In Python True == 1 and 1 == 1.0; in a token they are different things.
    return type(found) is type(expected) and found == expected


__all__ = [
    "GITHUB",
    "IMMUTABLE",
    "MAX_AGE_S",
    "MAX_CLUSTER_LIFE_S",
    "MAX_LIFE_S",
    "ClaimValue",
    "FederatedSubject",
    "IssuerKind",
    "Rule",
    "claim_of",
    "fits",
    "job_of",
    "kept",
    "no_write",
    "rule_problems",
]
