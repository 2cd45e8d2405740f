"""The sections of `midflight.toml`, each documented where it is declared.

Every field has a default that is safe to keep, or must be given. Values are checked alone here;
what holds between sections is checked in `settings.py`.
"""

from __future__ import annotations

import os
import pwd
import re
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from midflight.apps.durations import seconds
from midflight.apps.server.limits import Limits as ServerLimits
from midflight.apps.settings_values import (
    Address,
    Reference,
    address,
    looks_secret,
    option_looks_secret,
    reference,
)
from midflight.domain.traits import Reach

# The directory that relative paths start from: that of the settings file. A context variable,
# since pydantic-settings passes no validation context.
BASE: ContextVar[Path] = ContextVar("BASE", default=Path())

_UPSTREAM_NAME = re.compile(r"[a-z0-9-]{1,32}\Z")
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}\Z")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}\Z")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_HOST = re.compile(r"(?:\[[0-9a-f:.]+\]|[a-z0-9._-]{1,253})(?::\d{1,5})?\Z")
_DOMAIN = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+\Z")
# Set by the transport; a setting that fought with it would make two readings of one request.
_OWNED_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "host",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Section(BaseModel):
    """Frozen; unknown keys are refused; errors never repeat the value."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True
    )


def _address(value: Any) -> Address:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError("is not an address and port such as 127.0.0.1:8600")  # noqa: TRY004 -- pydantic collects ValueError only
    return address(value)


def _seconds(value: Any) -> int:
    if not isinstance(value, (int, str)):
        raise ValueError("is not a duration; write a number of seconds or 90s, 10m, 2h, 7d")  # noqa: TRY004 -- as above
    return seconds(value)


def _relative(value: Path) -> Path:
    return BASE.get() / value.expanduser()


def _existing(value: Path) -> Path:
    if not value.is_file():
        raise ValueError(f"names no file ({value})")
    return value


def _host(value: str) -> str:
    lowered = value.lower()
    if _HOST.match(lowered) is None:
        raise ValueError("is not a host name with an optional port, such as gw.example.org:8600")
    return lowered


def _domain(value: str) -> str:
    lowered = value.lower()
    if _DOMAIN.match(lowered) is None:
        raise ValueError("is not a domain such as example.org; write whole names, no wildcards")
    return lowered


def http_url(value: str) -> str:
    """An absolute http or https URL without credentials or fragment; no slash at the end.

    Raises:
        ValueError: anything else.
    """
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds user information; put credentials in headers, by reference")
    if parts.fragment:
        raise ValueError("holds a fragment")
    if looks_secret(parts.query) or any(
        looks_secret(value, named=name)
        for name, _, value in (pair.partition("=") for pair in parts.query.split("&"))
    ):
        raise ValueError("holds what looks like a secret; put credentials in headers, by reference")
    return value.rstrip("/") if not parts.query else value


ListenAddress = Annotated[Address, BeforeValidator(_address)]
Seconds = Annotated[int, BeforeValidator(_seconds)]
RelativePath = Annotated[Path, AfterValidator(_relative)]
ExistingFile = Annotated[Path, AfterValidator(_relative), AfterValidator(_existing)]
HttpUrl = Annotated[str, AfterValidator(http_url)]
Host = Annotated[str, AfterValidator(_host)]
Domain = Annotated[str, AfterValidator(_domain)]


class Tls(Section):
    """`[gateway.tls]`: PEM files. With `client_ca`, callers must present a certificate."""

    certificate: ExistingFile
    key: ExistingFile
    client_ca: ExistingFile | None = None
    # Callers may present an X509-SVID of a trust domain whose bundle is in force.
    svids: bool = False

    @model_validator(mode="after")
    def _one_kind_of_client(self) -> Self:
        if self.svids and self.client_ca is not None:
            raise ValueError("asks for certificates of client_ca and for SVIDs; give one of them")
        return self


class Limits(Section):
    """`[gateway.limits]`: what strangers can cost. Bytes, seconds, counts."""

    header_bytes: int = Field(default=32_768, ge=1_024, le=1_048_576)
    body_bytes: int = Field(default=4_194_304, ge=1_024, le=268_435_456)
    head_timeout: Annotated[Seconds, Field(ge=1, le=300)] = 10
    body_idle: Annotated[Seconds, Field(ge=1, le=3_600)] = 30
    body_total: Annotated[Seconds, Field(ge=1, le=86_400)] = 300
    keep_alive: Annotated[Seconds, Field(ge=1, le=3_600)] = 75
    connections: int = Field(default=4_096, ge=1, le=1_000_000)
    connections_per_peer: int = Field(default=2_048, ge=1, le=1_000_000)
    in_flight: int = Field(default=1_024, ge=1, le=1_000_000)

    def of_server(self) -> ServerLimits:
        """The part that `apps/server` keeps."""
        return ServerLimits(
            header_bytes=self.header_bytes,
            head_s=float(self.head_timeout),
            body_idle_s=float(self.body_idle),
            body_total_s=float(self.body_total),
            keep_alive_s=float(self.keep_alive),
            connections=self.connections,
            connections_per_peer=self.connections_per_peer,
        )


class Gateway(Section):
    """`[gateway]`: where agents connect. Loopback only, unless `tls` is set."""

    listen: ListenAddress = Address(host="127.0.0.1", port=8600)
    # How agents reach it: the audience of tokens and the base of metadata. Default: `listen`.
    public_url: HttpUrl | None = None
    # Host and Origin values accepted besides those of `listen` and `public_url`.
    allowed_hosts: tuple[Host, ...] = ()
    allowed_origins: tuple[HttpUrl, ...] = ()
    tls: Tls | None = None
    limits: Limits = Limits()


class State(Section):
    """`[state]`: the directory of database, ledger and keys. Mode 0700, owned by this user."""

    directory: RelativePath = Field(default=Path(".midflight"), validate_default=True)


class Policy(Section):
    """`[policy]`: the directory of Cedar files."""

    directory: RelativePath = Field(default=Path("policies"), validate_default=True)


class TraitsFiles(Section):
    """`[traits]`: the directory of reviewed traits, one file for each upstream."""

    directory: RelativePath = Field(default=Path("traits"), validate_default=True)


class FlowRules(Section):
    """`[flow]`: what the judge of information flow cannot know by itself."""

    # Whoever takes part in what a run was asked about and has an address here is one of our own.
    own_domains: tuple[Domain, ...] = ()


class Identity(Section):
    """`[identity]`: names of workloads and life of their tokens."""

    trust_domain: str = "midflight.internal"
    # Default: the gateway's public URL.
    issuer: HttpUrl | None = None
    # Short, since a stolen token works until it ends or is revoked.
    token_ttl: Annotated[Seconds, Field(ge=300, le=900)] = 600

    @field_validator("trust_domain")
    @classmethod
    def _check_trust_domain(cls, value: str) -> str:
        if _TRUST_DOMAIN.match(value) is None:
            raise ValueError("is not a trust domain: lower-case letters, digits, dots, dashes")
        return value


class Runs(Section):
    """`[runs]`: defaults for runs."""

    ttl: Annotated[Seconds, Field(ge=10, le=604_800)] = 3_600
    idle_timeout: Annotated[Seconds, Field(ge=10, le=604_800)] = 900
    max_steps: int = Field(default=1_000, ge=1, le=10_000_000)
    # How many runs a delegated run may descend from; 0 switches delegation off.
    max_depth: int = Field(default=4, ge=0, le=16)
    # Whether a token without a run opens one (without an intent) at its first action.
    implicit: bool = True


def _login_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


def _default_operators() -> dict[int, str]:
    return {os.getuid(): _login_name(os.getuid())}


class Control(Section):
    """`[control]`: how operators reach the plane."""

    # Default: `control.sock` in the state directory.
    socket: RelativePath | None = None
    # Local user id to operator name. Default: the user who starts the plane.
    operators: dict[int, str] = Field(default_factory=_default_operators)
    # Optional: the control API on loopback, for holders of `midflight operator token`.
    listen: ListenAddress | None = None

    @field_validator("operators")
    @classmethod
    def _check_operators(cls, value: dict[int, str]) -> dict[int, str]:
        if not value:
            raise ValueError("maps nobody; nobody could stop an agent")
        for uid, name in value.items():
            if uid < 0 or not name.strip() or len(name) > 128 or not name.isprintable():
                raise ValueError('is not of the form { "1000" = "alice" }')
        return value

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: Address | None) -> Address | None:
        if value is not None and not value.loopback:
            raise ValueError("is not loopback; the control API is never offered to a network")
        return value


class Approvals(Section):
    """`[approvals]`: who may answer what policies ask, besides operators who are named there."""

    # Approver or owner, and the operators that are it; `owner` stands for every owner.
    groups: dict[str, tuple[str, ...]] = {}
    # Questions of one run that may wait at a time; beyond it the answer is no.
    max_pending: int = Field(default=20, ge=1, le=1_000)

    @field_validator("groups")
    @classmethod
    def _check_groups(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for names in ((group, *members) for group, members in value.items()):
            if len(names) == 1 or any(not name.strip() or len(name) > 128 for name in names):
                raise ValueError('is not of the form { security = ["alice", "bob"] }')
        return value


class Telemetry(Section):
    """`[telemetry]`: where numbers go. Nothing leaves unless an endpoint is set."""

    otlp_endpoint: HttpUrl | None = None
    metrics: bool = True


class Upstream(Section):
    """`[[upstream]]`: one tool server, over Streamable HTTP (`url`) or stdio (`command`)."""

    name: str
    url: HttpUrl | None = None
    command: str | None = Field(default=None, min_length=1)
    args: tuple[str, ...] = ()
    # Variables of the child: literal, `env:NAME` or `file:PATH`. It inherits next to nothing.
    env: dict[str, Reference] = {}
    cwd: RelativePath | None = None
    # Declares that one child may serve many runs, because it keeps nothing between calls.
    stateless: bool = False
    headers: dict[str, Reference] = {}
    # Credential (`midflight credential add`) that a lease of is taken for Midflight's own requests,
    # for an upstream that shows its tools to nobody without one. Default: none is.
    lists_with: str = Field(default="", pattern=r"^(?:[a-z0-9][a-z0-9-]{0,62})?$")
    # PEM file of the authorities that sign this upstream's certificate; default: the system's.
    ca: ExistingFile | None = None
    # Speak HTTP/2 to it, or go by a forward proxy; both cost more than HTTP/1.1 without one.
    http2: bool = False
    proxy: HttpUrl | None = None
    timeout: Annotated[Seconds, Field(ge=1, le=86_400)] = 60
    # Reach of its tools until an operator reviews them: anybody can write what `open` ones read.
    reach: Reach = Reach.OPEN

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if _UPSTREAM_NAME.match(value) is None:
            raise ValueError("is not 1 to 32 lower-case letters, digits and dashes")
        return value

    @field_validator("args")
    @classmethod
    def _check_args(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(option_looks_secret(argument) for argument in value):
            raise ValueError(
                "holds what looks like a secret, and arguments show in the process list;"
                " pass it in env as env:NAME or file:PATH"
            )
        return value

    @field_validator("headers", "env", mode="before")
    @classmethod
    def _read_references(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        read: dict[str, Reference] = {}
        for name, text in value.items():  # pyright: ignore[reportUnknownVariableType]
            if isinstance(text, Reference):
                read[str(name)] = text  # pyright: ignore[reportUnknownArgumentType]
            elif isinstance(text, str):
                try:
                    read[str(name)] = reference(text, named=str(name), base=BASE.get())  # pyright: ignore[reportUnknownArgumentType]
                except ValueError as error:
                    raise ValueError(f"value of {name} {error}") from None
            else:
                raise ValueError(f"value of {name} is not text")  # noqa: TRY004 -- as above
        return read

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: dict[str, Reference]) -> dict[str, Reference]:
        for name in value:
            if _HEADER_NAME.match(name) is None:
                raise ValueError(f"{name!r} is not a header name")
            if name.lower() in _OWNED_HEADERS:
                raise ValueError(f"{name} is set by the transport")
        return value

    @field_validator("env")
    @classmethod
    def _check_env(cls, value: dict[str, Reference]) -> dict[str, Reference]:
        for name in value:
            if _VARIABLE_NAME.match(name) is None:
                raise ValueError(f"{name!r} is not the name of an environment variable")
        return value

    @model_validator(mode="after")
    def _one_transport(self) -> Self:
        if (self.url is None) == (self.command is None):
            raise ValueError("needs either url or command")
        if self.url is not None and (self.args or self.env or self.cwd):
            raise ValueError("has a url; args, env and cwd belong to a command")
        of_a_url = self.headers or self.lists_with or self.ca or self.http2 or self.proxy
        if self.command is not None and of_a_url:
            raise ValueError(
                "has a command; headers, lists_with, ca, http2 and proxy belong to a url"
            )
        if self.url is not None and self._sends_secrets_in_the_clear(self.url):
            raise ValueError("sends a secret header over http to another machine; use https")
        return self

    def _sends_secrets_in_the_clear(self, url: str) -> bool:
        parts = urlsplit(url)
        return (
            parts.scheme == "http"
            and parts.hostname not in {"127.0.0.1", "::1", "localhost"}
            and any(value.secret for value in self.headers.values())
        )


__all__ = [
    "BASE",
    "Approvals",
    "Control",
    "Gateway",
    "Identity",
    "Limits",
    "Policy",
    "Runs",
    "Section",
    "State",
    "Telemetry",
    "Tls",
    "TraitsFiles",
    "Upstream",
    "http_url",
]
