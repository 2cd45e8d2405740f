"""`[oauth]`: the authorization server for this gateway, and who lets people in.

Clients are not settings: `midflight client add` registers them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from midflight.apps.settings_ci import Algorithm, read_key_set
from midflight.apps.settings_sections import BASE, ExistingFile, HttpUrl, Section
from midflight.apps.settings_values import Reference, reference
from midflight.domain.identity import spiffe_id
from midflight.domain.value import JSONObject


def _secret(value: Any) -> Reference:
    if isinstance(value, Reference):
        return value
    if not isinstance(value, str):
        raise ValueError("is not env:NAME or file:PATH")  # noqa: TRY004 -- pydantic collects ValueError only
    found = reference(value, named="client_secret", base=BASE.get())
    if not found.secret:
        raise ValueError("is not env:NAME or file:PATH")
    return found


class Login(Section):
    """`[oauth.login]`: the OpenID provider that knows people. This server is a client of it."""

    issuer: HttpUrl
    client_id: str = Field(min_length=1, max_length=256)
    # env:NAME or file:PATH.
    client_secret: Annotated[Reference, BeforeValidator(_secret)]
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


class AssertionIssuerSection(Section):
    """`[[oauth.id_jag_issuer]]`: a provider whose identity assertions (ID-JAG) are taken.

    It may let in any of its people by any registered client that can prove itself, so it stands
    here by itself: that people log in at a provider does not make it one.
    """

    # What its assertions say in `iss`, exactly, slash at the end included.
    issuer: str
    # Where its keys are. Default: as its metadata (.well-known/openid-configuration) says.
    jwks_uri: str | None = None
    discovery: str | None = None
    jwks_file: ExistingFile | None = None
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256",)
    # The one of its tenants whose people are let in, for an issuer that has tenants.
    tenant: str | None = Field(default=None, min_length=1, max_length=256)
    # Whether it may be on this machine or in a private network.
    allow_private: bool = False

    @field_validator("issuer", "jwks_uri", "discovery")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.fragment:
            raise ValueError("is not an https URL without credentials and fragment")
        return value

    @field_validator("jwks_file")
    @classmethod
    def _check_file(cls, value: Path | None) -> Path | None:
        if value is not None:
            read_key_set(value)
        return value

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if sum(one is not None for one in (self.jwks_uri, self.discovery, self.jwks_file)) > 1:
            raise ValueError("give one of jwks_uri, discovery and jwks_file")
        return self

    def fixed(self) -> JSONObject | None:
        """The key set of `jwks_file`, or None."""
        return None if self.jwks_file is None else read_key_set(self.jwks_file)


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
