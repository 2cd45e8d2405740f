"""Settings of who answers and where: `[approvals]` with its page, logins and CIBA."""

from __future__ import annotations

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from midflight.apps.settings_secrets import Secret
from midflight.apps.settings_sections import HttpUrl, Section
from midflight.apps.settings_waiting import ApprovalsAndWait
from midflight.domain.approver import approver_name
from midflight.domain.errors import Malformed

Hint = Annotated[str, Field(min_length=1, max_length=256)]


class ApprovalLogin(Section):
    """`[approvals.login]`: people of the provider of `[oauth.login]` on the approval page."""

    # What the provider calls a person (the claim of [oauth.login]), and the approver that he is.
    people: dict[Hint, str] = {}
    # The claim of the ID token that lists a person's groups; default: none is read.
    groups_claim: str = Field(default="", max_length=128)
    # A group as the provider calls it, and the approver that its people may answer for.
    groups: dict[Hint, str] = {}

    @field_validator("people", "groups")
    @classmethod
    def _check_names(cls, value: dict[str, str]) -> dict[str, str]:
        return _named(value)

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        if self.groups and not self.groups_claim:
            raise ValueError("groups needs groups_claim: the claim that lists them")
        return self


class CibaPerson(Section):
    """One person who is asked at the provider."""

    # By what the provider finds him, and what its ID token must say in `sub`.
    login_hint: Hint
    subject: Hint


class Ciba(Section):
    """`[approvals.ciba]`: questions go to people's devices by an OpenID provider (CIBA, poll)."""

    issuer: HttpUrl
    client_id: str = Field(min_length=1, max_length=256)
    # env:NAME or file:PATH. Default: private_key_jwt with the key of purpose `client`.
    client_secret: Secret | None = None
    # Approvers, by name, and how the provider knows them.
    people: dict[str, CibaPerson] = {}

    @field_validator("issuer")
    @classmethod
    def _check_issuer(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError("is http and not loopback; use https")
        if parts.query:
            raise ValueError("holds a query")
        return value

    @field_validator("people")
    @classmethod
    def _check_people(cls, value: dict[str, CibaPerson]) -> dict[str, CibaPerson]:
        _named({name: name for name in value})
        return value


class ApprovalSettings(ApprovalsAndWait):
    """`[approvals]`, with where people answer."""

    # Whether the gateway serves the approval page (/approve).
    page: bool = True
    login: ApprovalLogin = ApprovalLogin()
    ciba: Ciba | None = None


def _named(value: dict[str, str]) -> dict[str, str]:
    for name in value.values():
        try:
            approver_name(name)
        except Malformed:
            raise ValueError(
                f"{name!r} is no approver: 1 to 64 of a-z, 0-9 and . _ @ + -, and not `owner`"
            ) from None
    return value


__all__ = ["ApprovalLogin", "ApprovalSettings", "Ciba", "CibaPerson"]
