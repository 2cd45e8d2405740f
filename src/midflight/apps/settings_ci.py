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
import ssl
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StrictBool, StrictInt, StrictStr, field_validator, model_validator

from midflight.apps.settings_sections import ExistingFile, HttpUrl, Section
from midflight.domain.errors import Malformed
from midflight.domain.identity import spiffe_id
from midflight.domain.job_federation import GITHUB, IssuerKind, Rule, rule_problems
from midflight.domain.value import JSONObject
from midflight.wire import json

_NAME = re.compile(r"[a-z0-9-]{1,32}\Z")
_MAX_FILE = 1_048_576

Algorithm = Literal["RS256", "PS256", "ES256", "EdDSA"]


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


class IssuerSection(Section):
    """`[[ci.issuer]]`: one issuer whose tokens are exchanged for Midflight's own."""

    name: str
    kind: IssuerKind
    # What its tokens say in `iss`, exactly, slash at the end included. Default for github.
    issuer: str | None = None
    # Where its keys are. Default: as its metadata (.well-known/openid-configuration) says.
    jwks_uri: str | None = None
    discovery: str | None = None
    # Its key set as a file, for a cluster that cannot be asked.
    jwks_file: ExistingFile | None = None
    # What its tokens must say in `aud`, alone. Default: the issuer of Midflight's own tokens.
    audience: str | None = Field(default=None, min_length=1, max_length=1_024)
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256",)
    # Whether it may be on this machine or in a private network.
    allow_private: bool = False
    # PEM file of the authorities of its certificate; default: the system's.
    ca: ExistingFile | None = None
    token_review: TokenReviewEndpoint | None = None
    rules: tuple[IssuerRule, ...] = Field(min_length=1)

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if _NAME.match(value) is None:
            raise ValueError("is not 1 to 32 lower-case letters, digits and dashes")
        return value

    @field_validator("issuer", "jwks_uri", "discovery")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.fragment:
            raise ValueError("is not an https URL without credentials and fragment")
        return value

    @field_validator("ca")
    @classmethod
    def _check_authorities(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                ssl.create_default_context(cafile=value)
            except (OSError, ssl.SSLError):
                raise ValueError("holds no certificates of authorities") from None
        return value

    @field_validator("jwks_file")
    @classmethod
    def _check_file(cls, value: Path | None) -> Path | None:
        if value is not None:
            read_key_set(value)
        return value

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if self.issuer is None and self.kind is not IssuerKind.GITHUB:
            raise ValueError("issuer is missing: what its tokens say in iss")
        if sum(one is not None for one in (self.jwks_uri, self.discovery, self.jwks_file)) > 1:
            raise ValueError("give one of jwks_uri, discovery and jwks_file")
        if self.ca is not None and self.jwks_file is not None:
            raise ValueError("has a ca, and nothing is fetched where there is a jwks_file")
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

    def fixed(self) -> JSONObject | None:
        """The key set of `jwks_file`, or None."""
        return None if self.jwks_file is None else read_key_set(self.jwks_file)


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


def read_key_set(place: Path) -> JSONObject:
    """A key set from a file.

    Raises:
        ValueError: unreadable, too large, or no key set.
    """
    try:
        with place.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
        value = json.as_object(json.decode(raw)) if len(raw) <= _MAX_FILE else None
    except (OSError, Malformed):
        value = None
    if value is None or not isinstance(value.get("keys"), list):
        raise ValueError('holds no key set such as {"keys": [...]}')
    return value


__all__ = [
    "CiSection",
    "IssuerRule",
    "IssuerSection",
    "TokenReviewEndpoint",
    "read_key_set",
]
