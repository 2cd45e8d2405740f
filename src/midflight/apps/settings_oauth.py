"""`[oauth]`: the authorization server for this gateway, and who lets people in.

Clients are not settings: `midflight client add` registers them.
"""

from __future__ import annotations

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from midflight.apps.settings_issuers import KeyedIssuer
from midflight.apps.settings_secrets import Secret
from midflight.apps.settings_sections import HttpUrl, Section
from midflight.domain.identity import spiffe_id


class Login(Section):
    """`[oauth.login]`: the OpenID provider that knows people. This server is a client of it."""

    issuer: HttpUrl
    client_id: str = Field(min_length=1, max_length=256)
    # env:NAME or file:PATH.
    client_secret: Secret
    # Which claim names a person to policies and in records: `sub`, or a verified address.
    claim: Literal["sub", "email"] = "sub"

    @field_validator("issuer")
    @classmethod
    def _check_issuer(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError("is http and not loopback; use https")
        if parts.query:
            raise ValueError("holds a query")
        return value


class AssertionIssuerSection(KeyedIssuer):
    """`[[oauth.id_jag_issuer]]`: a provider whose identity assertions (ID-JAG) are taken.

    It may let in any of its people by any registered client that can prove itself, so it stands
    here by itself: that people log in at a provider does not make it one.
    """

    # What its assertions say in `iss`, exactly, slash at the end included.
    issuer: str
    # The one of its tenants whose people are let in, for an issuer that has tenants.
    tenant: str | None = Field(default=None, min_length=1, max_length=256)


class OAuth(Section):
    """`[oauth]`: tokens for workloads and for people's clients, from this gateway itself."""

    enabled: bool = True
    # The workload of clients with a metadata document that nobody registered; default: refused.
    document_workload: str | None = None
    # Without it people log in with a printed code, and on loopback only.
    login: Login | None = None
    # Transaction tokens and identity assertions: drafts of the IETF, which may still change.
    experimental: bool = False
    id_jag_issuer: tuple[AssertionIssuerSection, ...] = ()

    @model_validator(mode="after")
    def _check_experimental(self) -> Self:
        if self.id_jag_issuer and not self.experimental:
            raise ValueError("id_jag_issuer is experimental: it needs experimental = true")
        if len({row.issuer for row in self.id_jag_issuer}) != len(self.id_jag_issuer):
            raise ValueError("two rows of id_jag_issuer have the same issuer")
        return self

    @field_validator("document_workload")
    @classmethod
    def _check_workload(cls, value: str | None) -> str | None:
        return None if value is None else spiffe_id(value)


__all__ = ["AssertionIssuerSection", "Login", "OAuth"]
