"""Sections of SPIFFE in `midflight.toml`: `[spiffe]`, `[spiffe.authority]`, `[[federation]]`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from midflight.apps.settings_sections import (
    BASE,
    ExistingFile,
    HttpUrl,
    RelativePath,
    Seconds,
    Section,
)
from midflight.apps.settings_values import Reference, reference
from midflight.domain.identity import spiffe_id

WORKLOAD_SOCKET = "workload.sock"
BROKER_SOCKET = "broker.sock"

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}\Z")
_MOUNT = re.compile(r"[A-Za-z0-9._-]{1,64}(?:/[A-Za-z0-9._-]{1,64}){0,3}\Z")


def _token(value: Any) -> Reference:
    if not isinstance(value, str):
        raise ValueError("is not env:NAME or file:PATH")  # noqa: TRY004 -- pydantic collects ValueError only
    found = reference(value, named="token", base=BASE.get())
    if not found.secret:
        raise ValueError("is not env:NAME or file:PATH")
    return found


Token = Annotated[Reference, BeforeValidator(_token)]


class AuthoritySettings(Section):
    """`[spiffe.authority]`: who signs our intermediate.

    `own` is a root of our own in the key directory, `files` an intermediate that you put in place,
    `openbao` the PKI engine of an OpenBao or Vault.
    """

    kind: Literal["own", "files", "openbao"] = "own"
    # files: PEM. The intermediate first and those above it; its key (0600); the roots.
    certificate: ExistingFile | None = None
    key: ExistingFile | None = None
    roots: ExistingFile | None = None
    # openbao: its address, the mount of the engine, and a token that may sign intermediates.
    url: HttpUrl | None = None
    mount: str = "pki"
    token: Token | None = None

    @field_validator("mount")
    @classmethod
    def _check_mount(cls, value: str) -> str:
        if _MOUNT.match(value) is None:
            raise ValueError("is not the path of a mount, such as pki")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        files = (self.certificate, self.key, self.roots)
        bao = (self.url, self.token)
        if self.kind == "files" and None in files:
            raise ValueError("needs certificate, key and roots")
        if self.kind == "openbao" and None in bao:
            raise ValueError("needs url and token")
        if self.kind != "files" and any(files):
            raise ValueError("has certificate, key or roots, which belong to kind files")
        if self.kind != "openbao" and any(bao):
            raise ValueError("has url or token, which belong to kind openbao")
        return self


class BrokerGrant(Section):
    """`[[spiffe.broker.grants]]`: a workload that represents others, and which ones."""

    broker: str
    workloads: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for each in (self.broker, *self.workloads):
            spiffe_id(each)
        return self


class BrokerSettings(Section):
    """`[spiffe.broker]`: brokers get SVIDs of local processes (SPIFFE Broker API, incubating)."""

    # Default: `broker.sock` in the state directory.
    socket: RelativePath | None = None
    grants: tuple[BrokerGrant, ...] = Field(min_length=1)

    @field_validator("grants")
    @classmethod
    def _check_grants(cls, value: tuple[BrokerGrant, ...]) -> tuple[BrokerGrant, ...]:
        if len({grant.broker for grant in value}) != len(value):
            raise ValueError("names a broker twice")
        return value


class SpiffeSettings(Section):
    """`[spiffe]`: identities for local processes, and our trust bundle for others."""

    # Default: `workload.sock` in the state directory, which other users cannot reach. For them put
    # it in a directory that is yours and that all can read, such as /run/midflight.
    socket: RelativePath | None = None
    x509_ttl: Annotated[Seconds, Field(ge=60, le=3_600)] = 3_600
    jwt_ttl: Annotated[Seconds, Field(ge=30, le=300)] = 300
    # How often others should look at our bundle.
    refresh_hint: Annotated[Seconds, Field(ge=60, le=3_600)] = 300
    authority: AuthoritySettings = AuthoritySettings()
    # Serves what SPIFFE calls incubating, which may change: WIT-SVIDs, and the Broker API.
    experimental: bool = False
    broker: BrokerSettings | None = None

    @model_validator(mode="after")
    def _check_broker(self) -> Self:
        if self.broker is not None and not self.experimental:
            raise ValueError("has [spiffe.broker], which needs experimental = true")
        return self


class FederationPeer(Section):
    """`[[federation]]`: another trust domain whose identities are known here."""

    trust_domain: str
    url: HttpUrl
    profile: Literal["https_web", "https_spiffe"]
    # https_spiffe: the SPIFFE ID that its endpoint proves.
    endpoint_spiffe_id: str | None = None
    # A first bundle, as its operator gave it to you. https_spiffe needs one.
    bundle: ExistingFile | None = None
    # https_web: PEM file of the authorities of its certificate; default: the system's.
    ca: ExistingFile | None = None
    # Takes a url of http on this machine: for trying federation out.
    loopback_http: bool = False

    @field_validator("trust_domain")
    @classmethod
    def _check_domain(cls, value: str) -> str:
        if _TRUST_DOMAIN.match(value) is None:
            raise ValueError("is not a trust domain: lower-case letters, digits, dots, dashes")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        parts = urlsplit(self.url)
        local = parts.hostname in {"127.0.0.1", "::1", "localhost"} and self.loopback_http
        if parts.scheme != "https" and not (local and self.profile == "https_web"):
            raise ValueError("has a url that is not https; a bundle from the clear is anybody's")
        spiffe = self.profile == "https_spiffe"
        if spiffe != (self.endpoint_spiffe_id is not None):
            raise ValueError("needs endpoint_spiffe_id for https_spiffe, and only there")
        if spiffe and (self.bundle is None or self.ca is not None):
            raise ValueError("needs a first bundle and no ca for https_spiffe")
        if self.endpoint_spiffe_id is not None:
            spiffe_id(self.endpoint_spiffe_id)
        return self


__all__ = [
    "BROKER_SOCKET",
    "WORKLOAD_SOCKET",
    "AuthoritySettings",
    "BrokerGrant",
    "BrokerSettings",
    "FederationPeer",
    "SpiffeSettings",
]
