"""`[ssf]`: security events to others and from others (Shared Signals Framework, CAEP).

    [ssf]
    transmit = true

    [[ssf.receive]]
    name = "idp"
    issuer = "https://idp.example.org"
    audience = "https://midflight.example.org"
    push_secret = "file:/run/secrets/idp-push"
    workloads = ["spiffe://midflight.internal/agents/triage"]
    names = { "ann@example.org" = "owner ann" }

A transmitter reaches whom its row lists and nobody else. Clients that read or manage streams are
registered with `midflight client add --scope`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from midflight.apps.settings_issuers import KeyedIssuer
from midflight.apps.settings_secrets import Secret
from midflight.apps.settings_sections import HttpUrl, Seconds, Section
from midflight.domain.identity import spiffe_id
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.security_event import JUDGED_NAMES
from midflight.domain.shared_receiver import DEFAULT_EFFECTS, MAY_NAME, Effect, named

_NAME = re.compile(r"[a-z0-9-]{1,32}\Z")


class PollSource(Section):
    """`[ssf.receive.poll]`: where events are fetched, and as whom."""

    # The `endpoint_url` of the stream.
    endpoint: HttpUrl
    interval: Annotated[Seconds, Field(ge=1, le=3_600)] = 30
    # An access token that is got elsewhere; or all of the following.
    token: Secret | None = None
    token_url: HttpUrl | None = None
    client_id: str | None = Field(default=None, min_length=1, max_length=256)
    client_secret: Secret | None = None
    scope: str = Field(default="", max_length=256)

    @field_validator("endpoint", "token_url")
    @classmethod
    def _check_https(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("https:"):
            raise ValueError("is not https")
        return value

    @model_validator(mode="after")
    def _check_client(self) -> Self:
        client = (self.token_url, self.client_id, self.client_secret)
        if self.token is None and None in client:
            raise ValueError("needs token, or token_url, client_id and client_secret")
        if self.token is not None and any(each is not None for each in client):
            raise ValueError("has a token and a client; give one of them")
        return self


class ReceiveSection(KeyedIssuer):
    """`[[ssf.receive]]`: one transmitter whose security events are taken."""

    name: str
    # What its SETs say in `iss`, exactly. Keys: as its ssf-configuration says, by default.
    issuer: str
    # What its SETs must say in `aud`.
    audience: str = Field(min_length=1, max_length=1_024)
    # What it must send as `Authorization: Bearer …` to /ssf/receive/NAME; without it none is taken.
    push_secret: Secret | None = None
    poll: PollSource | None = None
    # How old `iat` may be; longer than its outages, since events wait there.
    max_age: Annotated[Seconds, Field(ge=60, le=2_592_000)] = 604_800
    # SPIFFE IDs of workloads it may speak of; `/*` at the end stands for all below.
    workloads: tuple[str, ...] = ()
    # What its names stand for: "workload ID", "owner NAME" or "credential NAME". A name with
    # an @ is an e-mail address, one without an opaque id or a `sub`, unless "email …", "opaque …"
    # or "sub …" says which.
    names: dict[str, str] = {}
    # Whether it may name single tokens of ours (jwt_id).
    tokens: bool = False
    # What follows, by type: "revoke", "finding" or "note".
    effects: dict[str, Effect] = {}

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if _NAME.match(value) is None:
            raise ValueError("is not 1 to 32 lower-case letters, digits and dashes")
        return value

    @field_validator("workloads")
    @classmethod
    def _check_workloads(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            # Below a path, never a whole trust domain: that would be everything.
            spiffe_id(each.removesuffix("/*"))
        return value

    @field_validator("names")
    @classmethod
    def _check_names(cls, value: dict[str, str]) -> dict[str, str]:
        for text in value.values():
            _scope(text)
        twice = [
            name for name, count in Counter(n for k in value for n in named(k)).items() if count > 1
        ]
        if twice:
            raise ValueError(f"says twice who {twice[0]!r} is")
        return value

    @field_validator("effects")
    @classmethod
    def _check_effects(cls, value: dict[str, Effect]) -> dict[str, Effect]:
        unknown = sorted(value.keys() - JUDGED_NAMES)
        if unknown:
            raise ValueError(f"names what is no event type here; known are {sorted(JUDGED_NAMES)}")
        return value

    @model_validator(mode="after")
    def _check_way(self) -> Self:
        if self.push_secret is None and self.poll is None:
            raise ValueError("needs push_secret or poll, or no event ever gets here")
        if self.algorithms != ("RS256",):
            raise ValueError("takes RS256 alone (CAEP interoperability profile)")
        return self

    def scopes(self) -> dict[str, Scope]:
        """What its names stand for."""
        return {each: _scope(text) for name, text in self.names.items() for each in named(name)}

    def all_effects(self) -> dict[str, Effect]:
        """What follows, of every type that has an effect."""
        return {**DEFAULT_EFFECTS, **self.effects}


class SharedSignals(Section):
    """`[ssf]`: the transmitter, and the transmitters that are listened to."""

    # Whether others may have streams of our events.
    transmit: bool = False
    # Events that wait in one stream at most; more are dropped, counted and recorded.
    queue: int = Field(default=10_000, ge=10, le=1_000_000)
    streams_per_client: int = Field(default=1, ge=1, le=16)
    # Whether events may be pushed into private networks, and on a loopback gateway to loopback.
    push_to_private: bool = False
    receive: tuple[ReceiveSection, ...] = ()

    @field_validator("receive")
    @classmethod
    def _check_receive(cls, value: tuple[ReceiveSection, ...]) -> tuple[ReceiveSection, ...]:
        for what, counts in (
            ("name", Counter(each.name for each in value)),
            ("issuer", Counter(each.issuer for each in value)),
        ):
            twice = [name for name, count in counts.items() if count > 1]
            if twice:
                raise ValueError(f"has the {what} {twice[0]!r} twice")
        return value


def _scope(text: str) -> Scope:
    kind, _, name = text.partition(" ")
    if kind not in {each.value for each in MAY_NAME} or not name.strip():
        raise ValueError("stands for none of: workload ID, owner NAME, credential NAME")
    if kind == ScopeKind.WORKLOAD:
        spiffe_id(name)
    return Scope(kind=ScopeKind(kind), id=name)


__all__ = ["PollSource", "ReceiveSection", "SharedSignals"]
