"""`[[ci.issuer]]`: whose tokens are exchanged here, and which of their jobs speak for whom.

    [[ci.issuer]]
    name = "github"
    kind = "github"

    [[ci.issuer.rules]]
    workload = "spiffe://example.org/ci/release"
    write = true
    claims = { repository_id = "74", repository_owner_id = "65", ref = "refs/heads/main", … }

Everything is compared exactly; what a rule must pin depends on the kind (see
`domain/job_federation.py`).
"""

from __future__ import annotations

import re
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, StrictBool, StrictInt, StrictStr, field_validator, model_validator

from midflight.apps.settings_issuers import KeyedIssuer
from midflight.apps.settings_sections import ExistingFile, HttpUrl, Section
from midflight.domain.identity import spiffe_id
from midflight.domain.job_federation import GITHUB, IssuerKind, Rule, rule_problems

_NAME = re.compile(r"[a-z0-9-]{1,32}\Z")


class IssuerRule(Section):
    """`[[ci.issuer.rules]]`: jobs that speak for a workload."""

    workload: str
    claims: dict[str, StrictStr | StrictInt | StrictBool] = Field(min_length=1, max_length=32)
    # Whether runs of these jobs may do more than read. Never for pull requests, whatever is here.
    write: bool = False

    @field_validator("workload")
    @classmethod
    def _check_workload(cls, value: str) -> str:
        return spiffe_id(value)

    def rule(self) -> Rule:
        """The rule as a value."""
        return Rule(workload=self.workload, claims=dict(self.claims), write=self.write)


class TokenReviewEndpoint(Section):
    """`[ci.issuer.token_review]`: where the cluster says whether a token still holds."""

    # The API server, such as https://10.0.0.1:6443.
    server: HttpUrl
    ca: ExistingFile
    # A token of an account that may create tokenreviews (ClusterRole system:auth-delegator).
    token_file: ExistingFile

    @field_validator("server")
    @classmethod
    def _check_server(cls, value: str) -> str:
        if urlsplit(value).scheme != "https":
            raise ValueError("is not https")
        return value


class IssuerSection(KeyedIssuer):
    """`[[ci.issuer]]`: one issuer whose tokens are exchanged for Midflight's own."""

    name: str
    kind: IssuerKind
    # What its tokens say in `iss`, exactly, slash at the end included. Default for github.
    issuer: str | None = None
    # What its tokens must say in `aud`, alone. Default: the issuer of Midflight's own tokens.
    audience: str | None = Field(default=None, min_length=1, max_length=1_024)
    token_review: TokenReviewEndpoint | None = None
    rules: tuple[IssuerRule, ...] = Field(min_length=1)

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if _NAME.match(value) is None:
            raise ValueError("is not 1 to 32 lower-case letters, digits and dashes")
        return value

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if self.issuer is None and self.kind is not IssuerKind.GITHUB:
            raise ValueError("issuer is missing: what its tokens say in iss")
        if self.token_review is not None and self.kind is not IssuerKind.KUBERNETES:
            raise ValueError("token_review belongs to kind kubernetes")
        problems = [
            f"rule for {rule.workload}: {problem}"
            for rule in self.rules
            for problem in rule_problems(rule.rule(), kind=self.kind)
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def url(self) -> str:
        """What its tokens say in `iss`."""
        return self.issuer or GITHUB


class CiSection(Section):
    """`[ci]`: the table of issuers."""

    issuer: tuple[IssuerSection, ...] = ()

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for what in ("name", "url"):
            values = [getattr(one, what) for one in self.issuer]
            if len(set(values)) != len(values):
                raise ValueError(f"two issuers have the same {what}")
        return self


__all__ = [
    "CiSection",
    "IssuerRule",
    "IssuerSection",
    "TokenReviewEndpoint",
]
