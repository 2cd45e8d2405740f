"""Settings: `midflight.toml`, read once, checked whole, then frozen.

Every problem is reported at once, with its line. Unknown keys are refused, so a misspelt protection
is not a missing one. Variables such as `MIDFLIGHT_GATEWAY__LISTEN` override the file. Secrets are
in neither: see `settings_values.Reference`.
"""

from __future__ import annotations

import copy
import os
from collections import Counter
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from midflight.apps.settings_approvals import ApprovalSettings
from midflight.apps.settings_attestation import AttestationSettings
from midflight.apps.settings_ci import CiSection
from midflight.apps.settings_elsewhere import ElsewherePlaces
from midflight.apps.settings_escalation import (
    BreakGlassSection,
    ChannelSection,
    ContactName,
    ContactSection,
    EscalationSection,
    HookSection,
    Name,
    problems_between,
)
from midflight.apps.settings_export import Export
from midflight.apps.settings_file import (
    ENV_PREFIX,
    FILE_VARIABLE,
    SOCKET_NAME,
    TomlPath,
    find,
    parse,
)
from midflight.apps.settings_injection_text import InjectionTextRules
from midflight.apps.settings_keys import Keys
from midflight.apps.settings_oauth import OAuth
from midflight.apps.settings_sections import (
    BASE,
    Control,
    FlowRules,
    Gateway,
    Identity,
    Policy,
    Runs,
    State,
    Telemetry,
    TraitsFiles,
    Upstream,
)
from midflight.apps.settings_signals import Signals
from midflight.apps.settings_spiffe import (
    BROKER_SOCKET,
    WORKLOAD_SOCKET,
    FederationPeer,
    SpiffeSettings,
)
from midflight.apps.settings_ssf import SharedSignals
from midflight.domain.errors import Misconfigured
from midflight.domain.identity import trust_domain

# sockaddr_un.sun_path of Linux, less the closing NUL and four bytes for a temporary name
# (`server/unix_socket.py`).
MAX_SOCKET_PATH = 103


class Settings(BaseSettings):
    """All settings. Made by `load`; tests and the demo may make one directly."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
    )

    gateway: Gateway = Gateway()
    state: State = Field(default_factory=State)
    policy: Policy = Field(default_factory=Policy)
    traits: TraitsFiles = Field(default_factory=TraitsFiles)
    flow: FlowRules = FlowRules()
    identity: Identity = Identity()
    spiffe: SpiffeSettings = SpiffeSettings()
    federation: tuple[FederationPeer, ...] = ()
    keys: Keys = Keys()
    attestation: AttestationSettings = AttestationSettings()
    runs: Runs = Runs()
    control: Control = Field(default_factory=Control)
    approvals: ApprovalSettings = ApprovalSettings()
    channels: dict[Name, ChannelSection] = {}
    contacts: dict[ContactName, ContactSection] = {}
    hooks: dict[Name, HookSection] = {}
    escalation: EscalationSection = EscalationSection()
    break_glass: BreakGlassSection = BreakGlassSection()
    oauth: OAuth = OAuth()
    telemetry: Telemetry = Telemetry()
    export: tuple[Export, ...] = ()
    upstream: tuple[Upstream, ...] = ()
    ci: CiSection = CiSection()
    signals: Signals = ()
    elsewhere: ElsewherePlaces = ElsewherePlaces()
    injection_text: InjectionTextRules = InjectionTextRules()
    ssf: SharedSignals = SharedSignals()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, then what was given (the file). No `.env`, which agents can write."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @property
    def public_url(self) -> str:
        """How agents reach the gateway, without a slash at the end."""
        if self.gateway.public_url is not None:
            return self.gateway.public_url
        scheme = "https" if self.gateway.tls is not None else "http"
        return f"{scheme}://{self.gateway.listen}"

    @property
    def issuer(self) -> str:
        """Issuer of the workload tokens."""
        return self.identity.issuer or self.public_url

    @property
    def scopes(self) -> tuple[str, ...]:
        """Scope values worth asking for."""
        streams = ("ssf.read", "ssf.manage") if self.ssf.transmit else ()
        return ("mcp", *(f"mcp:{entry.name}" for entry in self.upstream), "effect:read", *streams)

    @property
    def shows_certificates(self) -> bool:
        """Whether callers of the gateway show certificates."""
        return self.gateway.tls is not None and self.gateway.tls.client_ca is not None

    @property
    def control_socket(self) -> Path:
        """Path of the control socket."""
        return self.control.socket or self.state.directory / SOCKET_NAME

    @property
    def workload_socket(self) -> Path:
        """Path of the socket of the Workload API."""
        return self.spiffe.socket or self.state.directory / WORKLOAD_SOCKET

    @property
    def broker_socket(self) -> Path | None:
        """Path of the socket of the Broker API, or None where it is not served."""
        broker = self.spiffe.broker
        return None if broker is None else broker.socket or self.state.directory / BROKER_SOCKET

    @model_validator(mode="after")
    def _check_between_sections(self) -> Self:
        problems = [
            *self._gateway_problems(),
            *problems_between(self.channels, self.contacts, self.hooks, self.escalation),
            *(
                f"upstream: the name {name!r} is given {count} times"
                for name, count in Counter(u.name for u in self.upstream).items()
                if count > 1
            ),
            *(
                f"export: the name {name!r} is given {count} times"
                for name, count in Counter(each.name for each in self.export).items()
                if count > 1
            ),
        ]
        for name, path in (
            ("control.socket", self.control_socket),
            ("spiffe.socket", self.workload_socket),
            ("spiffe.broker.socket", self.broker_socket),
        ):
            if path is not None and len(os.fsencode(path)) > MAX_SOCKET_PATH:
                problems.append(
                    f"{name}: the path is longer than {MAX_SOCKET_PATH} bytes, which no Unix"
                    " socket can have; set a shorter one"
                )
        grants = () if self.spiffe.broker is None else self.spiffe.broker.grants
        for number, grant in enumerate(grants):
            if any(
                trust_domain(each) != self.identity.trust_domain
                for each in (grant.broker, *grant.workloads)
            ):
                problems.append(f"spiffe.broker.grants.{number}: is not of our trust domain")
        for number, peer in enumerate(self.federation):
            if peer.trust_domain == self.identity.trust_domain:
                problems.append(f"federation.{number}.trust_domain: is our own")
            if any(peer.trust_domain == other.trust_domain for other in self.federation[:number]):
                problems.append(f"federation.{number}.trust_domain: is given twice")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _gateway_problems(self) -> list[str]:
        gateway = self.gateway
        problems: list[str] = []
        if not gateway.listen.loopback and gateway.tls is None:
            problems.append(
                f"gateway.listen: {gateway.listen} is reachable from other machines and"
                " [gateway.tls] is not set; tokens would travel in the clear. Set certificate and"
                " key, or listen on 127.0.0.1"
            )
        if gateway.public_url is None:
            if gateway.listen.wildcard:
                problems.append(
                    "gateway.public_url: is needed when listening on every address; it is the"
                    " audience of tokens"
                )
            return problems
        parts = urlsplit(gateway.public_url)
        if parts.query:
            problems.append("gateway.public_url: holds a query")
        if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
            problems.append("gateway.public_url: is http and not loopback; use https")
        return problems


def load(file: Path | None = None) -> Settings:
    """Read, check and freeze the settings.

    Args:
        file: the settings file; default: as `settings_file.find` says.

    Raises:
        Misconfigured: with every problem found, each with its place.
    """
    path = find(file)
    document, lines = parse(path)
    token = BASE.set(path.parent)
    try:
        settings, problems = _validate(document)
    except SettingsError as error:
        # Its text names the field; its cause would show the value.
        raise Misconfigured(
            f"A variable {ENV_PREFIX}… cannot be read: {error}.",
            hint="Lists and tables in variables are JSON.",
        ) from None
    finally:
        BASE.reset(token)
    if settings is None or problems:
        told = [f"{_place(at, file=path, lines=lines)}: {text}" for at, text in problems]
        raise Misconfigured(
            f"{path} has {len(told)} problem{'s' if len(told) > 1 else ''}:",
            told,
            hint="Nothing was started. `midflight init` in an empty directory shows every key.",
        )
    return settings


def _validate(document: dict[str, Any]) -> tuple[Settings | None, list[tuple[TomlPath, str]]]:
    """Settings, or every problem.

    pydantic checks what holds between values only once each value is right. So what is wrong is
    taken out and the rest is checked again, until nothing new is found.
    """
    problems: list[tuple[TomlPath, str]] = []
    rest = copy.deepcopy(document)
    while True:
        try:
            settings = Settings(**rest)
        except ValidationError as error:
            found = [
                problem
                for entry in error.errors(include_url=False, include_input=False)
                for problem in _problems(entry)
            ]
        else:
            return (None if problems else settings), problems
        new = [
            (at, text)
            for at, text in found
            # What is said of a thing whose part was taken out may be an effect of taking it out.
            if not any(known[: len(at)] == at for known, _ in problems)
        ]
        problems += new
        # First what is wrong; then, if that only leaves gaps, the sections that have gaps.
        taken = [_take(rest, at) for at, _ in new]
        if not any(taken):
            taken = [_take(rest, at[:1]) for at, _ in found]
        if not any(taken):
            return None, problems


def _take(document: Any, path: TomlPath) -> bool:
    """Remove the value at `path` if it is there. List entries stay, or the others would move."""
    for part in path[:-1]:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return False
    if isinstance(document, dict):
        return document.pop(path[-1], None) is not None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return False


def _problems(entry: Any) -> list[tuple[TomlPath, str]]:
    """Place and text of one pydantic error; those between sections name their own places."""
    path: TomlPath = tuple(entry["loc"])
    message = str(entry["msg"]).removeprefix("Value error, ")
    match entry["type"]:
        case "extra_forbidden":
            message = "is not a setting; check the spelling"
        case "missing":
            message = "is missing"
        case _ if not path:
            pairs = [line.partition(": ") for line in message.split("\n")]
            return [(tuple(dotted.split(".")), text) for dotted, _, text in pairs]
        case _:
            message = message.replace("Input should", "should")
    return [(path, message)]


def _place(path: TomlPath, *, file: Path, lines: dict[TomlPath, int]) -> str:
    """Where a key is: file and line, or the variable that set it; the nearest that is known."""
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    dotted = dotted.removeprefix(".")
    variable = ENV_PREFIX + "__".join(str(part) for part in path).upper()
    if any(name.upper() == variable for name in os.environ if name != FILE_VARIABLE):
        return f"{dotted} (from ${variable})"
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return f"{file.name}:{lines[path[:end]]}: {dotted}"
    return f"{file.name}: {dotted}"


__all__ = ["MAX_SOCKET_PATH", "Settings", "load"]
